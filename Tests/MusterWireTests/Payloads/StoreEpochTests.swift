import MusterCrypto
import MusterWire
import Testing

/// By which a node tells a store that was restored from an old copy that somebody started.
@Suite struct StoreEpochTests {
    private static func authority() throws -> CertificateAuthority {
        try CertificateAuthority.create(commonName: "ca", notBefore: 0, notAfter: 4_000_000_000, key: PrivateKey.generate())
    }

    private static func proof(_ epoch: String, at time: Int64, by authority: CertificateAuthority) throws -> StoreRestoration {
        try StoreRestoration(
            StoreRestorationStatement(former: "a", epoch: epoch, time: Timestamp(milliseconds: time), mark: .start(of: "t")), by: authority)
    }

    @Test func theSameEpochNeedsNoProof() throws {
        let known = StoreEpoch(name: "a", began: Timestamp(milliseconds: 5))
        #expect(try known.following("a", nil, trusted: []) == known)
    }

    @Test func anUnknownEpochWithoutProofIsRefused() throws {
        let trusted = [try Self.authority().certificate]
        #expect(throws: StoreEpoch.Refusal.unproven) { try StoreEpoch(name: "a").following("b", nil, trusted: trusted) }
    }

    @Test func aSignedRestoreIsFollowed() throws {
        let authority = try Self.authority()
        let next = try StoreEpoch(name: "a").following(
            "b", Self.proof("b", at: 7, by: authority), trusted: [Self.authority().certificate, authority.certificate])
        #expect(next == StoreEpoch(name: "b", began: Timestamp(milliseconds: 7)))
    }

    @Test func aProofOfAnotherAuthorityOrOfAnotherEpochIsRefused() throws {
        let authority = try Self.authority()
        #expect(throws: StoreEpoch.Refusal.otherSigner) {
            try StoreEpoch(name: "a").following("b", Self.proof("b", at: 7, by: Self.authority()), trusted: [authority.certificate])
        }
        #expect(throws: StoreEpoch.Refusal.unproven) {
            try StoreEpoch(name: "a").following("c", Self.proof("b", at: 7, by: authority), trusted: [authority.certificate])
        }
    }

    /// The store from before the second restore, with the proof it has had ever since.
    @Test func anOldCopyWithItsOldProofIsRefused() throws {
        let authority = try Self.authority()
        let trusted = [authority.certificate]
        let first = try StoreEpoch(name: "a").following("b", Self.proof("b", at: 7, by: authority), trusted: trusted)
        let second = try first.following("c", Self.proof("c", at: 8, by: authority), trusted: trusted)
        #expect(throws: StoreEpoch.Refusal.outdated) { try second.following("b", Self.proof("b", at: 7, by: authority), trusted: trusted) }
        // And one from before the first, which has none.
        #expect(throws: StoreEpoch.Refusal.unproven) { try second.following("a", nil, trusted: trusted) }
    }
}

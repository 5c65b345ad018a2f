import Foundation
import Logging
import MusterController
import MusterCrypto
import MusterWire
import Testing

/// The command on a directory, and what a controller makes of it.
@Suite(.timeLimit(.minutes(1))) struct AuthorityAdministrationTests {
    private let directory: TemporaryDirectory
    private let data: DataDirectory
    private let administration: AuthorityAdministration

    init() async throws {
        directory = try TemporaryDirectory()
        data = DataDirectory(directory.file("data"))
        var configuration = ControllerConfiguration()
        configuration.dataDirectory = data.path
        _ = try await ControllerSetup(configuration: configuration, names: ["localhost"], profileDirectory: nil).run()
        administration = AuthorityAdministration(configuration: configuration)
    }

    private func withDatabase<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T {
        let database = try SQLiteDatabase(path: data.path(of: .database))
        defer { try? database.close() }
        return try await database.write(body)
    }

    private func loaded() async throws -> AuthoritySet {
        let database = try SQLiteDatabase(path: data.path(of: .database))
        defer { try? database.close() }
        try await Authorities.enter(from: data, database, now: .now())
        return try await Authorities.load(data, database)
    }

    @Test func aWholeRoll() async throws {
        let first = try await loaded()
        #expect(first.number == 1 && first.trustedNumbers == [1])
        _ = try await administration.prepare()
        let prepared = try await loaded()
        #expect(prepared.number == 1 && prepared.trustedNumbers == [1, 2] && prepared.revision > first.revision)
        #expect(try data.text(.certificate) == prepared.bundle)
        #expect(try DataDirectory.text(at: data.path + "/profile/ca.pem") == prepared.bundle)
        #expect(prepared.serverChain(first.issuing.certificate).count == 2)
        _ = try await administration.switch()
        let switched = try await loaded()
        #expect(switched.trustedNumbers == [2, 1] && switched.issuing.holdsItsKey)
        #expect(switched.serverChain(first.issuing.certificate).count == 4)
        _ = try await administration.retire()
        let retired = try await loaded()
        let bundle = try data.text(.certificate)
        #expect(retired.trustedNumbers == [2] && retired.bundle == bundle)
        #expect(try data.authorityKeys() == [2])
        let audit = try await withDatabase { tx in try AuditLog.newest(3, in: tx) }
        #expect(audit.map(\.operation) == ["RetireCertificateAuthority", "SwitchCertificateAuthority", "PrepareCertificateAuthority"])
        #expect(audit.allSatisfy { $0.caller == "local-administrator" })
    }

    /// The chain that a server shows during the overlap, as OpenSSL's own tool judges it.
    @Test func whoKnowsEitherAuthorityFindsTheWay() async throws {
        let old = try await loaded()
        _ = try await administration.prepare()
        _ = try await administration.switch()
        let new = try await loaded()
        let key = try PrivateKey.generate()
        let now = Timestamp.now().milliseconds / 1000
        let leaf = try new.issuing.issue(
            CertificateTemplate(
                commonName: "localhost", uris: [], dnsNames: ["localhost"], notBefore: now - 60, notAfter: now + 60, usage: .server),
            for: key.publicKey)
        let stranger = try CertificateAuthority.create(
            commonName: old.issuing.certificate.commonName ?? "", notBefore: now - 60, notAfter: now + 60, key: .generate())
        for (name, certificates) in [
            ("leaf", [leaf]), ("above", Array(new.serverChain(leaf).dropFirst())), ("old", [old.issuing.certificate]),
            ("new", [new.issuing.certificate]), ("stranger", [stranger.certificate]),
        ] {
            try DataDirectory.write(certificates.map { $0.pem() }.joined(), to: directory.file("\(name).pem"))
        }
        func verify(_ anchor: String, strictly: Bool = false) async throws -> Bool {
            let arguments = ["verify", "-no-CApath", "-no-CAstore", "-purpose", "sslserver", "-verify_hostname", "localhost"]
            return try await Program.run(
                "/usr/bin/openssl",
                arguments + (strictly ? ["-x509_strict"] : []) + [
                    "-CAfile", directory.file(anchor), "-untrusted", directory.file("above.pem"), directory.file("leaf.pem"),
                ]
            ).status == 0
        }
        for anchor in ["old.pem", "new.pem"] {
            #expect(try await verify(anchor))
            // As Python does from 3.13 on.
            #expect(try await verify(anchor, strictly: true))
        }
        #expect(try await !verify("stranger.pem"))
    }

    @Test func aNodeThatIsNotReadyIsInTheWay() async throws {
        let node = try #require(NodeID("mi-0123456789abcdef0"))
        _ = try await loaded()
        let key = try PrivateKey.generate()
        let record = Node(
            id: node, generation: 1, publicKey: try key.publicKey.der, activation: .random(), iamRole: "role", name: "one", facts: .init(),
            registeredAt: .now(), sourceAddress: nil)
        try await withDatabase { tx in try NodeStore.insert(record, in: tx) }
        /// What a registration or a renewal does, then what a connection does.
        func certificate(isUsed: Bool) async throws -> Certificate {
            let set = try await loaded()
            let issued = try NodeCertificates(authority: set.issuing, hours: 1).issue(record.identity, for: key.publicKey, at: .now()).leaf
            try await withDatabase { tx in
                try AuthorityStore.gave(issued, of: set.number, with: set.trustedNumbers, to: node, in: tx)
                if isUsed { try AuthorityStore.used(issued, by: node, in: tx) }
            }
            return issued
        }
        let first = try await certificate(isUsed: true)
        _ = try await administration.prepare()
        await #expect(throws: AuthorityRoll.Refusal.self) { try await administration.switch() }
        // Handed out, and perhaps lost on the way.
        let second = try await certificate(isUsed: false)
        await #expect(throws: AuthorityRoll.Refusal.self) { try await administration.switch() }
        try await withDatabase { tx in try AuthorityStore.used(first, by: node, in: tx) }
        await #expect(throws: AuthorityRoll.Refusal.self) { try await administration.switch() }
        try await withDatabase { tx in try AuthorityStore.used(second, by: node, in: tx) }
        _ = try await administration.switch()
        await #expect(throws: AuthorityRoll.Refusal.self) { try await administration.retire() }
        let third = try await certificate(isUsed: true)
        let outcome = try await administration.retire()
        #expect(outcome.forced.isEmpty && outcome.members.map(\.issuer) == [2])
        let admitted = try await withDatabase { tx in
            try [first, second, third].map { certificate -> NodeAdmission.Refusal? in
                guard case .failure(let refusal) = try NodeAdmission.admit(certificate, at: .now(), in: tx) else { return nil }
                return refusal
            }
        }
        #expect(admitted == [.retiredAuthority(node), .retiredAuthority(node), nil])
    }

    @Test func aKeyThatIsLostIsFoundOutBeforeTheSwitch() async throws {
        _ = try await administration.prepare()
        try FileManager.default.removeItem(atPath: data.keyPath(ofAuthority: 2))
        await #expect(throws: ControllerError.self) { try await administration.switch() }
        try data.writeKey(try PrivateKey.generate().pem(), ofAuthority: 2)
        await #expect(throws: ControllerError.self) { try await administration.switch() }
        #expect(try await administration.status().roll.stage == .prepared(issuing: 1, next: 2))
    }

    @Test func aBundleThatSomebodyHasAddedToStays() async throws {
        let copy = data.path + "/profile/ca.pem"
        let seconds = Timestamp.now().milliseconds / 1000
        let other = try CertificateAuthority.create(commonName: "other", notBefore: seconds, notAfter: seconds + 60, key: .generate())
        let theirs = try DataDirectory.text(at: copy) + other.certificate.pem()
        try DataDirectory.write(theirs, to: copy)
        let outcome = try await administration.prepare()
        #expect(try DataDirectory.text(at: copy) == theirs)
        #expect(outcome.bundles == [data.path(of: .certificate)])
    }

    @Test func aControllerIssuesByWhatTheStoreHas() async throws {
        let database = try SQLiteDatabase(path: data.path(of: .database))
        defer { try? database.close() }
        let authorities = try await Authorities(directory: data, database: database, logger: Logger(label: "test"))
        let before = authorities.current.revision
        try await authorities.reload()
        #expect(authorities.current.revision == before)
        _ = try await administration.prepare()
        try await authorities.reload()
        #expect(authorities.current.trustedNumbers == [1, 2])
    }

    @Test func oneCommandAtATime() async throws {
        let lock = try data.acquireLock(.authorityLock)
        await #expect(throws: ControllerError.self) { try await administration.prepare() }
        withExtendedLifetime(lock) {}
    }
}

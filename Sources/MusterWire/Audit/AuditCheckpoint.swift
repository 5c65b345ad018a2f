package import MusterCrypto

/// What a checkpoint says. [value]
package struct AuditStatement: Codable, Sendable, Hashable {
    package enum Kind: String, Codable, Sendable, CaseIterable {
        case start
        case regular
        case shutdown
        /// Somebody asked for it, before an export.
        case request
        /// Records up to `mark` have served their time and were removed.
        case cut
    }

    package var kind: Kind
    package var mark: AuditMark
    package var time: Timestamp
    /// Checkpoints of a trail are numbered.
    package var number: Int64

    package init(kind: Kind, mark: AuditMark, time: Timestamp, number: Int64) {
        (self.kind, self.mark, self.time, self.number) = (kind, mark, time, number)
    }
}

/// A statement about the audit trail, and the controller's signature over exactly its bytes. [value]
///
/// ECDSA with SHA-256 by the key of the controller's CA over "muster audit checkpoint" LF and the statement: no certificate and no seal of a
/// recording begins so, so none can be taken for another.
package struct AuditCheckpoint: Codable, Sendable, Hashable {
    private static let domain = Array("muster audit checkpoint\n".utf8)

    /// JSON, as it was signed.
    package let statement: String
    /// Base64 of the DER.
    package let signature: String
    /// The CA's certificate. It says who signed; whether to believe them is the reader's to know.
    package let authority: String

    package init(_ statement: AuditStatement, by authority: CertificateAuthority) throws {
        let bytes = try JSONCoding.encode(statement)
        self.statement = String(decoding: bytes, as: UTF8.self)
        signature = Base64.encode(try authority.sign(Self.domain + bytes))
        self.authority = authority.certificate.pem()
    }

    package func decoded() throws -> AuditStatement { try JSONCoding.decode(AuditStatement.self, from: Array(statement.utf8)) }

    package func isSigned(by authority: Certificate) -> Bool {
        guard let signature = Base64.decode(signature), let key = try? authority.publicKey else { return false }
        return key.isValid(signature: signature, for: Self.domain + Array(statement.utf8))
    }
}

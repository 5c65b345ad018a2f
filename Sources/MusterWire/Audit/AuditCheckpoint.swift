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

/// A statement about the audit trail, signed. [value]
package struct AuditCheckpoint: SignedStatement {
    package typealias Content = AuditStatement
    package static let purpose = "muster audit checkpoint"

    package let text: String
    package let signature: String
    package let authority: String

    package init(text: String, signature: String, authority: String) {
        (self.text, self.signature, self.authority) = (text, signature, authority)
    }

    private enum CodingKeys: String, CodingKey {
        case text = "statement"
        case signature, authority
    }
}

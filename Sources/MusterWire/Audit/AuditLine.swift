import MusterCrypto

/// One line of an audit trail that has left the store, exported or delivered. [value]
///
///     {"trail":{"digest":"…","sequence":N,"trail":"…"}}       where what follows goes on; first in every file
///     {"record":{…},"sequence":N,"digest":"…"}                the record's bytes as they are stored, and the chain's head after it
///     {"checkpoint":{…}}                                      signed; about all records before it
package enum AuditLine: Sendable, Equatable {
    case trail(AuditMark)
    case record(AuditRecord)
    case checkpoint(AuditCheckpoint)

    /// A record's values are cut long before.
    package static let maximumLength = 256 << 10

    private static let recordStart = Array(#"{"record":"#.utf8)
    private static let sequenceStart = Array(#","sequence":"#.utf8)
    private static let digestStart = Array(#","digest":""#.utf8)
    private static let end = Array(#""}"#.utf8)
    private static let digits = 64

    /// - Parameter line: without its line feed.
    package init?(_ line: [UInt8]) {
        guard line.count <= Self.maximumLength else { return nil }
        if line.starts(with: Self.recordStart) {
            guard let record = Self.record(line) else { return nil }
            self = .record(record)
        } else if let other = try? JSONCoding.decode(Other.self, from: line) {
            switch (other.trail, other.checkpoint) {
            case (let mark?, nil):
                guard AuditChain(mark) != nil else { return nil }
                self = .trail(mark)
            case (nil, let checkpoint?): self = .checkpoint(checkpoint)
            default: return nil
            }
        } else {
            return nil
        }
    }

    private struct Other: Codable {
        var trail: AuditMark?
        var checkpoint: AuditCheckpoint?
    }

    /// From the end, where everything has a fixed form: what the record's text holds cannot matter.
    private static func record(_ line: [UInt8]) -> AuditRecord? {
        var rest = line.dropFirst(recordStart.count)
        guard rest.count > digits + end.count + digestStart.count, rest.suffix(end.count).elementsEqual(end) else { return nil }
        rest = rest.dropLast(end.count)
        guard let digest = Hex.decode(String(decoding: rest.suffix(digits), as: UTF8.self)) else { return nil }
        rest = rest.dropLast(digits)
        guard rest.suffix(digestStart.count).elementsEqual(digestStart) else { return nil }
        rest = rest.dropLast(digestStart.count)
        let number = rest.reversed().prefix(19).prefix { (0x30...0x39).contains($0) }
        guard let sequence = Int64(String(decoding: number.reversed(), as: UTF8.self)),
            (1...AuditChain.highestSequence).contains(sequence)
        else { return nil }
        rest = rest.dropLast(number.count)
        guard rest.suffix(sequenceStart.count).elementsEqual(sequenceStart) else { return nil }
        return AuditRecord(sequence: sequence, digest: digest, bytes: Array(rest.dropLast(sequenceStart.count)))
    }

    /// Without a line feed.
    package func text() throws -> [UInt8] {
        switch self {
        case .trail(let mark): try JSONCoding.encode(Other(trail: mark))
        case .checkpoint(let checkpoint): try JSONCoding.encode(Other(checkpoint: checkpoint))
        case .record(let record):
            Self.recordStart + record.bytes + Self.sequenceStart + Array(String(record.sequence).utf8) + Self.digestStart
                + Array(Hex.encode(record.digest).utf8) + Self.end
        }
    }
}

/// A record as it stands in the trail. [value]
package struct AuditRecord: Sendable, Equatable {
    package let sequence: Int64
    /// The chain's head after it.
    package let digest: [UInt8]
    /// JSON in the shape of CloudTrail's records.
    package let bytes: [UInt8]

    package init(sequence: Int64, digest: [UInt8], bytes: [UInt8]) {
        (self.sequence, self.digest, self.bytes) = (sequence, digest, bytes)
    }

    package func decoded() throws -> AuditFields { try JSONCoding.decode(AuditFields.self, from: bytes) }

    private struct Stamp: Decodable {
        let eventTime: String
    }

    /// Nil if it cannot be read. A verifier asks it of every record, and nothing else.
    package var time: Timestamp? {
        (try? JSONCoding.decode(Stamp.self, from: bytes)).flatMap { Timestamp(iso8601: $0.eventTime) }
    }
}

/// The members of a record that are read again.
package struct AuditFields: Decodable, Sendable, Equatable {
    package struct Identity: Decodable, Sendable, Equatable {
        package let arn: String?
        package let userName: String?
        package let accessKeyId: String?
    }
    package struct Resource: Decodable, Sendable, Equatable {
        package let arn: String
        package let type: String

        private enum CodingKeys: String, CodingKey {
            case arn = "ARN"
            case type
        }
    }
    package let userIdentity: Identity
    package let eventTime: String
    package let eventSource: String
    package let eventName: String
    package let sourceIPAddress: String
    package let errorCode: String?
    package let errorMessage: String?
    package let eventID: String
    package let readOnly: Bool
    package let resources: [Resource]
    package let additionalEventData: [String: String]?

    package var time: Timestamp? { Timestamp(iso8601: eventTime) }
}

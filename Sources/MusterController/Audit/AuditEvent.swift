internal import MusterCrypto
package import MusterWire

/// One event of the audit trail: who did what to which resource, from where, and how it ended. Never a parameter's secret. [value]
package struct AuditEvent: Sendable {
    package enum Outcome: String, Sendable {
        case success
        case denied
        case failed
    }

    package let id: String
    package let time: Timestamp
    package let caller: Caller
    package let requestID: String
    package let region: String
    package let operation: String
    package let resource: String
    /// The other resource of an event that has two: of a command or a session, the node.
    package let related: String
    package let outcome: Outcome
    package let details: [String: String]
    /// What was asked for, masked, as JSON. Nil of what the controller did by itself.
    package let parameters: [UInt8]?

    package init(
        time: Timestamp, caller: Caller, requestID: String, region: String,
        operation: String, resource: String, related: String? = nil, outcome: Outcome, details: [String: String] = [:],
        parameters: [UInt8]? = nil, id: String? = nil
    ) {
        self.id = id ?? AuditEvent.makeID(at: time)
        self.time = time
        self.caller = caller
        self.requestID = requestID
        self.region = region
        self.operation = operation
        self.resource = resource
        // A session's node is in its details, wherever it was said.
        self.related = related ?? (details["target"] ?? details["node"]).flatMap { NodeID($0)?.description } ?? ""
        self.outcome = outcome
        self.details = details
        self.parameters = parameters
    }

    /// For what the controller does by itself, such as quarantining a node.
    package init(
        time: Timestamp, controllerDid operation: String, resource: String, related: String? = nil,
        outcome: Outcome = .success, details: [String: String] = [:]
    ) {
        self.init(
            time: time, caller: Self.controller, requestID: "", region: "", operation: operation, resource: resource, related: related,
            outcome: outcome, details: details)
    }

    /// An event is of the controller's region; what the caller has signed for is said where it is another.
    static func details(_ details: [String: String], requestedRegion: String?, in region: String) -> [String: String] {
        guard let requestedRegion, requestedRegion != region else { return details }
        return details.merging(["requestedRegion": requestedRegion]) { given, _ in given }
    }

    static let controller = Caller(accessKeyID: "", userName: "", arn: "muster-controller", sourceAddress: "", userAgent: "")

    /// A UUID of version 7 (RFC 9562): its time in front keeps the index of a busy trail growing at one end.
    static func makeID(at time: Timestamp) -> String {
        var bytes = RandomBytes.make(16)
        withUnsafeBytes(of: time.milliseconds.bigEndian) { source in
            for index in 0..<6 { bytes[index] = source[index + 2] }
        }
        bytes[6] = 0x70 | bytes[6] & 0x0f
        bytes[8] = 0x80 | bytes[8] & 0x3f
        var text: [UInt8] = []
        text.reserveCapacity(36)
        for (index, byte) in bytes.enumerated() {
            if index == 4 || index == 6 || index == 8 || index == 10 { text.append(UInt8(ascii: "-")) }
            text.append(Self.digit(byte >> 4))
            text.append(Self.digit(byte & 15))
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
}

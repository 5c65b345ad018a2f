/// What is signed when a recording ends: everything about it in one line. [value]
package struct RecordingRecord: Codable, Sendable, Equatable {
    package var session: SessionID
    package var node: NodeID
    package var owner: String
    package var document: String
    package var sessionType: String
    package var reason: String
    package var started: Timestamp
    package var ended: Timestamp
    package var endReason: String
    package var state: RecordingState
    package var inputRecorded: Bool
    /// Of a terminal's recording; nil of a flow.
    package var mark: RecordingMark?
    package var flow: FlowRecord?

    package init(
        session: SessionID, node: NodeID, owner: String, document: String, sessionType: String, reason: String, started: Timestamp,
        ended: Timestamp, endReason: String, state: RecordingState, inputRecorded: Bool, mark: RecordingMark? = nil,
        flow: FlowRecord? = nil
    ) {
        self.session = session
        self.node = node
        self.owner = owner
        self.document = document
        self.sessionType = sessionType
        self.reason = reason
        self.started = started
        self.ended = ended
        self.endReason = endReason
        self.state = state
        self.inputRecorded = inputRecorded
        self.mark = mark
        self.flow = flow
    }
}

/// The end of a recording: its record, signed. `<session>.seal` is one JSON object. [value]
package struct RecordingSeal: SignedStatement {
    package typealias Content = RecordingRecord
    package static let purpose = "muster session recording"

    package let text: String
    package let signature: String
    package let authority: String

    package init(text: String, signature: String, authority: String) {
        (self.text, self.signature, self.authority) = (text, signature, authority)
    }

    private enum CodingKeys: String, CodingKey {
        case text = "record"
        case signature, authority
    }
}

/// How far an open recording had come at a moment, as the audit trail has it. One that has left the controller's machine proves that
/// what it covers has not been changed since, also to somebody who trusts nobody on that machine. [value]
package struct RecordingCommitment: Codable, Sendable, Equatable {
    package var session: SessionID
    package var time: Timestamp
    /// Of the audit event.
    package var sequence: Int64
    package var mark: RecordingMark

    package init(session: SessionID, time: Timestamp, sequence: Int64, mark: RecordingMark) {
        self.session = session
        self.time = time
        self.sequence = sequence
        self.mark = mark
    }
}

extension RecordingCommitment {
    /// Names of the events that are commitments.
    package static let committed = "CommitRecording"
    package static let sealed = "SealRecording"

    /// The commitment that a record of the audit trail is. Nil if it is none.
    package init?(_ record: AuditRecord) {
        // Most records are none, and looking for a word is quicker than reading JSON.
        guard record.bytes.firstRange(of: Array("Recording\"".utf8)) != nil, let fields = try? record.decoded(),
            [Self.committed, Self.sealed].contains(fields.eventName), let details = fields.additionalEventData, let time = fields.time,
            let session = fields.resources.first?.arn.split(separator: "/").last.flatMap({ SessionID(String($0)) }),
            let length = details["length"].flatMap({ Int64($0) }), let lines = details["lines"].flatMap({ Int64($0) }),
            let head = details["head"]
        else { return nil }
        self.init(
            session: session, time: time, sequence: record.sequence, mark: RecordingMark(length: length, lines: lines, head: head))
    }
}

/// Reading recordings: requests that carry at most one piece, so that memory is bounded on both sides and no request lives long.
///
///     GET /v1/recordings?after=ID                                what there is, newest first
///     GET /v1/recordings/<session>                               one
///     GET /v1/recordings/<session>/<part>?offset=N               a piece of a file
///     GET /v1/recordings/<session>/commitments?after=SEQUENCE    what the audit trail says of it
///     GET /v1/recording-commitments?after=SEQUENCE               and of all
///     GET /v1/recording-follow/<session>?offset=N&wait=SECONDS   what is new of an open one, waited for
package enum RecordingRoute {
    package static let read = "/v1/recordings"
    package static let commitments = "/v1/recording-commitments"
    package static let follow = "/v1/recording-follow/"

    /// The largest piece that an operator gets.
    package static let pieceBytes = 1 << 20
    package static let longestWait: Int64 = 25
    package static let pageSize = 200
    package static let commitmentPage = 1_000
}

/// The files of a recording.
package enum RecordingPart: String, Codable, Sendable, CaseIterable {
    /// The asciicast.
    case cast
    case chain
    case seal
}

package enum RecordingState: String, Codable, Sendable, CaseIterable {
    /// The session goes on.
    case open
    /// It has everything.
    case complete
    /// It ends before the session did, at its limit of bytes.
    case truncated
    /// It could not be written any more.
    case failed
    /// The controller died, and the session did not come back.
    case interrupted
    /// What is on the disk is not what was recorded.
    case damaged
    /// It was here, and was removed when its time was over.
    case expired

    package var isFinal: Bool { self != .open }
}

package enum RecordingKind: String, Codable, Sendable {
    case terminal
    case flow
}

/// A recording as operators see it.
package struct RecordingSummary: Codable, Sendable, Equatable {
    package var session: SessionID
    package var node: NodeID
    package var owner: String
    package var document: String
    package var sessionType: String
    package var reason: String
    package var kind: RecordingKind
    package var state: RecordingState
    package var detail: String
    package var inputRecorded: Bool
    package var started: Timestamp
    package var ended: Timestamp?
    package var endReason: String
    package var mark: RecordingMark
    package var committed: Timestamp?
    package var flow: FlowRecord?
    /// What was run, if it was not a shell.
    package var command: String?
    /// Who it runs as on the host.
    package var user: String?

    package init(
        session: SessionID, node: NodeID, owner: String, document: String, sessionType: String, reason: String, kind: RecordingKind,
        state: RecordingState, detail: String, inputRecorded: Bool, started: Timestamp, ended: Timestamp?, endReason: String,
        mark: RecordingMark, committed: Timestamp?, flow: FlowRecord?, command: String? = nil, user: String? = nil
    ) {
        self.command = command
        self.user = user
        self.session = session
        self.node = node
        self.owner = owner
        self.document = document
        self.sessionType = sessionType
        self.reason = reason
        self.kind = kind
        self.state = state
        self.detail = detail
        self.inputRecorded = inputRecorded
        self.started = started
        self.ended = ended
        self.endReason = endReason
        self.mark = mark
        self.committed = committed
        self.flow = flow
    }
}

package struct RecordingList: Codable, Sendable, Equatable {
    package var recordings: [RecordingSummary]
    /// To go on with; nil at the end.
    package var next: String?

    package init(recordings: [RecordingSummary], next: String?) {
        self.recordings = recordings
        self.next = next
    }
}

package struct CommitmentList: Codable, Sendable, Equatable {
    package var commitments: [RecordingCommitment]

    package init(commitments: [RecordingCommitment]) { self.commitments = commitments }
}

/// What is new of an open recording.
package struct RecordingNews: Codable, Sendable, Equatable {
    /// Base64; whole lines, except when one is longer than a piece.
    package var bytes: String
    /// Where they begin.
    package var offset: Int64
    package var state: RecordingState
    package var length: Int64

    package init(bytes: String, offset: Int64, state: RecordingState, length: Int64) {
        self.bytes = bytes
        self.offset = offset
        self.state = state
        self.length = length
    }
}

/// One of the two streams of a step, by the name of its file.
package enum OutputStream: String, Codable, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    case standardOutput = "stdout"
    case standardError = "stderr"

    package var description: String { rawValue }
}

/// What the node knows about the complete bytes of one stream.
package struct StreamFacts: Codable, Sendable, Equatable {
    /// Bytes that were kept.
    package var length: Int64
    /// Hexadecimal; the node says it of small streams only, the others are proven when they have been uploaded.
    package var sha256: String?
    /// The first `length` bytes of the text in the same reply are the stream: nothing has to be uploaded.
    package var inline: Bool?
    /// Bytes beyond the node's budget, which were thrown away.
    package var lost: Int64?

    package init(length: Int64, sha256: String? = nil, inline: Bool? = nil, lost: Int64? = nil) {
        self.length = length
        self.sha256 = sha256
        self.inline = inline
        self.lost = lost
    }
}

/// Ours, in a step's reply: its complete streams. One that is missing wrote nothing.
package struct StepOutputs: Codable, Sendable, Equatable {
    package var stdout: StreamFacts?
    package var stderr: StreamFacts?

    package init(stdout: StreamFacts? = nil, stderr: StreamFacts? = nil) {
        self.stdout = stdout
        self.stderr = stderr
    }

    package subscript(_ stream: OutputStream) -> StreamFacts? {
        get { stream == .standardOutput ? stdout : stderr }
        set { if stream == .standardOutput { stdout = newValue } else { stderr = newValue } }
    }
}

/// Payload of `agent_output`, ours: somebody watches the command; upload what its steps write while they write it. It ends by
/// itself, so that a controller that forgets costs nothing.
package struct AgentOutputRequest: Codable, Sendable, Equatable {
    package static let longest = 120

    package var commandID: String
    package var seconds: Int

    package init(commandID: String, seconds: Int) {
        self.commandID = commandID
        self.seconds = seconds
    }

    enum CodingKeys: String, CodingKey {
        case commandID = "CommandId"
        case seconds = "Seconds"
    }
}

/// Uploading one stream, and reading it: requests that carry at most one piece, so that memory is bounded on both sides, no request
/// lives long, and every answer says from where to go on.
///
///     GET /v1/output/<command>/<step>/<stream>                                     node      how far is it?
///     PUT /v1/output/<command>/<step>/<stream>?offset=N                            node      a piece
///     PUT /v1/output/<command>/<step>/<stream>?offset=N&total=T&sha256=H[&lost=L]  node      the last piece: that was all of it
///     GET /v1/command-output/<command>/<node>                                      operator  what there is
///     GET /v1/command-output/<command>/<node>/<step>/<stream>?offset=N             operator  a piece
///     POST /v1/command-follow/<command>                                            operator  what is new, waited for
package enum OutputRoute {
    package static let upload = "/v1/output/"
    package static let read = "/v1/command-output/"
    package static let follow = "/v1/command-follow/"

    /// The largest piece that an agent sends.
    package static let pieceBytes = 256 << 10
    /// The largest piece that an operator gets.
    package static let readBytes = 1 << 20
}

/// How far a stream has got on its way to the controller.
package enum OutputState: String, Codable, Sendable, CaseIterable {
    /// Nothing is known of it yet: the step has not ended and nobody watches.
    case unknown
    case uploading
    case complete
    /// Complete up to `length`; the rest was thrown away, at the node's budget or the controller's quota.
    case truncated
    /// It will not come: the node lost it or is gone.
    case lost
    /// It was here, and was removed when its time was over.
    case expired

    package var isFinal: Bool { self != .unknown && self != .uploading }
}

/// The answer to a node about one of its streams.
package struct UploadProgress: Codable, Sendable, Equatable {
    package var state: OutputState
    /// Where the next piece has to begin.
    package var offset: Int64

    package init(state: OutputState, offset: Int64) {
        self.state = state
        self.offset = offset
    }
}

/// One stream of one step, as operators see it.
package struct StoredOutput: Codable, Sendable, Equatable {
    package var step: String
    package var stream: OutputStream
    package var state: OutputState
    /// Bytes that can be read now.
    package var length: Int64
    package var sha256: String
    package var lost: Int64
    package var reason: String

    package init(
        step: String, stream: OutputStream, state: OutputState, length: Int64, sha256: String = "", lost: Int64 = 0, reason: String = ""
    ) {
        self.step = step
        self.stream = stream
        self.state = state
        self.length = length
        self.sha256 = sha256
        self.lost = lost
        self.reason = reason
    }
}

/// The streams of one node's part of a command, in the order of the steps.
package struct StoredOutputs: Codable, Sendable, Equatable {
    /// The node has no more to say about the command.
    package var ended: Bool
    package var outputs: [StoredOutput]

    package init(ended: Bool, outputs: [StoredOutput]) {
        self.ended = ended
        self.outputs = outputs
    }
}

/// Where a watcher stands in one stream.
package struct FollowPosition: Codable, Sendable, Hashable {
    package var node: NodeID
    package var step: String
    package var stream: OutputStream
    package var offset: Int64

    package init(node: NodeID, step: String, stream: OutputStream, offset: Int64) {
        self.node = node
        self.step = step
        self.stream = stream
        self.offset = offset
    }
}

package struct FollowRequest: Codable, Sendable, Equatable {
    package static let longestWait = 20

    package var positions: [FollowPosition]
    /// Seconds to wait when there is nothing new.
    package var wait: Int

    package init(positions: [FollowPosition], wait: Int = Self.longestWait) {
        self.positions = positions
        self.wait = wait
    }
}

package struct FollowAnswer: Codable, Sendable, Equatable {
    package struct Piece: Codable, Sendable, Equatable {
        package var node: NodeID
        package var step: String
        package var stream: OutputStream
        package var offset: Int64
        /// Base64.
        package var bytes: String
        /// Bytes before `offset` that this watcher does not get, because it had fallen too far behind.
        package var skipped: Int64

        package init(node: NodeID, step: String, stream: OutputStream, offset: Int64, bytes: String, skipped: Int64) {
            self.node = node
            self.step = step
            self.stream = stream
            self.offset = offset
            self.bytes = bytes
            self.skipped = skipped
        }
    }

    package var pieces: [Piece]
    /// The command is over.
    package var ended: Bool
    /// Nodes of whose output something is still to come.
    package var waiting: [NodeID]

    package init(pieces: [Piece], ended: Bool, waiting: [NodeID]) {
        self.pieces = pieces
        self.ended = ended
        self.waiting = waiting
    }
}

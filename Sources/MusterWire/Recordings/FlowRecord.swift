/// What a session without a terminal moved: a forwarded port, SSH, a copy, the pipes of a command. [value]
package struct FlowRecord: Codable, Sendable, Equatable {
    /// One direction, as far as one run of the controller saw it. A controller that was restarted begins another.
    package struct Stretch: Codable, Sendable, Equatable {
        /// The first and the one after the last frame.
        package var firstFrame: Int64
        package var nextFrame: Int64
        package var bytes: Int64
        /// Hexadecimal, of the payloads in their order: the stream's data as the two ends see it.
        package var sha256: String

        package init(firstFrame: Int64, nextFrame: Int64, bytes: Int64, sha256: String) {
            self.firstFrame = firstFrame
            self.nextFrame = nextFrame
            self.bytes = bytes
            self.sha256 = sha256
        }
    }

    /// Where to, as the document's parameters were resolved.
    package var destination: [String: String]
    package var toNode: [Stretch]
    package var toClient: [Stretch]
    /// The standard error of a command; nil of everything else.
    package var toClientErrors: [Stretch]?
    /// What the agent says was copied, in its own words and unproven: it is the host that says it.
    package var transfers: [SessionTransfer]
    package var exitCode: Int64?

    package init(
        destination: [String: String], toNode: [Stretch] = [], toClient: [Stretch] = [], toClientErrors: [Stretch]? = nil,
        transfers: [SessionTransfer] = [],
        exitCode: Int64? = nil
    ) {
        self.destination = destination
        self.toNode = toNode
        self.toClient = toClient
        self.toClientErrors = toClientErrors
        self.transfers = transfers
        self.exitCode = exitCode
    }

    package var bytesToNode: Int64 { toNode.reduce(0) { $0 &+ $1.bytes } }
    package var bytesToClient: Int64 { (toClient + (toClientErrors ?? [])).reduce(0) { $0 &+ $1.bytes } }
    package var bytes: Int64 { bytesToNode &+ bytesToClient }
}

import FoundationEssentials
package import Logging
import Metrics
import MusterCrypto
package import MusterWire
import NIOConcurrencyHelpers
package import ServiceLifecycle

/// GetMessages, AcknowledgeMessage, FailMessage, SendReply: the nodes that poll. [service]
///
/// A node opens a connection by a poll with a number that it has never used, as it opens a control channel, and is connected
/// until it has been silent for too long, or until the connection under its poll closes and it does not come back. Its connection is served by the same code as a WebSocket.
package final class MessageOperations: Service {
    /// How often silent nodes are looked for.
    private static let lookSeconds = 2

    private let openings: ChannelOpenings
    private let serve: @Sendable (PollConnection) -> any MessageReceiver
    private let logger: Logger
    private let open = NIOLockedValueBox<[NodeID: PollConnection]>([:])
    private let begun: AsyncStream<PollConnection>.Continuation
    private let beginnings: AsyncStream<PollConnection>

    /// - Parameters:
    ///   - openings: how often a node may open one.
    ///   - serve: what serves a connection.
    package init(
        openings: ChannelOpenings = ChannelOpenings(), logger: Logger, serve: @escaping @Sendable (PollConnection) -> any MessageReceiver
    ) {
        self.openings = openings
        self.serve = serve
        self.logger = logger
        (beginnings, begun) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(10_000))
    }

    package func register(in table: inout OperationTable) {
        table.register(
            GetMessages.self, permission: "ec2messages:GetMessages", route: .nodes, access: .certificate, changes: false, isHeld: true,
            messages)
        table.register(
            AcknowledgeMessage.self, permission: "ec2messages:AcknowledgeMessage", route: .nodes, access: .certificate, changes: true,
            acknowledge)
        table.register(FailMessage.self, permission: "ec2messages:FailMessage", route: .nodes, access: .certificate, changes: true, fail)
        table.register(SendReply.self, permission: "ec2messages:SendReply", route: .nodes, access: .certificate, changes: true, reply)
    }

    // MARK: Operations

    @Sendable func messages(_ input: GetMessages.Input, _ context: OperationContext) async throws -> GetMessages.Output {
        guard let node = context.node else { throw NodeAdmission.Refusal.notANodeCertificate.apiError }
        guard input.destination == node.node.rawValue else {
            throw APIError.invalidInstanceID("Node \(node.node) cannot fetch the messages of another node.")
        }
        let waits = Duration.seconds(input.waitSeconds ?? GetMessages.longestWaitSeconds)
        let batch: PollConnection.Batch
        if input.opensConnection == true {
            let connection = try await begin(node, input, context)
            batch = try await poll(connection, for: .zero, context)
        } else {
            let connection = try connection(node, input.connectionNumber)
            if input.closesConnection == true {
                await connection.close(.normal, reason: "the agent has left")
                batch = PollConnection.Batch()
            } else {
                batch = try await poll(connection, for: waits, context)
            }
        }
        return GetMessages.Output(
            destination: node.node.rawValue, messages: batch.messages.map { Self.shape($0, node.node) },
            messagesRequestID: try input.messagesRequestID.required("messagesRequestId"),
            outputRequests: batch.outputs.isEmpty ? nil : batch.outputs)
    }

    @Sendable func acknowledge(_ input: AcknowledgeMessage.Input, _ context: OperationContext) async throws -> EmptyOutput {
        try acknowledge(input.messageID, input.connectionNumber, .accepted, context)
    }

    @Sendable func fail(_ input: FailMessage.Input, _ context: OperationContext) async throws -> EmptyOutput {
        let code =
            input.statusCode.flatMap { JobAcknowledgeCode(rawValue: $0) }
            ?? (input.failureType == FailMessage.Input.noHandlerExists ? .unexpectedDocumentType : .unexpected)
        return try acknowledge(input.messageID, input.connectionNumber, code, context)
    }

    @Sendable func reply(_ input: SendReply.Input, _ context: OperationContext) async throws -> EmptyOutput {
        guard let id = try UUID(uuidString: input.replyID.required("replyId")) else { throw APIError.validation("The ReplyId is no UUID.") }
        let connection = try connection(context.node, input.connectionNumber)
        let reply = AgentJobReply(jobID: try input.messageID.required("messageId"), content: try input.payload.required("payload"))
        try await translating { try await connection.reply(reply, id: id) }
        return EmptyOutput()
    }

    private func acknowledge(
        _ messageID: String?, _ number: Int64?, _ code: JobAcknowledgeCode, _ context: OperationContext
    ) throws -> EmptyOutput {
        let connection = try connection(context.node, number)
        do {
            try connection.acknowledge(try messageID.required("messageId"), code: code.rawValue, message: code.errorMessage)
        } catch let failure as PollConnection.Failure {
            throw Self.error(failure)
        }
        return EmptyOutput()
    }

    private static func shape(_ message: PollSession.Message, _ node: NodeID) -> GetMessages.Message {
        GetMessages.Message(
            createdDate: message.createdDate.iso8601, destination: node.rawValue, messageID: message.job.jobID,
            payload: message.job.content, payloadDigest: Hex.encode(SHA256.hash(Array(message.job.content.utf8))), topic: message.job.topic)
    }

    // MARK: Connections

    private func begin(_ node: NodeIdentity, _ input: GetMessages.Input, _ context: OperationContext) async throws -> PollConnection {
        guard let number = input.connectionNumber, number > 0 else { throw APIError.validation("ConnectionNumber has to be 1 or more.") }
        guard openings.admit(node.node) else { throw APIError.throttling }
        let connection = PollConnection(
            node: node, number: UInt64(number), certificate: context.certificate, remoteAddress: context.caller.sourceAddress)
        guard case .enqueued = begun.yield(connection) else { throw APIError.internalServerError }
        let hello = OpenControlChannel(
            requestID: input.messagesRequestID ?? "", agentVersion: "", connectionNumber: connection.number,
            identityGeneration: input.identityGeneration)
        do {
            try await connection.open(hello)
        } catch PollConnection.Failure.closed(let code, let reason) {
            switch code {
            case .policyViolation: throw APIError(code: "AccessDeniedException", message: reason, status: 400)
            case .protocolError, .messageTooBig: throw APIError.validation(reason)
            case .normal, .goingAway: throw APIError.internalServerError
            }
        }
        open.withLockedValue { open in
            // A newer one may have overtaken it.
            if open[node.node].map({ $0.number < connection.number || !$0.isOpen }) ?? true { open[node.node] = connection }
        }
        Counter(label: "muster_polling_connections_total").increment()
        return connection
    }

    private func connection(_ node: NodeIdentity?, _ number: Int64?) throws -> PollConnection {
        guard let node else { throw NodeAdmission.Refusal.notANodeCertificate.apiError }
        guard let number, let connection = open.withLockedValue({ $0[node.node] }), connection.number == UInt64(clamping: number),
            connection.node == node, connection.isOpen
        else { throw APIError.connectionNotOpen }
        return connection
    }

    private func poll(
        _ connection: PollConnection, for limit: Duration, _ context: OperationContext
    ) async throws -> PollConnection.Batch {
        try await translating {
            // A process that stops waits for its calls, and this one could take long.
            try await withGracefulShutdownHandler {
                try await connection.poll(for: limit, client: context.connectionEnd)
            } onGracefulShutdown: {
                connection.releaseAll()
            }
        }
    }

    private func translating<T>(_ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch let failure as PollConnection.Failure {
            throw Self.error(failure)
        }
    }

    private static func error(_ failure: PollConnection.Failure) -> APIError {
        switch failure {
        case .closed(.protocolError, let reason), .closed(.messageTooBig, let reason): .validation(reason)
        // Why is found out by opening another: replaced, silent, expired, deregistered.
        case .closed: .connectionNotOpen
        case .tooManyCalls: .throttling
        case .timedOut: .internalServerError
        }
    }

    // MARK: Running

    package func run() async throws {
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.look() }
                for await connection in beginnings {
                    group.addTask {
                        await self.serve(connection).run(connection.messages)
                        await connection.close(.goingAway, reason: "the connection has ended")
                        self.open.withLockedValue { open in
                            if open[connection.node.node] === connection { open.removeValue(forKey: connection.node.node) }
                        }
                    }
                }
                for connection in self.open.withLockedValue({ Array($0.values) }) {
                    await connection.close(.goingAway, reason: "the controller is stopping")
                }
                group.cancelAll()
            }
        } onGracefulShutdown: {
            self.begun.finish()
        }
    }

    private func look() async {
        while !Task.isCancelled {
            let connections = open.withLockedValue { open in
                open = open.filter { $0.value.isOpen }
                return Array(open.values)
            }
            for connection in connections where connection.look() {
                logger.info("node has stopped polling", metadata: ["node": "\(connection.node.node)"])
                await connection.close(.goingAway, reason: "the node polls no more")
            }
            try? await Task.sleep(for: .seconds(Self.lookSeconds))
        }
    }
}

import FoundationEssentials
package import Logging
import Metrics
package import MusterCrypto
package import MusterWire
import NIOConcurrencyHelpers
import NIOCore

/// One control channel, from the upgrade to its end. [service]
///
///     OpenControlChannel ──► admission ──► claim of the connection number ──► registry ──► frames
///
/// The layout of the frames and the sequence of `agent_job`, `agent_job_ack`, `agent_job_reply` and `agent_job_reply_ack` are
/// those of amazon-ssm-agent (agent/messageservice, agent/session/contracts).
package final class AgentConnection: MessageReceiver {
    private struct State {
        var id: AgentRegistry.ConnectionID?
        var node: NodeIdentity?
        var hasHello = false
        /// Not needed any more when the node has been let in.
        var certificate: Certificate?
    }

    private let peer: WebSocketPeer
    private let registry: AgentRegistry
    private let events: any AgentEvents
    private let database: any SQLDatabase
    private let sessions: SessionBroker?
    private let now: @Sendable () -> Timestamp
    private let logger: Logger
    private let outbox: AgentOutbox
    private let state: NIOLockedValueBox<State>

    /// - Parameter certificate: the client's, verified against the controller's CA. Whether it still counts is asked here.
    package init(
        peer: WebSocketPeer, certificate: Certificate?, registry: AgentRegistry, events: any AgentEvents, database: any SQLDatabase,
        sessions: SessionBroker? = nil,
        now: @escaping @Sendable () -> Timestamp = { .now() }, logger: Logger
    ) {
        self.peer = peer
        self.registry = registry
        self.events = events
        self.database = database
        self.sessions = sessions
        self.now = now
        self.logger = logger
        outbox = AgentOutbox { [peer] frame, written in peer.post(binary: frame, written: written) }
        state = NIOLockedValueBox(State(certificate: certificate))
    }

    // MARK: News of the connection. Every end but the agent's own is a close frame with the reason.

    package func began() async {
        let id = await registry.began(peer)
        state.withLockedValue { $0.id = id }
    }

    package func received(_ message: WebSocketPeer.Message) async -> Bool {
        let (id, node) = state.withLockedValue { state in
            state.hasHello = true
            return (state.id, state.node)
        }
        if let node { return await received(message, from: node, outbox) }
        guard let id, let entered = await enter(id, message, outbox) else { return false }
        state.withLockedValue { $0.node = entered }
        return true
    }

    package func ended() async {
        let state = state.withLockedValue { $0 }
        guard let id = state.id else { return }
        if let node = state.node {
            outbox.close()
            await left(id, node)
        } else if !state.hasHello {
            _ = await enter(id, nil, outbox)
        }
        await registry.ended(id)
    }

    /// Who it is, once the channel is open and the node's place is taken; nil when it has been closed instead.
    private func enter(_ id: AgentRegistry.ConnectionID, _ first: WebSocketPeer.Message?, _ outbox: AgentOutbox) async -> NodeIdentity? {
        do {
            let node = try await open(first)
            return await enter(id, node.identity, number: node.connectionNumbers.last, outbox)
        } catch let end as End {
            logger.warning("control channel refused", metadata: ["remote": "\(peer.remoteAddress)", "reason": "\(end.reason)"])
            await peer.close(end.code, reason: end.reason)
        } catch {
            logger.error("control channel not opened", metadata: ["remote": "\(peer.remoteAddress)", "error": "\(error)"])
            await peer.close(.goingAway, reason: "the controller cannot open control channels at the moment")
        }
        return nil
    }

    private static let replaced = "replaced by a newer connection"

    private struct End: Error {
        let code: WebSocketPeer.CloseCode
        let reason: String
    }

    // MARK: Opening

    private enum Claim: Sendable {
        case accepted(Node)
        case cloned(Node)
        case refused(NodeAdmission.Refusal)
    }

    private func open(_ first: WebSocketPeer.Message?) async throws -> Node {
        guard let first else {
            throw End(code: .normal, reason: "the agent left before it opened the channel")
        }
        guard case .text(let text) = first, let hello = try? JSONCoding.decode(OpenControlChannel.self, from: Array(text.utf8)) else {
            throw End(code: .protocolError, reason: "the first message has to be OpenControlChannel")
        }
        guard let number = hello.connectionNumber, ConnectionNumbers.isUsable(number) else {
            throw End(code: .protocolError, reason: "OpenControlChannel needs a connection number from 1 to \(ConnectionNumbers.largest)")
        }
        switch try await claim(number, generation: hello.identityGeneration) {
        case .accepted(let node):
            return node
        case .refused(let refusal):
            throw End(code: .policyViolation, reason: refusal.description)
        case .cloned(let node):
            logger.critical(
                "two hosts hold the identity of one node; it is in quarantine until it is deregistered",
                metadata: [
                    "node": "\(node.id)", "remote": "\(peer.remoteAddress)", "presented": "\(number)",
                    "last": "\(node.connectionNumbers.last)",
                ])
            Counter(label: "muster_nodes_quarantined_total").increment()
            await registry.close(node.id, reason: NodeAdmission.Refusal.quarantined(node.id).description)
            await sessions?.nodeRefused(node.id)
            throw End(code: .policyViolation, reason: NodeAdmission.Refusal.quarantined(node.id).description)
        }
    }

    /// Admission and claim are one transaction, so a deregistration comes either before both or after both.
    private func claim(_ number: UInt64, generation: Int?) async throws -> Claim {
        guard let certificate = state.withLockedValue({ $0.certificate }) else { return .refused(.notANodeCertificate) }
        let time = now()
        let remote = peer.remoteAddress
        return try await database.write { tx in
            var node: Node
            switch try NodeAdmission.admit(certificate, at: time, in: tx) {
            case .failure(let refusal): return .refused(refusal)
            case .success(let admitted): node = admitted
            }
            if let generation, generation != node.generation {
                return .refused(.otherGeneration(node.id, presented: generation, current: node.generation))
            }
            switch node.connectionNumbers.claim(number) {
            case .accept:
                try NodeStore.setConnectionNumbers(node.connectionNumbers, of: node.id, in: tx)
                try AuthorityStore.used(certificate, by: node.id, in: tx)
                return .accepted(node)
            case .quarantine:
                try NodeStore.setState(.quarantined, of: node.id, now: time, in: tx)
                try AuditLog.append(
                    AuditEvent(
                        time: time, controllerDid: "QuarantineManagedInstance", resource: node.id.description,
                        details: [
                            "reason": "two holders of one identity", "sourceIPAddress": remote,
                            "presentedConnectionNumber": String(number),
                            "lastConnectionNumber": String(node.connectionNumbers.last),
                        ]),
                    in: tx)
                return .cloned(node)
            }
        }
    }

    // MARK: Serving

    private func enter(
        _ id: AgentRegistry.ConnectionID, _ node: NodeIdentity, number: UInt64, _ outbox: AgentOutbox
    ) async -> NodeIdentity? {
        let certificate = state.withLockedValue { state in
            defer { state.certificate = nil }
            return state.certificate
        }
        guard let certificate else { return nil }
        switch await registry.connected(
            id, node, number: number, peer: peer, outbox: outbox,
            endsAt: Timestamp(milliseconds: certificate.notAfter * 1000), authority: certificate.authorityKeyIdentifier)
        {
        case .superseded:
            await peer.close(.policyViolation, reason: Self.replaced)
            return nil
        case .entered(let former):
            await former?.close(.policyViolation, reason: Self.replaced)
        }
        // A deregistration, a quarantine or the end of an authority that was committed between the claim and the registry found nothing to close.
        if let refusal = await currentRefusal(of: node, under: certificate) {
            await registry.close(node.node, reason: refusal)
            outbox.close()
            await left(id, node)
            return nil
        }
        logger.info("agent connected", metadata: ["node": "\(node.node)", "remote": "\(peer.remoteAddress)"])
        await peer.admitted()
        await events.nodeConnected(node.node, generation: node.generation)
        return node
    }

    private func left(_ id: AgentRegistry.ConnectionID, _ node: NodeIdentity) async {
        // Whether it was the node's place that was left, or one that another has taken: the news is told when nobody is there.
        _ = await registry.disconnected(id, node.node)
        await tellDisconnected(node)
    }

    /// The news may overtake that of a new connection, so the present state is said again after it.
    private func tellDisconnected(_ node: NodeIdentity) async {
        guard await !registry.isConnected(node.node) else { return }
        await events.nodeDisconnected(node.node)
        if let generation = await registry.connectedNodes()[node.node] {
            await events.nodeConnected(node.node, generation: generation)
        } else {
            logger.info("agent disconnected", metadata: ["node": "\(node.node)"])
        }
    }

    private func currentRefusal(of node: NodeIdentity, under certificate: Certificate) async -> String? {
        do {
            let time = now()
            let admission = try await database.read { tx in try NodeAdmission.admit(certificate, at: time, in: tx) }
            guard case .failure(let refusal) = admission else { return nil }
            return refusal.description
        } catch {
            logger.error("node not looked up", metadata: ["node": "\(node.node)", "error": "\(error)"])
            return "the controller cannot look the node up at the moment"
        }
    }

    /// False when nothing more is to be read.
    private func received(_ message: WebSocketPeer.Message, from identity: NodeIdentity, _ outbox: AgentOutbox) async -> Bool {
        let node = identity.node
        // Closed from here: what arrived since does not count any more.
        if outbox.isClosed { return false }
        guard case .binary(var bytes) = message else {
            count("text")
            return true
        }
        do {
            let frame = try bytes.readAgentMessage()
            try await take(frame, identity)
            return true
        } catch let error as FrameError {
            count("malformed")
            logger.warning("frame refused", metadata: ["node": "\(node)", "error": "\(error)"])
            await peer.close(.protocolError, reason: error.description)
        } catch let end as End {
            logger.warning("control channel ended", metadata: ["node": "\(node)", "reason": "\(end.reason)"])
            await peer.close(end.code, reason: end.reason)
        } catch {
            // Without an acknowledgement the agent keeps the reply, and sends it again when it is back.
            logger.error("reply not kept", metadata: ["node": "\(node)", "error": "\(error)"])
            await peer.close(.goingAway, reason: "the controller cannot keep replies at the moment")
        }
        return false
    }

    private func take(_ frame: AgentMessage, _ identity: NodeIdentity) async throws {
        let node = identity.node
        switch frame.messageType {
        case .agentJobAck:
            let acknowledgement = try frame.decodePayload(AgentJobAcknowledge.self)
            try await check(acknowledgement.jobID, in: frame, from: node)
            await events.jobAcknowledged(node, acknowledgement)
        case .agentJobReply:
            let reply = try frame.decodePayload(AgentJobReply.self)
            try await check(reply.jobID, in: frame, from: node)
            try await events.replyReceived(node, reply, messageID: frame.messageID)
            try await acknowledge(reply, frame)
        case .agentTaskComplete:
            let complete = try frame.decodePayload(AgentTaskComplete.self)
            guard await sessions?.taskCompleted(identity, complete, frame) != false else {
                try await refuseForeign("namedSession", complete.taskID.rawValue, in: frame, from: node)
                return
            }
        default:
            count("unknown")
        }
    }

    /// A node speaks for itself only. The identity is the certificate's; a job id that names another node is an attack or a
    /// copied disk, and ends the connection.
    private func check(_ text: String, in frame: AgentMessage, from node: NodeID) async throws {
        guard let job = JobID(text) else {
            throw End(code: .protocolError, reason: "a \(frame.messageType) message names no job")
        }
        guard job.node != node else { return }
        try await refuseForeign("namedNode", job.node.description, in: frame, from: node)
    }

    private func refuseForeign(_ kind: String, _ named: String, in frame: AgentMessage, from node: NodeID) async throws {
        let event = AuditEvent(
            time: now(), controllerDid: "RefuseAgentMessage", resource: node.description, outcome: .denied,
            details: ["message": frame.messageType.description, kind: named, "sourceIPAddress": peer.remoteAddress])
        try await database.write { tx in try AuditLog.append(event, in: tx) }
        count("foreign")
        throw End(code: .policyViolation, reason: "a message names another node's job or session")
    }

    private func acknowledge(_ reply: AgentJobReply, _ frame: AgentMessage) async throws {
        let answer = try AgentMessage(
            .agentJobReplyAck, createdDate: now(),
            payload: AgentJobReplyAcknowledge(jobID: reply.jobID, acknowledgedMessageID: frame.messageID.uuidString.lowercased()))
        var bytes = ByteBuffer()
        bytes.writeAgentMessage(answer)
        do {
            // Not through the outbox: an agent that does not read its acknowledgements is not read from either.
            try await peer.send(binary: bytes)
        } catch {
            throw End(code: .goingAway, reason: "the agent does not take its messages")
        }
    }

    private func count(_ kind: String) {
        Counter(label: "muster_agent_frames_refused_total", dimensions: [("kind", kind)]).increment()
    }
}

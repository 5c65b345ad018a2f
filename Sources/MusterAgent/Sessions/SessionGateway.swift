import CLinux
import Dispatch
import FoundationEssentials
import Glibc
package import Logging
package import MusterWire
package import NIOCore
package import ServiceLifecycle

/// What a control channel needs to know of the part that runs sessions.
package protocol SessionReceiver: Sendable {
    /// A channel is up: what is told about sessions goes out through `send` from now on.
    func attach(_ send: @escaping @Sendable (AgentMessage) -> Void)
    func detach()
    /// `interactive_shell`, `channel_closed`, `agent_task_acknowledge`.
    func received(_ message: AgentMessage)
}

/// The agent's side of the session host: starts it when the first session comes, passes the controller's messages to it and its own
/// back, and answers for sessions that nobody else can answer for.
///
/// The state lives on the agent's event loop, which is what makes it Sendable. It does not end sessions: when the agent stops, the host
/// goes on.
package final class SessionGateway: SessionReceiver, Service, @unchecked Sendable {
    /// nil: sessions are switched off.
    private let settings: SessionSettings?
    private let node: NodeID
    private let stateDirectory: String
    private let executable: String
    private let folder: SessionFolder
    private let loop: any EventLoop
    private let logger: Logger

    private var send: (@Sendable (AgentMessage) -> Void)?
    private var host: (any Channel)?
    private var isConnecting = false
    /// Sent to a host that has not said that it has them, each with the number of hosts that it was sent to.
    private var offered: [SessionID: (message: AgentMessage, tries: Int)] = [:]
    /// In the host's hands.
    private var accepted: Set<SessionID> = []
    /// What this process answers for, until the controller has acknowledged it.
    private var failed: [SessionID: (complete: AgentTaskComplete, messageID: UUID)] = [:]
    private var isRepeating = false
    private var isStopping = false

    private static let largestTries = 2

    package init(
        stateDirectory: String, settings: SessionSettings?, node: NodeID, agentExecutable: String, loop: any EventLoop, logger: Logger
    ) throws {
        self.settings = settings
        self.node = node
        self.stateDirectory = stateDirectory
        executable = agentExecutable
        folder = try SessionFolder(stateDirectory: stateDirectory)
        self.loop = loop
        self.logger = logger
    }

    package func run() async throws {
        loop.execute { self.begin() }
        try? await gracefulShutdown()
        try? await loop.submit {
            self.isStopping = true
            self.host?.close(promise: nil)
        }.get()
    }

    /// A former agent may have left sessions behind: they are the host's if it lives, and lost if it does not.
    private func begin() {
        let left = openSessions()
        guard !left.isEmpty || settings != nil else { return }
        accepted.formUnion(left)
        let socket = muster_connect_path(folder.socketPath)
        if socket >= 0 { adopt(socket) } else { lose() }
    }

    private func openSessions() -> [SessionID] {
        do {
            return try folder.open()
        } catch {
            logger.error("cannot read the notes of open sessions", metadata: ["reason": "\(error)"])
            return []
        }
    }

    // MARK: The controller

    package func attach(_ send: @escaping @Sendable (AgentMessage) -> Void) {
        loop.execute {
            self.send = send
            for id in self.failed.keys { self.tell(id) }
        }
    }

    package func detach() {
        loop.execute { self.send = nil }
    }

    package func received(_ message: AgentMessage) {
        loop.execute { self.take(message) }
    }

    private func take(_ message: AgentMessage) {
        switch message.messageType {
        case .interactiveShell:
            guard let task = try? message.decodePayload(StartSessionTask.self), let content = try? task.decodeContent() else {
                logger.warning("ignoring an order for a session that cannot be read")
                return
            }
            start(content.sessionID, message)
        case .channelClosed:
            guard let closed = try? message.decodePayload(ChannelClosed.self) else { return }
            close(closed.sessionID, message)
        case .agentTaskAcknowledge:
            guard let acknowledgement = try? message.decodePayload(AgentTaskAcknowledge.self) else { return }
            if let id = SessionID(acknowledgement.taskID), let report = failed[id],
                UUID(uuidString: acknowledgement.messageID) == report.messageID
            {
                failed[id] = nil
                settled(id)
            } else {
                forward(message)
            }
        default:
            break
        }
    }

    private func start(_ id: SessionID, _ message: AgentMessage) {
        // The controller may repeat itself.
        guard offered[id] == nil, !accepted.contains(id), failed[id] == nil else { return }
        guard settings != nil else {
            return fail(id, "Sessions are switched off on this node (sessionsEnabled in its agent.json5).")
        }
        do {
            try folder.note(id)
        } catch {
            // A full disk must not shut out who would clear it. Without the note nobody reports the session as lost should agent and host
            // both end; the controller has a deadline of its own for that.
            logger.warning("a session begins without a note on the disk", metadata: ["session": "\(id)", "reason": "\(error)"])
        }
        offered[id] = (message, 0)
        offer()
    }

    private func close(_ id: SessionID, _ message: AgentMessage) {
        if host != nil, accepted.contains(id) || offered[id] != nil {
            forward(message)
        } else if failed[id] != nil {
            tell(id)
        } else {
            // Nobody knows it: the controller is to stop waiting.
            fail(id, "This node has no such session.")
        }
    }

    private func forward(_ message: AgentMessage) {
        if let host { SessionLink.send(message, on: host) }
    }

    // MARK: The host

    private func offer() {
        guard !offered.isEmpty, !isStopping else { return }
        guard let host else { return connect() }
        for (id, order) in offered where order.tries == 0 || order.tries < Self.largestTries {
            offered[id]?.tries += 1
            SessionLink.send(order.message, on: host)
        }
    }

    private func connect() {
        guard host == nil, !isConnecting else { return }
        var socket = muster_connect_path(folder.socketPath)
        if socket < 0 {
            do {
                try startHost()
                socket = muster_connect_path(folder.socketPath)
            } catch {
                logger.error("cannot start the session host", metadata: ["reason": "\(error)"])
            }
        }
        guard socket >= 0 else {
            for id in offered.keys { fail(id, "The node cannot start its session host.") }
            offered = [:]
            return
        }
        adopt(socket)
    }

    /// It listens on a socket that is made here: whoever connects from now on waits until it is there.
    private func startHost() throws {
        try folder.removeSocket()
        let listener = muster_listen_path(folder.socketPath)
        guard listener >= 0 else { throw FileError("listen on", "the socket of the session host", errno) }
        let owned = FileDescriptor(listener)
        let process = try DetachedChild.start(executable, ["session-host", stateDirectory], handing: owned.number)
        logger.info("session host started", metadata: ["pid": "\(process)"])
        // It is not waited for; nobody else reaps it while this agent lives.
        DispatchQueue.global().async { while waitpid(process, nil, 0) < 0 && errno == EINTR {} }
    }

    private func adopt(_ socket: Int32) {
        isConnecting = true
        SessionLink.open(
            socket, on: loop, received: { [weak self] in self?.reported($0) }, ended: { [weak self] in self?.lost() }
        ).whenComplete { [self] result in
            isConnecting = false
            switch result {
            case .success(let channel):
                guard channel.isActive else { return lose() }
                host = channel
                if let settings,
                    let message = try? AgentMessage(.sessionSettings ?? .agentTelemetry, createdDate: .now(), payload: settings)
                {
                    SessionLink.send(message, on: channel)
                }
                offer()
            case .failure(let error):
                Glibc.close(socket)
                logger.error("cannot talk to the session host", metadata: ["reason": "\(error)"])
                lose()
            }
        }
    }

    private func reported(_ message: AgentMessage) {
        switch message.messageType {
        case .agentTaskComplete:
            send?(message)
        case MessageType.sessionList:
            guard let list = try? message.decodePayload(SessionNames.self) else { return }
            // What a former agent had begun and this host does not know is lost.
            for id in accepted.subtracting(list.sessions) {
                accepted.remove(id)
                lose(id)
            }
            accepted.formUnion(list.sessions)
        case MessageType.sessionAccepted:
            guard let names = try? message.decodePayload(SessionNames.self) else { return }
            for id in names.sessions {
                offered[id] = nil
                accepted.insert(id)
            }
        case MessageType.sessionSettled:
            guard let names = try? message.decodePayload(SessionNames.self) else { return }
            for id in names.sessions { settled(id) }
        default:
            break
        }
    }

    private func settled(_ id: SessionID) {
        accepted.remove(id)
        do {
            try folder.settled(id)
        } catch {
            logger.warning("the note of a session stays behind", metadata: ["session": "\(id)", "reason": "\(error)"])
        }
    }

    private func lost() {
        guard host != nil else { return }
        host = nil
        guard !isStopping else { return }
        lose()
        // A host that ended because it had nothing to do has taken nothing of what was offered since.
        for (id, order) in offered where order.tries >= Self.largestTries {
            offered[id] = nil
            fail(id, "The session host of this node ended before it could begin the session.")
        }
        offer()
    }

    /// The host is gone, and with it all its sessions.
    private func lose() {
        let sessions = accepted
        accepted = []
        for id in sessions { lose(id) }
    }

    private func lose(_ id: SessionID) {
        logger.error("a session was lost with its session host", metadata: ["session": "\(id)"])
        fail(id, "The session host of this node ended unexpectedly, and the session with it.")
        // Its launchers end by themselves what they started; what they were killed before is ended here.
        DispatchQueue.global().async {
            let variable = Array("\(SessionOrder.marker)=\(id)".utf8)
            let me = getpid()
            _ = ProcessTree.end {
                ProcessTable.read().entries.filter {
                    $0.identity.pid != me && $0.identity.pid > 1 && ProcessTable.environment(of: $0.identity.pid, contains: variable)
                }
            }
        }
    }

    // MARK: Own reports

    private func fail(_ id: SessionID, _ words: String) {
        offered[id] = nil
        failed[id] = (
            AgentTaskComplete(
                session: id, status: AgentTaskComplete.Status.failed, instanceID: node.rawValue, output: words, retryNumber: 0),
            UUID()
        )
        tell(id)
        scheduleRepeat()
    }

    private func tell(_ id: SessionID) {
        guard let send, var report = failed[id] else { return }
        report.complete.retryNumber += 1
        failed[id] = report
        if let message = try? AgentMessage(
            .agentTaskComplete, createdDate: .now(), messageID: report.messageID, payload: report.complete)
        {
            send(message)
        }
    }

    private func scheduleRepeat() {
        guard !isRepeating, !failed.isEmpty, !isStopping else { return }
        isRepeating = true
        loop.scheduleTask(in: .seconds(5)) { [weak self] in
            guard let self else { return }
            self.isRepeating = false
            for id in self.failed.keys { self.tell(id) }
            self.scheduleRepeat()
        }
    }
}

import CLinux
import FoundationEssentials
import Glibc
package import Logging
import MusterClient
import MusterDocuments
import MusterLogging
import MusterWire
import NIOCore
import NIOPosix

/// The process that owns all sessions of a node: their streams, their TLS and, by way of launchers, their programs. It outlives the agent,
/// so that an upgrade or a crash of the agent ends nobody's session; the agent talks to it over `SessionLink`.
///
///     agent ──SessionLink──▶ SessionHost ─┬─ HostedSession ── DataChannel ══▶ relay
///                                         │       └─ SessionProcess, PortSession
///                                         └─ SessionLauncher (a process) ── launchers ── programs
///
/// Everything happens on one event loop, which is what makes it Sendable. It ends when it has had no session for a while; if it is killed,
/// its launchers end their programs, and the agent reports the sessions as failed.
package final class SessionHost: @unchecked Sendable {
    /// Where the listening socket is.
    package static let descriptor: Int32 = 3
    private static let idleTime = TimeAmount.seconds(60)

    private struct Report {
        var complete: AgentTaskComplete
        let messageID: UUID
        var tries = 0
        var session: HostedSession?
    }

    private let loop: any EventLoop
    private let folder: SessionFolder
    private let identity: HostIdentity
    private let launchers = LauncherServer(executable: "/proc/self/exe")
    private var logger: Logger
    private var settings: SessionSettings?
    private var denied = DeniedTargets([])
    private var agent: (any Channel)?
    private var sessions: [SessionID: HostedSession] = [:]
    private var reports: [SessionID: Report] = [:]
    private var idle: Scheduled<Void>?
    private let starts: AsyncStream<HostedSession>.Continuation
    private let ending: EventLoopPromise<Void>

    /// The whole life of the process.
    package static func main(stateDirectory: String) -> Int32 {
        signal(SIGPIPE, SIG_IGN)
        // Launchers that lost their server become our children; how they ended they tell themselves.
        signal(SIGCHLD, SIG_IGN)
        umask(0o077)
        _ = muster_become_subreaper()
        _ = muster_forbid_dumps()
        let logger = Self.logger(.logfmt, .info)
        do {
            try runToCompletion { group in
                try await Self.serve(stateDirectory: stateDirectory, group: group, logger: logger)
            }
            return 0
        } catch {
            logger.error("the session host has failed", metadata: ["reason": "\(error)"])
            return 1
        }
    }

    private static func logger(_ format: LogFormat, _ level: Logger.Level) -> Logger {
        var logger = Logger(program: "muster-agent", format: format, level: level)
        logger[metadataKey: "part"] = "session-host"
        return logger
    }

    private static func serve(stateDirectory: String, group: MultiThreadedEventLoopGroup, logger: Logger) async throws {
        let loop = group.next()
        let (stream, starts) = AsyncStream.makeStream(of: HostedSession.self, bufferingPolicy: .unbounded)
        let ending = loop.makePromise(of: Void.self)
        let host = SessionHost(
            loop: loop, folder: try SessionFolder(stateDirectory: stateDirectory),
            identity: try HostIdentity(stateDirectory: stateDirectory, group: group, logger: logger), starts: starts, ending: ending,
            logger: logger)
        let listener = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try host.adopt(channel) }
            }
            .withBoundSocket(descriptor).get()
        loop.execute { host.scheduleIdleEnd() }
        await withDiscardingTaskGroup { tasks in
            tasks.addTask {
                try? await ending.futureResult.get()
                starts.finish()
            }
            for await session in stream {
                tasks.addTask {
                    let end = await session.channel.run()
                    loop.execute { session.channelEnded(end) }
                }
            }
            tasks.cancelAll()
        }
        try? await listener.close()
    }

    private init(
        loop: any EventLoop, folder: SessionFolder, identity: HostIdentity, starts: AsyncStream<HostedSession>.Continuation,
        ending: EventLoopPromise<Void>, logger: Logger
    ) {
        self.loop = loop
        self.folder = folder
        self.identity = identity
        self.starts = starts
        self.ending = ending
        self.logger = logger
    }

    // MARK: The agent

    /// The newest connection is the agent; the folder of the socket lets nobody else in.
    private func adopt(_ channel: any Channel) throws {
        agent?.close(promise: nil)
        agent = channel
        try channel.pipeline.syncOperations.addHandler(
            SessionLink(
                received: { [weak self] in self?.received($0) },
                ended: { [weak self] in
                    guard let self, self.agent === channel else { return }
                    self.agent = nil
                }))
        tell(.sessionList, SessionNames(sessions: Array(sessions.keys) + reports.keys.filter { sessions[$0] == nil }))
    }

    private func tell(_ type: MessageType?, _ payload: some Encodable) {
        guard let agent, let type, let message = try? AgentMessage(type, createdDate: .now(), payload: payload) else { return }
        SessionLink.send(message, on: agent)
    }

    private func received(_ message: AgentMessage) {
        switch message.messageType {
        case .interactiveShell:
            guard let task = try? message.decodePayload(StartSessionTask.self), let content = try? task.decodeContent() else { return }
            start(content)
        case .channelClosed:
            guard let closed = try? message.decodePayload(ChannelClosed.self) else { return }
            if let session = sessions[closed.sessionID] {
                session.close()
            } else if let report = reports[closed.sessionID] {
                send(report)
            }
        case .agentTaskAcknowledge:
            acknowledged(message)
        case MessageType.sessionSettings:
            guard let settings = try? message.decodePayload(SessionSettings.self) else { return }
            self.settings = settings
            denied = DeniedTargets(settings.deniedTargets.compactMap { DeniedTargets.Range($0, parse: NetworkAddress.init) })
            logger = Self.logger(settings.logFormat ?? .logfmt, Logger.Level(rawValue: settings.logLevel) ?? .info)
            identity.proxy = settings.proxy
            // What could not be told while no agent was there.
            for report in reports.values { send(report) }
        default:
            logger.debug("ignoring a message of the agent", metadata: ["type": "\(message.messageType)"])
        }
    }

    // MARK: Sessions

    private func start(_ content: StartSessionContent) {
        let id = content.sessionID
        tell(.sessionAccepted, SessionNames(sessions: [id]))
        guard sessions[id] == nil, reports[id] == nil else { return }
        idle?.cancel()
        idle = nil
        do {
            try begin(content)
        } catch {
            logger.warning("session refused", metadata: ["session": "\(id)", "reason": "\(error)"])
            report(id, .failed("\(error)"), [], session: nil)
        }
    }

    private func begin(_ content: StartSessionContent) throws {
        guard let settings else { throw SessionRefusal("The agent has not told the session host its configuration.") }
        guard sessions.count < settings.maximumSessions else {
            throw SessionRefusal("This node has \(sessions.count) sessions, which is as many as its agent.json5 allows (maximumSessions).")
        }
        let id = content.sessionID
        let plan = try SessionPlan(content)
        let client = content.client ?? .stock
        let user = try plan.needsUser ? choose(content, plan, settings) : nil
        var sessionLogger = logger
        sessionLogger[metadataKey: "session"] = "\(id)"
        let channel = DataChannel(
            role: .agent, limits: plan.limits(for: client), connect: identity.connect(id, node: settings.node), logger: sessionLogger)
        let session = HostedSession(
            id: id, plan: plan, client: client, user: user?.account.name, channel: channel, loop: loop, logger: sessionLogger,
            makeWorker: { [unowned self] session in self.worker(plan, client, user, settings, session) },
            beside: { [weak self] message in
                if message.messageType == .agentTaskAcknowledge { self?.acknowledged(message) }
            },
            finished: { [weak self] session, result, transfers in self?.ended(session, result, transfers) })
        channel.attach(session)
        sessions[id] = session
        logger.info(
            "session begins",
            metadata: [
                "session": "\(id)", "type": "\(plan.sessionType)", "owner": "\(content.sessionOwner.prefix(256))",
                "user": "\(user?.account.name ?? "-")",
            ])
        starts.yield(session)
    }

    private func choose(_ content: StartSessionContent, _ plan: SessionPlan, _ settings: SessionSettings) throws(SessionRefusal)
        -> RunAsUser
    {
        try RunAsUser.choose(
            requested: content.runAsUser, documentDefault: plan.runAsDefaultUser, isElevated: plan.work.runAsElevated,
            on: .init(effectiveUserID: geteuid(), defaultUser: settings.runAsDefault, account: RunAsUser.Account.named))
    }

    private func worker(
        _ plan: SessionPlan, _ client: SessionClient, _ user: RunAsUser?, _ settings: SessionSettings, _ session: HostedSession
    ) -> any SessionWorker {
        switch plan.work {
        case .port(let target):
            let dialer: PortDialer =
                switch target.address {
                case .port(let host, let port): .port(host: host, port: port)
                case .socket(let path): .socket(path: path, connector: connector(path, user, session.id, settings.pamService))
                }
            return PortSession(
                target: dialer, denied: denied,
                isMultiplexed: target.isForwarding && PortSession.multiplexes(clientVersion: session.clientVersion),
                isReconnecting: target.isForwarding, loop: loop, owner: session)
        case .shell, .interactive, .nonInteractive:
            let (order, shape) = SessionOrder.make(plan, client: client, user: user, session: session.id, pamService: settings.pamService)
            return SessionProcess(order: order, shape: shape, launchers: launchers, loop: loop, owner: session)
        }
    }

    /// Connects to a unix socket with the rights of the session's user, in a launcher.
    private func connector(
        _ path: String, _ user: RunAsUser?, _ session: SessionID, _ pamService: String?
    ) -> () -> EventLoopFuture<Int32> {
        let order = SessionOrder.connect(path, user: user, session: session, pamService: pamService)
        return { [launchers, loop] in SocketConnector.connect(order, launchers: launchers, loop: loop) }
    }

    private func ended(_ session: HostedSession, _ result: SessionResult, _ transfers: [SessionTransfer]) {
        sessions[session.id] = nil
        logger.info(
            "session ended",
            metadata: [
                "session": "\(session.id)", "success": "\(result.isSuccess)", "exit": "\(result.exitCode.map { "\($0)" } ?? "-")",
                "words": "\(result.output)",
            ])
        report(session.id, result, transfers, session: session)
    }

    // MARK: Reports

    private func report(_ id: SessionID, _ result: SessionResult, _ transfers: [SessionTransfer], session: HostedSession?) {
        let complete = AgentTaskComplete(
            session: id, status: result.isSuccess ? AgentTaskComplete.Status.success : AgentTaskComplete.Status.failed,
            instanceID: settings?.node.rawValue ?? "", output: result.output, exitCode: result.exitCode,
            transfers: transfers.isEmpty ? nil : transfers)
        reports[id] = Report(complete: complete, messageID: UUID(), session: session)
        repeatReport(id)
    }

    /// Once a second at first, then more and more rarely, until it is acknowledged.
    private func repeatReport(_ id: SessionID) {
        guard var report = reports[id] else { return }
        report.tries += 1
        report.complete.retryNumber = report.tries
        // The controller closes the data channel when it knows; after a few tries we do.
        if report.tries > 3, let session = report.session {
            report.session = nil
            Self.close(session)
        }
        reports[id] = report
        send(report)
        let pause = TimeAmount.seconds(report.tries <= 3 ? 1 : Int64(min(30, report.tries * 2)))
        loop.scheduleTask(in: pause) { [weak self] in self?.repeatReport(id) }
    }

    private func send(_ report: Report) {
        guard
            let message = try? AgentMessage(.agentTaskComplete, createdDate: .now(), messageID: report.messageID, payload: report.complete)
        else { return }
        // Over the data channel if it is open; a repeat goes both ways.
        let isPosted = report.session?.channel.post(message) ?? false
        if let agent, !isPosted || report.tries > 1 { SessionLink.send(message, on: agent) }
    }

    private func acknowledged(_ message: AgentMessage) {
        guard let acknowledgement = try? message.decodePayload(AgentTaskAcknowledge.self), let id = SessionID(acknowledgement.taskID),
            let report = reports[id], UUID(uuidString: acknowledgement.messageID) == report.messageID
        else { return }
        reports[id] = nil
        do {
            try folder.settled(id)
        } catch {
            logger.warning("the note of a session stays behind", metadata: ["session": "\(id)", "reason": "\(error)"])
        }
        tell(.sessionSettled, SessionNames(sessions: [id]))
        if let session = report.session { Self.close(session) }
        scheduleIdleEnd()
    }

    private static func close(_ session: HostedSession) {
        session.channel.end()
    }

    private func scheduleIdleEnd() {
        guard sessions.isEmpty, reports.isEmpty else { return }
        idle?.cancel()
        idle = loop.scheduleTask(in: Self.idleTime) { [weak self] in
            guard let self, self.sessions.isEmpty, self.reports.isEmpty else { return }
            self.agent?.close(promise: nil)
            self.ending.succeed()
        }
    }
}

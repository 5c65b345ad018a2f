internal import FoundationEssentials
package import Logging
internal import Metrics
internal import MusterCrypto
package import MusterWire
package import NIOCore
internal import ServiceLifecycle

/// All sessions that have not ended. [actor]
///
///     StartSession ─► row ─► accepted ─► SessionMachine ─► interactive_shell, channel_closed, the end of the recording, the row
///                                            ▲
///     legs ─► SessionRelay ─► reports ───────┘          frames pass through the relay and never through here
///
/// The rows hold what was live. After a restart every machine is built anew from its row and waits for both sides to come back.
package actor SessionBroker: Service {
    package struct Settings: Sendable {
        package var maximumSessions = 10_000
        /// Sessions that were started and never opened: of one user, and of all.
        package var maximumUnopenedOfUser = 500
        package var maximumUnopened = 5_000
        /// One timer for all deadlines, which are seconds at least.
        package var lookMilliseconds: Int64 = 250

        package init() {}
    }

    /// Why a leg is not let in.
    package enum Refusal: Error, Sendable, Equatable {
        /// There is no such session, or it is over.
        case over
        /// The session belongs to another node.
        case foreign
        case token(SessionGrant.Refusal)
        case badOpening(String)
        case unavailable
    }

    private struct Live {
        var record: SessionRecord
        var machine: SessionMachine
        let relay: SessionRelay
        /// As long as nobody has opened it.
        var unopened: Quota<String>.Share?
        /// When the client's leg was first opened.
        var openedAt: NIODeadline?
        var exitCode: Int?
        /// `agent_task_complete` frames that are acknowledged once the end is durable.
        var unconfirmed: [UUID] = []
    }

    private enum Work: Sendable {
        case report(SessionID, SessionRelay.Report)
        case finish(SessionID, SessionMachine.End)
    }

    private let database: any SQLDatabase
    private let registry: AgentRegistry
    private let taps: any SessionTaps
    private let settings: Settings
    private let clock: @Sendable () -> NIODeadline
    private let now: @Sendable () -> Timestamp
    private let logger: Logger

    private let unopened: Quota<String>
    private var live: [SessionID: Live] = [:]
    private var busy: Set<SessionID> = []
    private var waiting: [SessionID: [CheckedContinuation<Void, Never>]] = [:]
    private var unwritten: [SessionID: SessionStatus] = [:]
    private let (work, workContinuation) = AsyncStream.makeStream(of: Work.self)
    private let (wakes, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    private let active = Gauge(label: "muster_sessions_active")
    private let openTime = Timer(label: "muster_session_open_seconds")

    package init(
        database: any SQLDatabase, registry: AgentRegistry, taps: any SessionTaps, settings: Settings = Settings(),
        clock: @escaping @Sendable () -> NIODeadline = { .now() }, now: @escaping @Sendable () -> Timestamp = { .now() }, logger: Logger
    ) {
        self.database = database
        self.registry = registry
        self.taps = taps
        self.settings = settings
        unopened = Quota(total: settings.maximumUnopened, perSource: settings.maximumUnopenedOfUser)
        self.clock = clock
        self.now = now
        self.logger = logger
    }

    // MARK: Life

    /// What was live when the controller stopped. Before the first connection is accepted.
    package func load() async throws {
        let records = try await database.read { tx in try SessionStore.live(in: tx) }
        for record in records {
            let age = TimeAmount.milliseconds(max(0, now().milliseconds - record.facts.started.milliseconds))
            let machine = SessionMachine(
                restored: record.status, isOrdered: record.isOrdered, reason: record.details, age: age,
                timing: .init(idleMinutes: record.idleMinutes, maximumMinutes: record.maximumMinutes), now: clock())
            enter(record, machine, record.isOrdered ? nil : unopened.take(for: record.facts.ownerName))
            guard record.isOrdered, let relay = live[record.id]?.relay else { continue }
            do {
                relay.record(with: try await taps.resume(record.facts))
                relay.noted(.controllerRestarted)
            } catch {
                logger.error("recording not resumed", metadata: ["session": "\(record.id)", "error": "\(error)"])
                await handle(record.id, .recordingFailed("The recording could not be continued after a restart of the controller."))
            }
        }
        if !records.isEmpty { logger.info("sessions taken up", metadata: ["sessions": "\(records.count)"]) }
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.writeStatus() }
                group.addTask { await self.look() }
                for await item in self.work {
                    switch item {
                    case .report(let id, let report): await self.reported(id, report)
                    case .finish(let id, let end): group.addTask { await self.finish(id, end) }
                    }
                }
                group.cancelAll()
            }
        }
    }

    private func look() async {
        while !Task.isCancelled {
            let time = clock()
            for (id, session) in live {
                guard let deadline = session.machine.deadline, deadline <= time else { continue }
                await handle(id, .timePassed(lastActivity: session.relay.lastActivity))
            }
            if !unwritten.isEmpty { wake.yield() }
            try? await Task.sleep(for: .milliseconds(settings.lookMilliseconds))
        }
    }

    private func enter(_ record: SessionRecord, _ machine: SessionMachine, _ unopened: Quota<String>.Share?) {
        let (id, continuation) = (record.id, workContinuation)
        let relay = SessionRelay(id: id, now: clock) { continuation.yield(.report(id, $0)) }
        live[id] = Live(record: record, machine: machine, relay: relay, unopened: unopened)
        active.record(live.count)
    }

    // MARK: Operations

    /// Room for one more session of a user, which is that session's until its client is there, and otherwise given back by itself.
    package func room(for user: String) throws -> Quota<String>.Share {
        guard live.count < settings.maximumSessions else { throw APIError.throttling }
        if let room = unopened.take(for: user) { return room }
        guard unopened.taken(by: user) >= settings.maximumUnopenedOfUser else { throw APIError.throttling }
        throw APIError(
            code: APIError.throttling.code,
            message:
                "\(user) has \(settings.maximumUnopenedOfUser) sessions that were started and have not been opened. Open or terminate some; those that nobody opens end after a minute.",
            status: APIError.throttling.status)
    }

    /// The row is committed.
    package func accepted(_ record: SessionRecord, room: Quota<String>.Share?) {
        guard live[record.id] == nil else { return }
        let timing = SessionMachine.Timing(idleMinutes: record.idleMinutes, maximumMinutes: record.maximumMinutes)
        enter(record, SessionMachine(timing: timing, now: clock()), room)
    }

    /// A new token for the event's caller, and no other counts any more; nil when the session is over or unknown.
    package func issue(_ id: SessionID, audit: AuditEvent) async throws -> SessionToken? {
        await begin(id)
        defer { finished(id) }
        guard let session = live[id], session.machine.status != .terminating, !session.machine.isOver else { return nil }
        let token = SessionToken.make()
        var grant = session.record.grant
        grant.issue(token, to: audit.caller, for: id, now: now())
        let issued = grant
        try await database.write { tx in
            try SessionStore.setGrant(issued, of: id, in: tx)
            try AuditLog.append(audit, in: tx)
        }
        live[id]?.record.grant = issued
        return token
    }

    /// Ends the session now. False when there is none.
    package func terminate(_ id: SessionID, words: String, audit: AuditEvent) async throws -> Bool {
        await begin(id)
        defer { finished(id) }
        guard let session = live[id], !session.machine.isOver else { return false }
        let time = now()
        try await database.write { tx in
            try SessionStore.setStatus(.terminating, details: words, at: time, of: id, in: tx)
            try AuditLog.append(audit, in: tx)
        }
        await handle(id, .terminateRequested(words))
        return true
    }

    /// Shows words to whoever sits at the session, through the host, which owns the stream. Where bytes are a program's, nothing is shown.
    package func notify(_ id: SessionID, _ words: String) {
        guard let session = live[id], !session.machine.isOver, Self.shown.contains(session.record.facts.sessionType) else { return }
        do {
            let notice = SessionNotice(sessionID: id, text: words)
            session.relay.send(try AgentMessage(.sessionNotice, createdDate: now(), payload: notice), to: .agent)
        } catch {
            logger.error("session's message not written", metadata: ["session": "\(id)", "error": "\(error)"])
        }
    }

    private static let shown: Set<String> = ["Standard_Stream", "InteractiveCommands"]

    // MARK: Legs

    package func expects(_ id: SessionID) -> Bool { live[id].map { !$0.machine.isOver } ?? false }

    /// Whether this node's leg may be upgraded.
    package func admit(_ node: NodeIdentity, to id: SessionID) -> Refusal? {
        guard let session = live[id], !session.machine.isOver, session.record.isOrdered else { return .over }
        guard session.record.facts.node == node.node, session.record.generation == node.generation else { return .foreign }
        return nil
    }

    package func openAgent(_ id: SessionID, _ node: NodeIdentity, _ opening: OpenDataChannel, _ leg: RelayLeg) async throws(Refusal) {
        if let refusal = admit(node, to: id) { throw refusal }
        guard let session = live[id] else { throw .over }
        replaced(session.relay.attach(leg, takesUnhashed: opening.takesUnhashed == true))
        session.relay.noted(.agentConnected(address: leg.remoteAddress))
        if let openedAt = session.openedAt {
            openTime.recordNanoseconds((clock() - openedAt).nanoseconds)
            live[id]?.openedAt = nil
        }
        await handle(id, .agentOpened)
    }

    /// The token first: who has none learns nothing of the session. Then, once, what has to be durable before the agent hears of it.
    package func openClient(_ id: SessionID, _ opening: OpenDataChannel, _ leg: RelayLeg) async throws(Refusal) {
        await begin(id)
        defer { finished(id) }
        guard let token = SessionToken(opening.tokenValue) else { throw .token(.wrong) }
        guard (1...128).contains(opening.clientID.utf8.count) else { throw .badOpening("ClientId is missing") }
        guard let session = live[id], !session.machine.isOver else { throw .token(.wrong) }
        var grant = session.record.grant
        do {
            try grant.open(token, of: id, clientID: opening.clientID, now: now())
        } catch {
            throw .token(error)
        }
        if !session.record.isOrdered {
            try await prepare(session, grant, SessionClient(opening), leg)
        } else if !session.record.grant.isUsed {
            // Who comes back with the same token has been written down.
            try await write(session, grant, SessionClient(opening), leg)
        }
        guard let session = live[id], !session.machine.isOver else { throw .over }
        replaced(session.relay.attach(leg, takesUnhashed: opening.takesUnhashed == true))
        session.relay.noted(.clientConnected(address: leg.remoteAddress))
        await handle(id, .clientOpened)
    }

    /// The first opening with a token, in the name of whom it was issued to: a session's owner need not be who resumes it.
    private func write(_ session: Live, _ grant: SessionGrant, _ client: SessionClient, _ leg: RelayLeg) async throws(Refusal) {
        let (id, facts, time) = (session.record.id, session.record.facts, now())
        let caller = Caller(
            accessKeyID: grant.holder?.accessKeyID ?? "", userName: grant.holder?.userName ?? facts.ownerName,
            arn: grant.holder?.arn ?? facts.ownerARN, sourceAddress: leg.remoteAddress,
            userAgent: "client \(client.clientVersion.prefix(64))")
        let isOrdered = session.record.isOrdered
        let event = AuditEvent(
            time: time, caller: caller, requestID: "", region: "", operation: "OpenDataChannel",
            resource: id.rawValue, outcome: .success)
        do {
            try await database.write { tx in
                try SessionStore.setGrant(grant, of: id, in: tx)
                if !isOrdered { try SessionStore.setClient(client, at: time, of: id, in: tx) }
                try AuditLog.append(event, in: tx)
            }
        } catch {
            logger.error("session not opened", metadata: ["session": "\(id)", "error": "\(error)"])
            throw .unavailable
        }
        live[id]?.record.grant = grant
    }

    private func prepare(_ session: Live, _ grant: SessionGrant, _ client: SessionClient, _ leg: RelayLeg) async throws(Refusal) {
        let id = session.record.id
        try await write(session, grant, client, leg)
        live[id]?.record.client = client
        live[id]?.record.isOrdered = true
        live[id]?.unopened?.giveBack()
        live[id]?.openedAt = clock()
        do {
            session.relay.record(with: try await taps.begin(session.record.facts))
        } catch {
            logger.error("recording not begun", metadata: ["session": "\(id)", "error": "\(error)"])
            await handle(
                id,
                .recordingFailed("The session cannot be recorded: \((error as? RecordingFailure)?.reason ?? "see the controller's log")"))
            throw .unavailable
        }
    }

    private func replaced(_ former: RelayLeg?) {
        former?.close(.policyViolation, reason: "replaced by a newer connection")
        former?.closed()
    }

    // MARK: News

    private func reported(_ id: SessionID, _ report: SessionRelay.Report) async {
        guard let session = live[id] else { return }
        switch report {
        case .lost(let side):
            // A newer leg may have come in the meantime.
            guard !session.relay.isHere(side) else { return }
            session.relay.noted(side == .client ? .clientLost : .agentLost)
            await handle(id, side == .client ? .clientLost : .agentLost)
        case .agentEnding(let code):
            live[id]?.exitCode = code ?? session.exitCode
            await handle(id, .agentEnding)
        case .agentCompleted(let frame):
            guard let complete = try? frame.decodePayload(AgentTaskComplete.self), complete.taskID == id else { return }
            await completed(complete, frame.messageID)
        case .recordingFailed(let reason):
            logger.error("session ends, because it cannot be recorded", metadata: ["session": "\(id)", "reason": "\(reason)"])
            await handle(id, .recordingFailed("The session could not be recorded any more: \(reason)"))
        }
    }

    /// From the control channel. False when the session is another node's.
    package func taskCompleted(_ node: NodeIdentity, _ complete: AgentTaskComplete, _ frame: AgentMessage) async -> Bool {
        guard let session = live[complete.taskID] else {
            // Over long ago: said again until it is heard.
            await acknowledge(frame.messageID, complete.taskID, node.node)
            return true
        }
        guard session.record.facts.node == node.node, session.record.generation == node.generation else { return false }
        session.relay.note(frame)
        await completed(complete, frame.messageID)
        return true
    }

    private func completed(_ complete: AgentTaskComplete, _ message: UUID) async {
        let id = complete.taskID
        guard let session = live[id] else { return }
        live[id]?.exitCode = complete.exitCode ?? session.exitCode
        if session.unconfirmed.count < 8 { live[id]?.unconfirmed.append(message) }
        let isFailure = complete.finalTaskStatus != AgentTaskComplete.Status.success
        await handle(id, .agentCompleted(isFailure: isFailure, output: String(complete.output.prefix(2_500))))
    }

    package func nodeConnected(_ node: NodeID) async {
        for id in sessions(of: node) { await handle(id, .nodeConnected) }
    }

    /// Deregistered, or in quarantine: nothing is accepted from it any more.
    package func nodeRefused(_ node: NodeID) async {
        for id in sessions(of: node) {
            await handle(id, .nodeDeregistered)
            live[id]?.relay.close(.agent, .policyViolation, reason: "the node is not registered")
        }
    }

    private func sessions(of node: NodeID) -> [SessionID] {
        live.values.filter { $0.record.facts.node == node }.map(\.record.id)
    }

    // MARK: Doing

    private func handle(_ id: SessionID, _ event: SessionMachine.Event) async {
        guard var session = live[id] else { return }
        let former = session.machine.status
        let actions = session.machine.handle(event, now: clock())
        live[id]?.machine = session.machine
        session = live[id] ?? session
        let status = session.machine.status
        if status != former, !status.isOver {
            unwritten[id] = status
            wake.yield()
        }
        for action in actions { await perform(action, session) }
    }

    private func perform(_ action: SessionMachine.Action, _ session: Live) async {
        let (id, relay) = (session.record.id, session.relay)
        do {
            switch action {
            case .order:
                try await order(session.record)
            case .pause(let side):
                relay.send(try AgentMessage(.pausePublication, createdDate: now(), payload: Publication(sessionID: id)), to: side)
            case .resume(let side):
                relay.send(try AgentMessage(.startPublication, createdDate: now(), payload: Publication(sessionID: id)), to: side)
            case .closeClient(let words):
                relay.send(try closed(session, words, to: "client"), to: .client)
                relay.close(.client, .normal, reason: "the session has ended")
            case .closeAgent:
                let frame = try closed(session, "", to: session.record.facts.node.description)
                relay.send(frame, to: .agent)
                await send(frame, to: session.record)
            case .finish(let end):
                workContinuation.yield(.finish(id, end))
            }
        } catch {
            logger.error("session's message not written", metadata: ["session": "\(id)", "error": "\(error)"])
        }
    }

    private func closed(_ session: Live, _ words: String, to destination: String) throws -> AgentMessage {
        let message = UUID()
        return try AgentMessage(
            .channelClosed, createdDate: now(), messageID: message,
            payload: ChannelClosed(
                messageID: message.uuidString.lowercased(), destinationID: destination, sessionID: session.record.id, createdDate: now(),
                output: words, exitCode: live[session.record.id]?.exitCode ?? session.exitCode))
    }

    private func order(_ record: SessionRecord) async throws {
        let content = StartSessionContent(
            documentName: record.facts.document,
            documentContent: try JSONCoding.decode(JSONValue.self, from: Array(record.order.document.utf8)), sessionID: record.id,
            parameters: record.order.parameters, runAsUser: record.order.runAsUser, sessionOwner: record.facts.ownerARN,
            client: record.client)
        await send(try AgentMessage(.interactiveShell, createdDate: now(), payload: try StartSessionTask(content)), to: record)
    }

    /// Only to the identity that the session was started for. What does not arrive is sent again when the node connects, or times out.
    private func send(_ message: AgentMessage, to record: SessionRecord) async {
        let node = record.facts.node
        guard await registry.generation(of: node) == record.generation else { return }
        _ = await registry.send(message, to: node)
    }

    private func acknowledge(_ message: UUID, _ id: SessionID, _ node: NodeID, over relay: SessionRelay? = nil) async {
        do {
            let frame = try AgentMessage(
                .agentTaskAcknowledge, createdDate: now(),
                payload: AgentTaskAcknowledge(messageID: message.uuidString.lowercased(), taskID: id.rawValue))
            relay?.send(frame, to: .agent)
            _ = await registry.send(frame, to: node)
        } catch {
            logger.error("acknowledgement not written", metadata: ["session": "\(id)", "error": "\(error)"])
        }
    }

    // MARK: Ends

    /// The recording first, then the row: a session that is over has its recording whole.
    private func finish(_ id: SessionID, _ end: SessionMachine.End) async {
        guard let session = live[id] else { return }
        session.relay.stop()
        await session.relay.tap?.ended(end.reason)
        var details = ["status": end.status.rawValue, "node": session.record.facts.node.description]
        if !end.reason.isEmpty { details["reason"] = end.reason }
        if let code = live[id]?.exitCode { details["exitCode"] = String(code) }
        let record = details
        var pause = Duration.milliseconds(100)
        while true {
            // Not written, so not said: the node tells the next run of the controller again.
            if Task.isCancelled { return }
            do {
                let time = now()
                try await database.write { tx in
                    try SessionStore.end(id, end.status, details: end.reason, at: time, in: tx)
                    try AuditLog.append(
                        AuditEvent(time: time, controllerDid: "EndSession", resource: id.rawValue, details: record), in: tx)
                }
                break
            } catch {
                logger.error("end of a session not written; trying again", metadata: ["session": "\(id)", "error": "\(error)"])
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, .seconds(10))
            }
        }
        for message in live[id]?.unconfirmed ?? [] {
            await acknowledge(message, id, session.record.facts.node, over: session.relay)
        }
        session.relay.close(.agent, .normal, reason: "the session has ended")
        session.relay.close(.client, .normal, reason: "the session has ended")
        live.removeValue(forKey: id)
        unwritten.removeValue(forKey: id)
        active.record(live.count)
        Counter(label: "muster_sessions_total", dimensions: [("status", end.status.rawValue)]).increment()
        logger.info(
            "session ended",
            metadata: ["session": "\(id)", "node": "\(session.record.facts.node)", "status": "\(end.status)", "reason": "\(end.reason)"])
    }

    private func writeStatus() async {
        for await _ in wakes {
            let (batch, time) = (unwritten, now())
            guard !batch.isEmpty else { continue }
            do {
                try await database.write { tx in
                    for (id, status) in batch { try SessionStore.setStatus(status, at: time, of: id, in: tx) }
                }
                for (id, status) in batch where unwritten[id] == status { unwritten.removeValue(forKey: id) }
            } catch {
                logger.error("states of sessions not written", metadata: ["sessions": "\(batch.count)", "error": "\(error)"])
            }
        }
    }

    // MARK: One at a time

    /// Openings and changes of one session wait for each other; the plugin opens several times at once when it is impatient.
    private func begin(_ id: SessionID) async {
        if busy.insert(id).inserted { return }
        await withCheckedContinuation { waiting[id, default: []].append($0) }
    }

    private func finished(_ id: SessionID) {
        guard var next = waiting[id], !next.isEmpty else {
            busy.remove(id)
            return
        }
        let first = next.removeFirst()
        waiting[id] = next.isEmpty ? nil : next
        first.resume()
    }
}

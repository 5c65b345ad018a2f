import MusterCrypto
import MusterDocuments
import MusterWire

/// StartSession, ResumeSession, TerminateSession, DescribeSessions.
package struct SessionOperations: Sendable {
    private static let shell = BuiltInSessionDocument.preferences

    private let database: any SQLDatabase
    private let registry: AgentRegistry
    private let broker: SessionBroker
    private let paging: Paging

    package init(database: any SQLDatabase, registry: AgentRegistry, broker: SessionBroker, pageTokenKey: [UInt8]) {
        self.database = database
        self.registry = registry
        self.broker = broker
        self.paging = Paging(key: pageTokenKey)
    }

    package func register(in table: inout OperationTable) {
        table.register(StartSession.self, permission: "ssm:StartSession", route: .operators, access: .inside, changes: true, start)
        table.register(ResumeSession.self, permission: "ssm:ResumeSession", route: .operators, access: .inside, changes: true, resume)
        table.register(
            TerminateSession.self, permission: "ssm:TerminateSession", route: .operators, access: .inside, changes: true, terminate)
        table.register(
            DescribeSessions.self, permission: "ssm:DescribeSessions", route: .operators, access: .anything, changes: false, describe)
    }

    // MARK: Start

    /// What a repeat of the call is answered from. Not the token: the store never has one.
    private struct Started: Codable, Sendable {
        let sessionID: SessionID
    }

    /// Document, parameters and node are checked before anything is stored. Row, audit event and the answer for a repeat are one
    /// transaction; the agent hears of the session when its client is there.
    @Sendable func start(_ input: StartSession.Input, _ context: OperationContext) async throws -> StartSession.Output {
        let target = try input.target.required("target")
        let url = try StreamURL(host: context.host)
        guard let id = NodeID(target), let generation = await registry.sessionGeneration(of: id) else {
            try await database.read { tx in try Self.checkMayKnow(target, input, context, in: tx) }
            throw APIError.targetNotConnected(target)
        }
        let room = try await broker.room(for: context.caller.userName)
        let token = SessionToken.make()
        let (started, record, isRepeat) = try await database.write { tx in
            var record: SessionRecord?
            let (started, isRepeat) = try IdempotencyStore.once(context.retry, now: context.now, in: tx) {
                guard case .success(let node) = try NodeAdmission.admit(NodeIdentity(node: id, generation: generation), in: tx) else {
                    try Self.checkMayKnow(target, input, context, in: tx)
                    throw APIError.targetNotConnected(target)
                }
                let accepted = try Self.accept(input, node, token, context, in: tx)
                record = accepted
                return Started(sessionID: accepted.id)
            }
            if isRepeat {
                // A new token is a new chance: it takes what the first one took.
                let access = try SessionStore.access(of: started.sessionID, in: tx)
                try context.access.authorizeAgain(access, or: [.session(started.sessionID.rawValue, context)], in: tx)
            }
            return (started, record, isRepeat)
        }
        if let record, !isRepeat {
            await broker.accepted(record, room: room)
            return StartSession.Output(sessionID: record.id, tokenValue: token.text, streamURL: url.text(for: record.id))
        }
        // The first answer was lost, or overtaken: its token is replaced, and the caller uses the one it gets.
        let event = context.audit(StartSession.name, resource: started.sessionID.rawValue, details: ["repeated": "true"])
        let replacement = try await broker.issue(started.sessionID, audit: event)
        return StartSession.Output(
            sessionID: started.sessionID, tokenValue: replacement?.text ?? "", streamURL: url.text(for: started.sessionID))
    }

    /// Whether a node is there, is connected, and has this tag or that, is for those who may open a session on it: to anybody else it is denied,
    /// as with any node.
    private static func checkMayKnow(
        _ target: String, _ input: StartSession.Input, _ context: OperationContext, in tx: any SQLTransaction
    ) throws {
        let order = try SessionOrder(document: input.documentName ?? shell, parameters: input.parameters ?? [:], in: tx)
        guard let node = NodeID(target) else {
            _ = try context.access.requirements([.document(order.name, context), .anything], action: "ssm:StartSession", in: tx)
            return
        }
        let user = (try? order.runAsUser(on: node, for: context.caller.principal, in: tx)) ?? ""
        _ = try context.access.requirements(
            SessionAccess.targets(order, on: node, runAs: user, reason: input.reason, context), action: "ssm:StartSession", in: tx)
    }

    private static func accept(
        _ input: StartSession.Input, _ node: Node, _ token: SessionToken, _ context: OperationContext, in tx: any SQLTransaction
    ) throws -> SessionRecord {
        let order = try SessionOrder(document: input.documentName ?? shell, parameters: input.parameters ?? [:], in: tx)
        let user: String
        do {
            user = try order.runAsUser(on: node.id, for: context.caller.principal, in: tx)
        } catch {
            try checkMayKnow(node.id.description, input, context, in: tx)
            throw error
        }
        let permit = try context.access.authorize(
            SessionAccess.targets(order, on: node.id, runAs: user, reason: input.reason, context),
            for: SessionAccess.subject(order, on: [node.id], parameters: input.parameters ?? [:], context),
            reason: input.reason ?? "", in: tx)
        let id = SessionID.random(owner: context.caller.userName)
        let facts = SessionFacts(
            id: id, node: node.id, ownerARN: context.caller.arn, ownerName: context.caller.userName, document: order.name,
            sessionType: order.sessionType, reason: input.reason ?? "", started: context.now, inputRecorded: order.inputRecorded,
            recordingRequired: order.recordingRequired, properties: order.properties, isPiped: order.isPiped,
            runAsUser: user.isEmpty ? nil : user)
        var grant = SessionGrant(digest: [], expiresAt: context.now, clientID: nil)
        grant.issue(token, to: context.caller, for: id, now: context.now)
        let record = SessionRecord(
            facts: facts, generation: node.generation,
            order: .init(document: order.content, parameters: order.parameters, runAsUser: user),
            idleMinutes: order.idleMinutes, maximumMinutes: order.maximumMinutes, grant: grant, client: nil, isOrdered: false,
            status: .connecting, details: "", endedAt: nil)
        try SessionStore.insert(record, by: permit, in: tx)
        var details = ["target": node.id.description, "documentName": order.name, "sessionType": order.sessionType]
        if let reason = input.reason { details["reason"] = reason }
        if !user.isEmpty { details["runAsUser"] = user }
        details["accessRequestId"] = permit.access.approval
        try AuditLog.append(context.audit(StartSession.name, resource: id.rawValue, details: details), in: tx)
        return record
    }

    // MARK: Resume, terminate

    @Sendable func resume(_ input: ResumeSession.Input, _ context: OperationContext) async throws -> StartSession.Output {
        let text = try input.sessionID.required("sessionId")
        let url = try StreamURL(host: context.host)
        let id = try await authorized(text, context)
        guard let id,
            let token = try await broker.issue(id, audit: context.audit(ResumeSession.name, resource: id.rawValue))
        else { throw APIError.doesNotExist("Session \(text.prefix(96)) does not exist or has ended.") }
        return StartSession.Output(sessionID: id, tokenValue: token.text, streamURL: url.text(for: id))
    }

    @Sendable func terminate(_ input: TerminateSession.Input, _ context: OperationContext) async throws -> TerminateSession.Output {
        let text = try input.sessionID.required("sessionId")
        if let id = try await authorized(text, context) {
            let words = "The session was terminated by \(context.caller.userName)."
            _ = try await broker.terminate(id, words: words, audit: context.audit(TerminateSession.name, resource: id.rawValue))
        }
        return TerminateSession.Output(sessionID: text)
    }

    /// The session, once the caller may touch it: one that does not exist is asked for like any other.
    private func authorized(_ text: String, _ context: OperationContext) async throws -> SessionID? {
        try await database.read { tx in
            guard let id = SessionID(text) else {
                try context.access.authorize([.session(String(text.prefix(96)), context)], in: tx)
                return nil
            }
            let facts = try SessionStore.session(id, in: tx)?.facts
            try context.access.authorize([SessionAccess.target(id, facts, context)], in: tx)
            return id
        }
    }

    // MARK: Describe

    @Sendable func describe(_ input: DescribeSessions.Input, _ context: OperationContext) async throws -> DescribeSessions.Output {
        let filters = input.filters ?? []
        let state = try input.state.required("state")
        var selection = SessionStore.Selection(isOver: state == "History")
        try SessionFilters.apply(filters, to: &selection)
        let selected = selection
        let binding = [[state]] + filters.map { [$0.key ?? "", $0.value ?? ""] }
        let limit = input.maxResults ?? 200
        let token = try paging.position(input.nextToken, operation: DescribeSessions.name, filters: binding)
        let position = SessionStore.Position(token)
        guard token.isEmpty || position != nil else { throw APIError.invalidNextToken() }
        let found = try await database.read { tx in
            try SessionStore.sessions(selected, after: position, limit: limit + 1, in: tx)
        }
        let page = found.prefix(limit)
        let next = found.count > limit ? page.last : nil
        return DescribeSessions.Output(
            sessions: page.map(\.shape),
            nextToken: try paging.token(
                after: next.map {
                    SessionStore.Position(startedAt: $0.facts.started.milliseconds, session: $0.id.rawValue).text
                }, operation: DescribeSessions.name, filters: binding))
    }
}

/// Where a client opens its leg: the host and port by which it has just reached this controller.
private struct StreamURL {
    let host: String

    init(host: String) throws(APIError) {
        guard !host.isEmpty, host.utf8.count <= 300,
            host.utf8.allSatisfy({ byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: ".-:[]".utf8.contains(byte)
                }
            })
        else { throw .validation("The Host header of the request names no host that a data channel could be opened at.") }
        self.host = host
    }

    func text(for session: SessionID) -> String {
        "wss://\(host)\(DataChannelEntry.path)\(session)?role=publish_subscribe"
    }
}

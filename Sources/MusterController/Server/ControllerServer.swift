internal import FoundationEssentials
internal import HTTPTypes
internal import HummingbirdCore
package import Logging
package import MusterCrypto
internal import MusterTLS
package import MusterWire
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import NIOPosix
internal import ServiceLifecycle

/// Everything that listens: operators' calls, nodes' calls, control channels, health. [service]
///
///     POST /                            X-Amz-Target: AmazonSSM.<Operation>, EC2WindowsMessageDeliveryService.<Operation>, or a form
///                                       with the Version of STS or IAM and an Action
///     GET  /v1/control-channel/<node>   upgrade to a node's control channel
///     GET  /v1/data-channel/<session>   upgrade to one leg of a session: the node's under its certificate, a client's without one
///     GET  /healthz /readyz /metrics
///
/// Nothing else exists here, and nothing here sets anything up: the first key is made by `muster-controller init`, locally.
package final class ControllerServer: Service {
    package enum Side: String, Sendable, Hashable, CaseIterable {
        case agents
        case operators
    }

    package struct Listener: Sendable {
        let address: String
        let port: Int
        let sides: Set<Side>
        let certificate: ServerCertificate
        /// Without them agents poll here.
        let allowsWebSockets: Bool

        package init(address: String, port: Int, sides: Set<Side>, certificate: ServerCertificate, allowsWebSockets: Bool = true) {
            self.address = address
            self.port = port
            self.sides = sides
            self.certificate = certificate
            self.allowsWebSockets = allowsWebSockets
        }
    }

    package struct Limits: Sendable {
        package var bodyBytes = 1 << 20
        package var requestsPerSecond = 100
        package var requestBurst = 200
        package var handshakeSeconds = 10
        package var requestSeconds = 30
        package var idleSeconds = 65
        /// A control channel that has been silent for so long is a dead link. Agents and controller ping every 20 s.
        package var channelIdleSeconds = 60
        package var connections = ConnectionPlaces.Limits()
        /// Data channels whose client has not shown a token yet.
        package var unprovenPerSource = 128
        package var unproven = 1_024
        /// Those of one session that waits for its client, beside them.
        package var unprovenPerSession = 4

        package init() {}
    }

    private static let channelPath = "/v1/control-channel/"

    private let listeners: [Listener]
    private let limits: Limits
    private let table: OperationTable
    private let routes: RouteTable
    private let policies: AccessCheck.Policies
    private let authentication: Authentication
    private let database: any SQLDatabase
    private let account: String
    private let region: String
    private let metrics: Metrics
    private let metricsFrom: [AddressRange]
    private let serveNode: @Sendable (WebSocketPeer, NodeIdentity, Certificate?) -> any MessageReceiver
    private let openings: ChannelOpenings
    private let channels = ControlChannels()
    private let dataChannels: DataChannelEntry?
    private let listening: @Sendable ([String]) async throws -> Void
    private let now: @Sendable () -> Timestamp
    private let logger: Logger

    private let callers: NIOLockedValueBox<RequestLimits>
    private let strangers: NIOLockedValueBox<RequestLimits>
    private let places: ConnectionPlaces
    private let unproven: Quota<String>
    /// Whoever knows a session's id is no stranger from anywhere: nobody else's upgrades keep a client from its session.
    private let expected: Quota<String>
    private let bodies: BodyBudget
    private let denials = NIOLockedValueBox(DenialLedger())
    /// Those of operators: whoever may do nothing can still ask for everything a hundred times a second. A user has more kinds than a stranger,
    /// as many as there are operations and more.
    private let operatorDenials = NIOLockedValueBox(DenialLedger(capacity: 8_192, capacityOfSource: 512))
    /// Sources of client certificates that are not to be believed, on their way to the audit trail.
    private let impostors = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(1_000))
    private let readiness: Readiness
    private let isReady = NIOLockedValueBox(false)
    /// Bytes come in many small requests, one after the other; the API's limits would slow them to a walk.
    private let pieces = NIOLockedValueBox(RequestLimits(perSecond: 2_000, burst: 4_000))

    /// - Parameters:
    ///   - region: where everything is, whatever callers sign for.
    ///   - policies: what callers may do.
    ///   - openings: how often a node may open one.
    ///   - metricsFrom: who may read `/metrics`, where nobody signs.
    ///   - serveNode: what serves a node's new control channel.
    ///   - listening: told the bound addresses, `address:port`, when every listener accepts connections.
    package init(
        listeners: [Listener], limits: Limits = Limits(), table: OperationTable, routes: RouteTable = RouteTable(),
        policies: AccessCheck.Policies, authentication: Authentication, database: any SQLDatabase,
        account: String, region: String, metrics: Metrics, openings: ChannelOpenings = ChannelOpenings(),
        metricsFrom: [AddressRange],
        serveNode: @escaping @Sendable (WebSocketPeer, NodeIdentity, Certificate?) -> any MessageReceiver,
        dataChannels: DataChannelEntry? = nil,
        listening: @escaping @Sendable ([String]) async throws -> Void,
        now: @escaping @Sendable () -> Timestamp = { .now() }, logger: Logger
    ) {
        self.listeners = listeners
        self.limits = limits
        self.table = table
        self.routes = routes
        self.policies = policies
        self.authentication = authentication
        self.database = database
        self.account = account
        self.region = region
        self.metrics = metrics
        self.openings = openings
        self.metricsFrom = metricsFrom
        self.serveNode = serveNode
        self.dataChannels = dataChannels
        self.listening = listening
        self.now = now
        self.logger = logger
        callers = NIOLockedValueBox(RequestLimits(perSecond: limits.requestsPerSecond, burst: limits.requestBurst))
        strangers = NIOLockedValueBox(RequestLimits(perSecond: limits.requestsPerSecond, burst: limits.requestBurst))
        places = ConnectionPlaces(limits.connections)
        readiness = Readiness(database: database, logger: logger)
        unproven = Quota(total: limits.unproven, perSource: limits.unprovenPerSource, graceMilliseconds: 1_000)
        expected = Quota(total: limits.connections.strangers, perSource: limits.unprovenPerSession)
        bodies = BodyBudget(largest: limits.bodyBytes)
    }

    package func run() async throws {
        let (bound, continuation) = AsyncStream.makeStream(of: (Int, String).self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await self.channels.run() }
            group.addTask { try await self.serveAll { index, address in continuation.yield((index, address)) } }
            group.addTask { try await self.announce(bound) }
            group.addTask { await self.writeDenials() }
            group.addTask { await self.writeImpostors() }
            try await group.waitForAllOrAFailure()
        }
        isReady.withLockedValue { $0 = false }
        await flushDenials(all: true)
    }

    private func serveAll(bound: @escaping @Sendable (Int, String) -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, listener) in listeners.enumerated() {
                let server = server(for: listener) { address in bound(index, address) }
                group.addTask { try await self.serve(listener, server) }
            }
            try await group.waitForAllOrAFailure()
        }
        channels.stop()
    }

    private func serve(_ listener: Listener, _ server: any Service) async throws {
        do {
            try await server.run()
        } catch let error as CancellationError {
            throw error
        } catch {
            throw ControllerError.cannotListen(address: "\(listener.address):\(listener.port)", reason: PlainWords.of(error))
        }
        if !Task.isShuttingDownGracefully, !Task.isCancelled {
            throw ControllerError.cannotListen(address: "\(listener.address):\(listener.port)", reason: "the listener has ended")
        }
    }

    private func server(for listener: Listener, bound: @escaping @Sendable (String) -> Void) -> any Service {
        let channelLimits = UpgradeChannel.Limits(
            handshake: .seconds(Int64(limits.handshakeSeconds)), request: .seconds(Int64(limits.requestSeconds)),
            idle: .seconds(limits.idleSeconds), webSocketIdle: .seconds(Int64(limits.channelIdleSeconds)))
        let channel = UpgradeChannel(
            tls: { listener.certificate.context }, limits: channelLimits, places: places, metrics: metrics,
            respond: { request, writer, connection in
                try await self.respond(to: request, writer, connection, listener)
            },
            admit: { path, connection, eventLoop in
                eventLoop.makeFutureWithTask { try await self.admit(path, connection, listener) }
            },
            channels: channels, sessionLoops: SessionLoops(MultiThreadedEventLoopGroup.singleton),
            serveNode: { peer, identity, certificate in
                self.metrics.count("muster_control_channels_total")
                return self.serveNode(peer, identity, certificate)
            },
            openDataChannel: { dataChannel in await self.open(dataChannel) },
            handshakeFailed: { source, error in
                self.metrics.count("muster_tls_handshake_failures_total")
                self.logger.debug("TLS handshake failed", metadata: ["remote": "\(source)", "error": "\(PlainWords.of(error))"])
                if error.code == .verification { self.impostors.continuation.yield(source) }
            })
        var quiet = logger
        quiet.logLevel = max(.warning, logger.logLevel)
        return channel.server(
            configuration: .init(address: .hostname(listener.address, port: listener.port), backlog: 1024),
            onServerRunning: { channel in
                let address = channel.localAddress
                bound(Self.text(address?.ipAddress ?? listener.address, address?.port ?? listener.port))
            },
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: quiet)
    }

    private static func text(_ address: String, _ port: Int) -> String {
        address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
    }

    private func announce(_ bound: AsyncStream<(Int, String)>) async throws {
        try await cancelWhenGracefulShutdown {
            var addresses: [Int: String] = [:]
            for await (index, address) in bound {
                addresses[index] = address
                guard addresses.count == self.listeners.count else { continue }
                let all = addresses.sorted { $0.key < $1.key }.map(\.value)
                try await self.listening(all)
                self.isReady.withLockedValue { $0 = true }
                self.logger.info("controller listening", metadata: ["addresses": "\(all.joined(separator: " "))"])
                return
            }
        }
    }

    // MARK: Answers

    private func respond(
        to request: Request, _ writer: consuming ResponseWriter, _ connection: UpgradeChannel.Connection, _ listener: Listener
    ) async throws {
        let time = now()
        let requestID = UUID().uuidString.lowercased()
        let started = ContinuousClock.now
        var answer = try await answer(to: request, requestID: requestID, at: time, connection, listener)
        if request.head.headerFields[.connection]?.lowercased() == "close" || Task.isShuttingDownGracefully { answer.closes = true }
        let series = answer.isHeld ? "muster_held_request_duration_seconds" : "muster_request_duration_seconds"
        metrics.observe(series, seconds: Self.seconds(since: started))
        metrics.count("muster_responses_total", [("status", String(answer.status.code))])
        let body = request.method == .head ? ResponseBody() : ResponseBody(byteBuffer: ByteBuffer(bytes: answer.body))
        try await writer.write(response: answer.head(requestID: requestID, now: time), body: body)
    }

    /// Throws only when the connection has failed.
    private func answer(
        to request: Request, requestID: String, at time: Timestamp, _ connection: UpgradeChannel.Connection, _ listener: Listener
    ) async throws -> Answer {
        let path =
            (request.head.path ?? "").split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).first.map(String.init) ?? ""
        switch (request.method, path) {
        case (.post, "/"):
            return try await call(request, requestID: requestID, at: time, connection, listener)
        case (.get, "/healthz"):
            return .text(.ok, "ok\n")
        case (.get, "/readyz"):
            return await answerReadiness()
        case (.get, "/metrics") where listener.sides.contains(.operators):
            guard let source = AddressRange(connection.remoteAddress), metricsFrom.contains(where: { $0.contains(source) }) else {
                return .text(.forbidden, "Metrics are not for this address: the controller's 'metricsFrom' does not name it.\n")
            }
            gauge()
            return Answer(status: .ok, contentType: "text/plain; version=0.0.4; charset=utf-8", body: Array(metrics.render().utf8))
        case (.get, _) where path.hasPrefix(Self.channelPath) && listener.sides.contains(.agents):
            guard listener.allowsWebSockets else { return .text(.forbidden, "This address takes no WebSockets. Poll instead.\n") }
            return await refuseChannel(path, requestID: requestID, at: time, connection)
        case (.get, _) where path.hasPrefix(DataChannelEntry.path) && dataChannels != nil:
            return await refuseDataChannel(request.head.path ?? "", requestID: requestID, at: time, connection, listener)
        default:
            guard let entry = routes.entry(request.method, path) else { return .text(.notFound, "There is nothing here.\n") }
            return try await serve(entry, request, requestID: requestID, at: time, connection, listener)
        }
    }

    private func answerReadiness() async -> Answer {
        guard isReady.withLockedValue({ $0 }), !Task.isShuttingDownGracefully else {
            return .text(.serviceUnavailable, "starting or stopping\n")
        }
        guard let reason = await readiness.refusal(now()) else { return .text(.ok, "ready\n") }
        return .text(.serviceUnavailable, reason + "\n")
    }

    private func call(
        _ request: Request, requestID: String, at time: Timestamp, _ connection: UpgradeChannel.Connection, _ listener: Listener
    ) async throws -> Answer {
        var format = CallFormat.json
        var name = "unknown"
        var caller = Caller.anonymous(sourceAddress: connection.remoteAddress, userAgent: request.head.headerFields[.userAgent] ?? "")
        var requestedRegion: String?
        do {
            let (body, room) = try await collect(request, limit: limits.bodyBytes, connection)
            format = CallFormat(request.head.headerFields, body: body)
            let called = try format.operation(request.head.headerFields, body: body)
            guard let entry = table.entry(called.name, of: called.target) else { throw Self.unknown(called.name) }
            name = entry.name
            let evidence = Authentication.Evidence(request.head, body: body, connection: connection)
            let context: OperationContext
            do {
                context = try await authenticate(
                    entry.name, entry.permission, entry.route, service: called.target.service, evidence, requestID: requestID, at: time,
                    listener)
                (caller, requestedRegion) = (context.caller, context.requestedRegion)
                known(caller, connection)
            } catch let error as APIError {
                throw await refused(error, entry.name, source: connection.remoteAddress, at: time)
            }
            room.giveBack()
            if entry.changes, entry.route == .operators { try await refuseReplay(evidence, entry.name, caller, at: time) }
            let output = try await entry.run(body, context)
            var answer = format.success(output, operation: name, requestID: requestID)
            answer.isHeld = entry.isHeld
            count(name, "success")
            return answer
        } catch is NIOTooManyBytesError {
            count(name, "RequestEntityTooLarge")
            var answer = format.failure(.requestTooLarge(limit: limits.bodyBytes), requestID: requestID)
            answer.closes = true
            return answer
        } catch let refusal as UnprovenRefusal {
            count(name, refusal.error.code)
            await deny(DenialLedger.Kind(source: connection.remoteAddress, operation: name, reason: refusal.error.code), at: time)
            return format.failure(refusal.error, requestID: requestID)
        } catch let denial as AccessDenial {
            let denial = await denied(denial, name, caller, requestID: requestID, requestedRegion, at: time)
            count(name, denial.apiError.code)
            return format.failure(denial.apiError, requestID: requestID)
        } catch let error as APIError {
            count(name, error.code)
            if error.code == "AccessDeniedException", caller.arn != "anonymous" {
                await writeDenial(error, name, caller, requestID: requestID, requestedRegion, at: time)
            }
            return format.failure(error, requestID: requestID)
        } catch SQLError.tooManyWaiting {
            count(name, "ThrottlingException")
            return format.failure(.throttling, requestID: requestID)
        } catch let error as CancellationError {
            throw error
        } catch let error as UnreadableBody {
            count(name, "UnreadableBody")
            return unreadable(error, connection)
        } catch {
            logger.error(
                "operation failed",
                metadata: [
                    "operation": "\(name)", "request": "\(requestID)", "caller": "\(caller.arn)", "error": "\(PlainWords.of(error))",
                ])
            count(name, "InternalServerError")
            return format.failure(.internalServerError, requestID: requestID)
        }
    }

    /// A route beside the API, see `RouteTable`.
    private func serve(
        _ entry: RouteTable.Entry, _ request: Request, requestID: String, at time: Timestamp, _ connection: UpgradeChannel.Connection,
        _ listener: Listener
    ) async throws -> Answer {
        var caller = Caller.anonymous(sourceAddress: connection.remoteAddress, userAgent: request.head.headerFields[.userAgent] ?? "")
        var requestedRegion: String?
        // Nobody without a certificate waits in a node's slot.
        let certificate = entry.route == .nodes ? connection.peer?.leaf : nil
        let isNobody = entry.route == .nodes && certificate == nil
        let source = certificate.map { Hex.encode($0.fingerprint) } ?? AddressRange.stranger(connection.remoteAddress)
        // Given back when this function is left, however it is.
        var slot: Quota<String>.Share?
        defer { slot?.giveBack() }
        func takeSlot() throws {
            slot = entry.slots.take(for: source)
            if slot == nil { throw APIError(code: "ThrottlingException", message: "Too many at once; come again.", status: 503) }
        }
        do {
            // Before the body is read: what is refused waits in the client, not here. One that has none waits for its end in no slot.
            if entry.bodyBytes > 0, !isNobody { try takeSlot() }
            let (body, room) = isNobody ? ([], nil) : try await collect(request, limit: entry.bodyBytes, connection)
            defer { room?.giveBack() }
            if entry.bodyBytes == 0, !isNobody { try takeSlot() }
            let evidence = Authentication.Evidence(request.head, body: body, connection: connection)
            let context: OperationContext
            do {
                context = try await authenticate(
                    entry.name, entry.permission, entry.route, evidence, requestID: requestID, at: time, listener, pieces: pieces)
                (caller, requestedRegion) = (context.caller, context.requestedRegion)
                known(caller, connection)
            } catch let error as APIError {
                let refusal = await refused(error, entry.name, source: connection.remoteAddress, at: time)
                throw APIError(code: refusal.code, message: refusal.message, status: refusal.code == APIError.throttling.code ? 429 : 403)
            }
            if entry.changes, entry.route == .operators { try await refuseReplay(evidence, entry.name, caller, at: time) }
            let call = RouteCall(path: evidence.path, prefix: entry.prefix, query: evidence.query, body: body)
            let answer = try await entry.run(call, context)
            count(entry.name, "success")
            return Answer(status: answer.status, contentType: answer.contentType, body: answer.body, isHeld: entry.isHeld)
        } catch is NIOTooManyBytesError {
            count(entry.name, "RequestEntityTooLarge")
            var answer = Answer.failure(.requestTooLarge(limit: entry.bodyBytes))
            answer.closes = true
            return answer
        } catch let denial as AccessDenial {
            let denial = await denied(denial, entry.name, caller, requestID: requestID, requestedRegion, at: time)
            count(entry.name, denial.apiError.code)
            return .failure(denial.apiError)
        } catch let error as APIError {
            count(entry.name, error.code)
            if error.code == "AccessDeniedException", caller.arn != "anonymous" {
                await writeDenial(error, entry.name, caller, requestID: requestID, requestedRegion, at: time)
            }
            return .failure(error)
        } catch SQLError.tooManyWaiting {
            count(entry.name, "ThrottlingException")
            return .failure(APIError(code: "ThrottlingException", message: "Rate exceeded", status: 503))
        } catch let error as CancellationError {
            throw error
        } catch let error as UnreadableBody {
            count(entry.name, "UnreadableBody")
            return unreadable(error, connection)
        } catch {
            logger.error(
                "route failed",
                metadata: [
                    "route": "\(entry.name)", "request": "\(requestID)", "caller": "\(caller.arn)", "error": "\(PlainWords.of(error))",
                ])
            count(entry.name, "InternalServerError")
            return .failure(.internalServerError)
        }
    }

    /// The share is that of the body: given back when its sender is known, or when the body is gone.
    private func collect(
        _ request: Request, limit: Int, _ connection: UpgradeChannel.Connection
    ) async throws -> ([UInt8], Quota<String>.Share) {
        // A declared length is believed when it is too large; the bytes are then thrown away as they come.
        if let length = request.head.headerFields[.contentLength].flatMap(Int.init), length > limit {
            throw NIOTooManyBytesError(maxBytes: limit)
        }
        let room = try bodies.room(for: connection)
        var body: [UInt8] = []
        do {
            for try await piece in request.body {
                guard body.count + piece.readableBytes <= limit else { throw NIOTooManyBytesError(maxBytes: limit) }
                guard room.grow(by: piece.readableBytes) else { throw APIError.busy }
                body.append(contentsOf: piece.readableBytesView)
            }
        } catch let error as NIOTooManyBytesError {
            throw error
        } catch let error as APIError {
            throw error
        } catch let error as CancellationError {
            throw error
        } catch {
            throw UnreadableBody(reason: PlainWords.of(error))
        }
        return (body, room)
    }

    /// The client left in the middle of its body, or wrote one that is none. It is the client's doing and no fault of ours.
    private struct UnreadableBody: Error {
        let reason: String
    }

    private func unreadable(_ error: UnreadableBody, _ connection: UpgradeChannel.Connection) -> Answer {
        logger.debug("request's body not read", metadata: ["remote": "\(connection.remoteAddress)", "reason": "\(error.reason)"])
        var answer = Answer.text(.badRequest, "The body of the request could not be read to its end.\n")
        answer.closes = true
        return answer
    }

    /// From now on the connection competes with its user's others, and no longer with strangers.
    private func known(_ caller: Caller, _ connection: UpgradeChannel.Connection) {
        guard let user = caller.principal?.user, connection.user.withLockedValue({ $0 }) != user else { return }
        guard connection.place.move(to: places.callers, as: user) else { return }
        connection.user.withLockedValue { $0 = user }
    }

    private func gauge() {
        for (kind, quota) in [("strangers", places.strangers), ("callers", places.callers), ("nodes", places.nodes)] {
            metrics.set("muster_connections_open", [("kind", kind)], to: Double(quota.taken))
        }
        metrics.set("muster_data_channels_unopened", to: Double(unproven.taken + expected.taken))
        metrics.set("muster_bodies_bytes", to: Double(bodies.taken))
    }

    private static func unknown(_ name: String) -> APIError {
        // SSM grows: a name that is newer than the catalog is said as well, if it can be one at all.
        guard let first = name.utf8.first, (65...90).contains(first), name.utf8.count <= 64,
            name.utf8.allSatisfy({ (65...90).contains($0) || (97...122).contains($0) })
        else {
            return .unknownOperation
        }
        let refusal =
            OperationCatalog.all.contains(name)
            ? "\(name) is an operation of Systems Manager that Muster does not serve yet." : "Muster does not serve \(name)."
        return APIError(code: APIError.unknownOperation.code, message: "\(refusal) docs/compatibility.md lists those it does.")
    }

    // MARK: Who may

    private func authenticate(
        _ name: String, _ permission: Permission, _ route: OperationRoute, service: String = "ssm", _ evidence: Authentication.Evidence,
        requestID: String, at time: Timestamp, _ listener: Listener, pieces: NIOLockedValueBox<RequestLimits>? = nil
    ) async throws -> OperationContext {
        let side: Side = route == .operators ? .operators : .agents
        guard listener.sides.contains(side) else {
            throw APIError(code: APIError.unknownOperation.code, message: "This address does not serve \(side.rawValue).")
        }
        let caller: Caller
        var requestedRegion = region
        var node: NodeIdentity?
        switch route {
        case .operators:
            (caller, requestedRegion) = try await authentication.operatorCaller(evidence, service: service, now: time)
            // Keys and temporary credentials are as many as one likes; all go back to one user.
            try admit(caller.principal?.user ?? caller.accessKeyID, to: pieces ?? callers)
        case .nodes:
            try refuseOperatorKey(evidence)
            let identity = try await authentication.node(evidence.certificate, now: time)
            node = identity
            caller = .node(identity, account: account, region: region, sourceAddress: evidence.sourceAddress, userAgent: evidence.userAgent)
            try admit(identity.node.description, to: pieces ?? callers)
        case .enrolment:
            try refuseOperatorKey(evidence)
            try admit(AddressRange.stranger(evidence.sourceAddress), to: strangers)
            // A renewal may come under the certificate that is to be renewed; everything else here comes from nobody yet.
            if evidence.certificate != nil { node = try? await authentication.node(evidence.certificate, now: time) }
            caller =
                node.map {
                    .node($0, account: account, region: region, sourceAddress: evidence.sourceAddress, userAgent: evidence.userAgent)
                } ?? .anonymous(sourceAddress: evidence.sourceAddress, userAgent: evidence.userAgent)
        }
        let invocation = evidence.headers.first { $0.name == "amz-sdk-invocation-id" }?.value
        let retry = invocation.flatMap { id -> RetryKey? in
            guard !id.isEmpty, id.utf8.count <= 128, !caller.accessKeyID.isEmpty else { return nil }
            return RetryKey(
                accessKeyID: caller.accessKeyID, invocationID: id, operation: name,
                bodyDigest: Hex.encode(SHA256.hash(evidence.body)))
        }
        return OperationContext(
            caller: caller, requestID: requestID, now: time, region: region, requestedRegion: requestedRegion, account: account,
            host: evidence.headers.last { $0.name == "host" }?.value ?? "", retry: retry, node: node,
            certificate: node == nil ? nil : evidence.certificate, connectionEnd: evidence.connectionEnd,
            access: AccessCheck(
                caller, action: permission.name, account: account, region: region, requestedRegion: requestedRegion, now: time,
                policies: policies, database: database))
    }

    /// Reading twice harms nobody; what changes something is done once for a signature. Throttling is what SDKs answer with a new one.
    private func refuseReplay(_ evidence: Authentication.Evidence, _ operation: String, _ caller: Caller, at time: Timestamp) async throws {
        guard let header = evidence.authorization else { return }
        let signature = try SigV4.Authorization(header: header).signature
        let isNew = try await database.write { tx in
            try SignatureStore.use(signature, of: caller.accessKeyID, for: operation, now: time, in: tx)
        }
        if isNew { return }
        logger.warning("replayed call refused", metadata: ["operation": "\(operation)", "caller": "\(caller.arn)"])
        await deny(
            DenialLedger.Kind(source: evidence.sourceAddress, operation: operation, reason: "ReplayedSignature"), at: time)
        throw APIError(
            code: APIError.throttling.code,
            message: "This signature has been used already. Sign the call anew, with the present time.", status: APIError.throttling.status)
    }

    private func refuseOperatorKey(_ evidence: Authentication.Evidence) throws {
        guard evidence.authorization == nil else {
            throw APIError.accessDenied(
                "An operator's key is no proof of identity for agents' calls. Call without an Authorization header.")
        }
    }

    private func admit(_ name: String, to limits: NIOLockedValueBox<RequestLimits>) throws {
        let milliseconds = Self.steadyMilliseconds()
        guard limits.withLockedValue({ $0.admit(name, now: milliseconds) }) else { throw APIError.throttling }
    }

    /// A caller who has not shown who it is: counted, audited in aggregate, and slowed down when it goes on.
    private func refused(_ error: APIError, _ operation: String, source: String, at time: Timestamp) async -> APIError {
        guard error.code != APIError.throttling.code, error.code != APIError.unknownOperation.code else { return error }
        await deny(DenialLedger.Kind(source: source, operation: operation, reason: error.code), at: time)
        do {
            try admit(AddressRange.stranger(source), to: strangers)
        } catch {
            return .throttling
        }
        return error
    }

    // MARK: Control channels

    private func admit(
        _ path: String, _ connection: UpgradeChannel.Connection, _ listener: Listener
    ) async throws -> UpgradeChannel.Admission? {
        if let dataChannels, let session = DataChannelEntry.session(in: path) {
            return try await admit(session, dataChannels, connection, listener)
        }
        guard listener.sides.contains(.agents), listener.allowsWebSockets, let node = Self.node(in: path) else { return nil }
        let identity = try await authentication.node(connection.peer?.leaf, now: now())
        guard identity.node == node else { return nil }
        guard openings.admit(node) else {
            connection.isTooOften.withLockedValue { $0 = true }
            return nil
        }
        return .controlChannel(identity)
    }

    private static func node(in path: String) -> NodeID? {
        let path = path.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).first.map(String.init) ?? ""
        guard path.hasPrefix(channelPath) else { return nil }
        return NodeID(String(path.dropFirst(channelPath.count)))
    }

    /// A request for a control channel that was not upgraded: says why.
    private func refuseChannel(
        _ path: String, requestID: String, at time: Timestamp, _ connection: UpgradeChannel.Connection
    ) async -> Answer {
        var error: APIError
        do {
            let identity = try await authentication.node(connection.peer?.leaf, now: time)
            if connection.isTooOften.withLockedValue({ $0 }) {
                let kind = DenialLedger.Kind(
                    source: connection.remoteAddress, operation: "OpenControlChannel", reason: APIError.throttling.code,
                    resource: identity.node.rawValue)
                await deny(kind, at: time)
                return .text(.tooManyRequests, "Node \(identity.node) opens its control channel too often. Come again in a minute.\n")
            }
            if identity.node == Self.node(in: path) {
                return .text(.upgradeRequired, "A control channel is a WebSocket: RFC 6455, version 13.\n")
            }
            error = .accessDenied("The client certificate is node \(identity.node)'s, the control channel another node's.")
            await writeDenial(
                error, "OpenControlChannel",
                .node(identity, account: account, region: region, sourceAddress: connection.remoteAddress, userAgent: ""),
                requestID: requestID, nil, at: time)
        } catch let refusal as APIError {
            error = await refused(refusal, "OpenControlChannel", source: connection.remoteAddress, at: time)
        } catch {
            logger.error("node not looked up", metadata: ["request": "\(requestID)", "error": "\(PlainWords.of(error))"])
            return .failure(.internalServerError)
        }
        error = APIError(code: error.code, message: error.message, status: error.code == APIError.throttling.code ? 429 : 403)
        return .failure(error)
    }

    // MARK: Data channels

    /// The side is decided here and never again: under a certificate it is the node's, without one a client's.
    private func admit(
        _ session: SessionID, _ dataChannels: DataChannelEntry, _ connection: UpgradeChannel.Connection, _ listener: Listener
    ) async throws -> UpgradeChannel.Admission? {
        if let certificate = connection.peer?.leaf {
            guard listener.sides.contains(.agents), listener.allowsWebSockets else { return nil }
            let identity = try await authentication.node(certificate, now: now())
            guard await dataChannels.admit(identity, to: session) == nil else { return nil }
            return .dataChannel(.agent(session, identity))
        }
        guard listener.sides.contains(.operators) else { return nil }
        let source = AddressRange.stranger(connection.remoteAddress)
        if await dataChannels.expects(session), connection.place.takeOpening(of: expected, as: session.rawValue) {
            return .dataChannel(.client(session))
        }
        try admit(source, to: strangers)
        guard connection.place.takeOpening(of: unproven, as: source) else { return nil }
        return .dataChannel(.client(session))
    }

    private func open(_ dataChannel: UpgradeChannel.DataChannel) async {
        guard let dataChannels, let text = try? await dataChannel.opening.get() else { return }
        do {
            try await dataChannels.open(dataChannel.leg, dataChannel.admission, text: text)
            dataChannel.settled()
            metrics.count("muster_data_channels_total", [("side", dataChannel.leg.side.rawValue)])
        } catch {
            let source = dataChannel.leg.remoteAddress
            logger.info("data channel refused", metadata: ["remote": "\(source)", "reason": "\(error.code)"])
            await deny(DenialLedger.Kind(source: source, operation: "OpenDataChannel", reason: error.code), at: now())
        }
    }

    /// A request for a data channel that was not upgraded: says why.
    private func refuseDataChannel(
        _ uri: String, requestID: String, at time: Timestamp, _ connection: UpgradeChannel.Connection, _ listener: Listener
    ) async -> Answer {
        guard let dataChannels, let session = DataChannelEntry.session(in: uri) else {
            return .text(.notFound, "There is no such data channel.\n")
        }
        guard let certificate = connection.peer?.leaf else {
            guard listener.sides.contains(.operators) else { return .text(.forbidden, "This address does not serve operators.\n") }
            let source = AddressRange.stranger(connection.remoteAddress)
            guard (try? admit(source, to: strangers)) != nil, unproven.taken < limits.unproven,
                unproven.taken(by: source) < limits.unprovenPerSource
            else {
                return .text(.tooManyRequests, "Too many data channels that nobody has opened yet.\n")
            }
            return .text(.upgradeRequired, "A data channel is a WebSocket: RFC 6455, version 13.\n")
        }
        guard listener.sides.contains(.agents), listener.allowsWebSockets else {
            return .text(.forbidden, "This address takes no data channels from nodes.\n")
        }
        do {
            let identity = try await authentication.node(certificate, now: time)
            switch await dataChannels.admit(identity, to: session) {
            case nil: return .text(.upgradeRequired, "A data channel is a WebSocket: RFC 6455, version 13.\n")
            case .over: return .text(.gone, SessionBroker.Refusal.over.words + "\n")
            case let refusal?:
                let error = APIError.accessDenied("Session \(session) is not one of node \(identity.node)'s.")
                logger.warning("data channel of another node refused", metadata: ["node": "\(identity.node)", "reason": "\(refusal.code)"])
                await writeDenial(
                    error, "OpenDataChannel",
                    .node(identity, account: account, region: region, sourceAddress: connection.remoteAddress, userAgent: ""),
                    requestID: requestID, nil, at: time)
                return .failure(APIError(code: error.code, message: error.message, status: 403))
            }
        } catch let refusal as APIError {
            let error = await refused(refusal, "OpenDataChannel", source: connection.remoteAddress, at: time)
            return .failure(APIError(code: error.code, message: error.message, status: error.code == APIError.throttling.code ? 429 : 403))
        } catch {
            logger.error("node not looked up", metadata: ["request": "\(requestID)", "error": "\(PlainWords.of(error))"])
            return .failure(.internalServerError)
        }
    }

    // MARK: Denials

    private func writeDenial(
        _ error: APIError, _ operation: String, _ caller: Caller, requestID: String, _ requestedRegion: String?, at time: Timestamp
    ) async {
        if caller.principal == nil {
            // A node may be somebody else's by now: of its denials the first of a kind is written in words, the rest as a number.
            let kind = DenialLedger.Kind(source: caller.userName, operation: operation, reason: error.code)
            metrics.count("muster_denials_total", [("reason", error.code)])
            guard case .write = denials.withLockedValue({ $0.denied(kind, now: time.milliseconds) }) else { return }
        } else if !isNews(operation, error.code, caller, at: time) {
            return
        }
        await write([
            AuditEvent(
                time: time, caller: caller, requestID: requestID, region: region, operation: operation, resource: "*",
                outcome: .denied,
                details: AuditEvent.details(
                    ["errorCode": error.code, "errorMessage": error.message], requestedRegion: requestedRegion, in: region))
        ])
    }

    /// Writes it to the trail; and asks those who can allow it, in the same transaction.
    private func denied(
        _ denial: AccessDenial, _ operation: String, _ caller: Caller, requestID: String, _ requestedRegion: String?, at time: Timestamp
    ) async -> AccessDenial {
        let isNews = isNews(operation, denial.kind, caller, at: time)
        guard isNews || denial.need != nil else { return denial }
        do {
            return try await database.write { tx in
                var denial = denial
                if let need = denial.need {
                    let answer = try ApprovalQuestion.ask(need, caller, requestID: requestID, region: self.region, now: time, in: tx)
                    (denial.approval, denial.advice) = (answer.id, answer.words)
                }
                if isNews {
                    try AuditLog.append(self.event(denial, operation, caller, requestID: requestID, requestedRegion, at: time), in: tx)
                }
                return denial
            }
        } catch {
            logger.error(
                "denial not written to the audit trail", metadata: ["operation": "\(operation)", "error": "\(PlainWords.of(error))"])
            return denial
        }
    }

    /// The first of a kind is written in words and at once, the others as a number when five minutes are over. Keys, sessions' names
    /// and temporary credentials are as many as one likes: all go back to one user.
    private func isNews(_ operation: String, _ reason: String, _ caller: Caller, at time: Timestamp) -> Bool {
        let source = caller.principal?.user ?? caller.accessKeyID
        let kind = DenialLedger.Kind(source: source, operation: operation, reason: reason)
        let action = operatorDenials.withLockedValue { $0.denied(kind, by: caller, now: time.milliseconds) }
        if case .write = action { return true }
        return false
    }

    private func event(
        _ denial: AccessDenial, _ operation: String, _ caller: Caller, requestID: String, _ requestedRegion: String?, at time: Timestamp
    ) -> AuditEvent {
        AuditEvent(
            time: time, caller: caller, requestID: requestID, region: region, operation: operation,
            resource: denial.decision.request.resource, outcome: .denied,
            details: AuditEvent.details(denial.details, requestedRegion: requestedRegion, in: region))
    }

    private func deny(_ kind: DenialLedger.Kind, at time: Timestamp) async {
        metrics.count("muster_denials_total", [("reason", kind.reason)])
        let action = denials.withLockedValue { $0.denied(kind, now: time.milliseconds) }
        guard case .write(let kind) = action else { return }
        await write([event(DenialLedger.Gathered(kind: kind, count: 1, first: time, last: time), at: time)])
    }

    private func flushDenials(all: Bool = false) async {
        let time = now()
        let over = [denials, operatorDenials].flatMap { $0.withLockedValue { $0.expired(now: time.milliseconds, all: all) } }
        guard !over.isEmpty else { return }
        await write(over.map { event($0, at: time) })
    }

    private func event(_ denials: DenialLedger.Gathered, at time: Timestamp) -> AuditEvent {
        let kind = denials.kind
        return AuditEvent(
            time: time, caller: denials.caller ?? .anonymous(sourceAddress: kind.source, userAgent: ""), requestID: "", region: region,
            operation: kind.operation, resource: kind.resource, outcome: .denied,
            details: [
                "errorCode": kind.reason, "count": String(denials.count), "first": denials.first.iso8601, "last": denials.last.iso8601,
            ])
    }

    private func write(_ events: [AuditEvent]) async {
        do {
            try await database.write { tx in
                for event in events { try AuditLog.append(event, in: tx) }
            }
        } catch {
            logger.error(
                "denial not written to the audit trail", metadata: ["events": "\(events.count)", "error": "\(PlainWords.of(error))"])
        }
    }

    private func writeDenials() async {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                try? await Task.sleep(for: .seconds(30))
                await self.flushDenials()
            }
        }
    }

    private func writeImpostors() async {
        await cancelWhenGracefulShutdown {
            for await source in self.impostors.stream {
                await self.deny(
                    DenialLedger.Kind(source: source, operation: "TLSHandshake", reason: "UntrustedClientCertificate"), at: self.now())
            }
        }
    }

    private func count(_ operation: String, _ outcome: String) {
        metrics.count("muster_operations_total", [("operation", operation), ("outcome", outcome)])
    }

    private static func seconds(since start: ContinuousClock.Instant) -> Double {
        let duration = start.duration(to: .now)
        return Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    }

    private static func steadyMilliseconds() -> Int64 {
        Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000)
    }
}

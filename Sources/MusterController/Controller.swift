internal import CLinux
internal import FoundationEssentials
internal import Glibc
package import Logging
package import MusterCrypto
internal import MusterWire
internal import NIOPosix
internal import ServiceLifecycle
internal import UnixSignals

/// The controller, put together. Read this first.
///
///     ControllerServer ─► Authentication ─► OperationTable ─► operations ─► stores ─► SQLiteDatabase
///            │                                                    │
///            ├─ control channels ─► AgentConnection ─► AgentRegistry ◄─ CommandDispatcher
///            └─ data channels ─► SessionRelay, admitted by SessionBroker ─► AgentRegistry
///
/// Every arrow points at something made before it. Services start in the order of `services` and stop in the reverse: the
/// listeners first, so that running requests end while everything below them still works.
package struct Controller: Sendable {
    /// How long running requests and control channels have to end after SIGTERM.
    private static let drainSeconds = 20

    private let configuration: ControllerConfiguration
    private let directory: DataDirectory
    private let logger: Logger
    private let metrics: Metrics

    /// `metrics` is what `/metrics` renders; the program gives the same one to swift-metrics.
    package init(configuration: ControllerConfiguration, metrics: Metrics = Metrics(), logger: Logger) {
        self.configuration = configuration
        self.directory = DataDirectory(configuration.dataDirectory)
        self.metrics = metrics
        self.logger = logger
    }

    /// What the store remembers of itself.
    private struct Facts: Sendable {
        let store: StoreIdentity
        let pageTokenKey: [UInt8]
        let names: [String]
    }

    /// Serves until SIGTERM or SIGINT, or until the task is shut down or cancelled.
    package func run() async throws {
        let connections = connectionLimits(files: Self.raiseFileLimit())
        // The CA's key and operators' secrets are in this memory.
        _ = (muster_forbid_dumps(), muster_limit_dumps())
        try directory.verifyFiles()
        guard directory.exists(.certificate), directory.exists(.database) else {
            throw ControllerError.notInitialised(directory.path)
        }
        let lock = try directory.acquireLock()
        defer { withExtendedLifetime(lock) {} }
        directory.remove(.listening)
        let start = StartCheck(configuration)
        let places = try start.places()
        try start.verifyAddresses()

        let cipher = try Self.cipher(in: directory)
        let database = try SQLiteDatabase(path: directory.path(of: .database))
        defer { try? database.close() }
        try await Migrations.run(on: database, now: Timestamp.now().milliseconds)
        let facts = try await facts(database)
        let authorities = try await Authorities(directory: directory, database: database, logger: logger)
        let (objects, targets) = (places.objects, places.targets)
        let (keeper, unread) = try await keeper(database, authorities, targets)

        let registry = AgentRegistry(database: database, logger: logger)
        var dispatching = CommandDispatcher.Settings()
        dispatching.slackSeconds = Int64(configuration.totalTimeoutSlackSeconds)
        let dispatcher = CommandDispatcher(database: database, registry: registry, settings: dispatching, logger: logger)

        let followers = OutputFollowers()
        let folder = try OutputFolder(path: directory.path + "/output")
        var outputLimits = OutputQuota.Limits()
        outputLimits.nodeBytes = Int64(configuration.outputNodeBytes)
        outputLimits.nodeTotalBytes = Int64(configuration.outputNodeTotalBytes)
        outputLimits.totalBytes = Int64(configuration.outputTotalBytes)
        let (copyWakes, copyWake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let changed: @Sendable (CommandID) -> Void = { command in
            followers.changed(command)
            if objects != nil { copyWake.yield() }
        }
        let reserve = DiskReserve(path: directory.path, bytes: Int64(configuration.diskReserveBytes))
        let uploads = OutputUploads(folder: folder, database: database, limits: outputLimits, reserve: reserve) { changed($0) }
        var routes = RouteTable()
        OutputRoutes(database: database, folder: folder, uploads: uploads, followers: followers, delivery: registry).register(in: &routes)
        let recordings = try RecordingArchive(path: directory.path + "/recordings")
        let recorders = SessionRecorders(
            archive: recordings, database: database, authority: { authorities.current.issuing },
            settings: SessionRecorders.Settings(configuration), reserve: reserve, logger: logger)
        RecordingRoutes(database: database, archive: recordings, recorders: recorders).register(in: &routes)
        AuditRoutes(database: database, keeper: keeper).register(in: &routes)
        let broker = SessionBroker(database: database, registry: registry, taps: recorders, logger: logger)
        try await broker.load()
        let events = SessionEvents(next: OutputEvents(next: dispatcher, followers: followers, changed: changed), broker: broker)

        let policies = PolicyReader()
        let keys = OperatorKeyStore(database: database, cipher: cipher)
        var table = OperationTable()
        CallerOperations(database: database, cipher: cipher, policies: policies).register(in: &table)
        AccessRequestOperations(database: database, cipher: cipher).register(in: &table)
        CommandOperations(database: database, dispatcher: dispatcher, objects: objects).register(in: &table)
        DocumentOperations(database: database, pageTokenKey: facts.pageTokenKey).register(in: &table)
        DocumentChangeOperations(database: database).register(in: &table)
        SessionOperations(database: database, registry: registry, broker: broker, pageTokenKey: facts.pageTokenKey).register(in: &table)
        NodeOperations(database: database, registry: registry, events: events, pageTokenKey: facts.pageTokenKey, logger: logger)
            .register(in: &table)
        NodePropertyOperations(database: database, registry: registry, pageTokenKey: facts.pageTokenKey, logger: logger).register(
            in: &table)
        TagOperations(database: database).register(in: &table)
        ServiceSettingOperations(database: database).register(in: &table)
        IdentityOperations(database: database, cipher: cipher).register(in: &table)
        AuditOperations(database: database, pageTokenKey: facts.pageTokenKey).register(in: &table)
        ActivationOperations(database: database, pageTokenKey: facts.pageTokenKey, cipher: cipher).register(in: &table)
        RegistrationOperations(
            database: database, certificates: NodeCertificates(authorities, hours: configuration.certificateHours),
            store: facts.store, logger: logger
        ).register(in: &table)

        let openings = ChannelOpenings()
        let polling = MessageOperations(openings: openings, logger: logger) { [logger] connection in
            AgentConnection(
                peer: connection.peer, certificate: connection.certificate, registry: registry, events: events, database: database,
                sessions: broker, logger: logger)
        }
        polling.register(in: &table)

        let certificates = try certificates(authorities.current, names: facts.names)
        AuthorityRoutes(authorities: authorities).register(in: &routes)
        ApprovalRoutes(database: database).register(in: &routes)
        SimulationRoutes(database: database, policies: policies).register(in: &routes)
        authorities.onChange { [database] set in
            for certificate in certificates { try certificate.adopt(set) }
            for record in try await database.read({ tx in try AuthorityStore.all(in: tx) }) where record.state == .retired {
                await registry.close(issuedBy: record.certificate, reason: "the certificate's authority has been retired")
            }
        }
        let server = server(
            connections, table, routes, certificates, database: database, keys: keys, policies: policies, openings: openings,
            dataChannels: DataChannelEntry(broker: broker, logger: logger)
        ) { [logger] peer, _, certificate in
            AgentConnection(
                peer: peer, certificate: certificate, registry: registry, events: events, database: database, sessions: broker,
                logger: logger)
        }
        let housekeeping = Housekeeping(
            chores: [
                HistoryRetention(database: database, days: configuration.historyDays),
                OutputRetention(database: database, uploads: uploads, days: configuration.outputDays),
                RecordingRetention(database: database, archive: recordings, days: configuration.recordingDays),
                CredentialRetention(database: database),
                AuditRetention(
                    database: database, authority: { authorities.current.issuing }, days: configuration.auditDays,
                    targets: targets.map(\.name)),
                ApprovalRetention(database: database, days: configuration.historyDays),
            ], logger: logger)
        let archive = try objects.map {
            OutputArchive(
                database: database, folder: folder, upload: try ObjectUpload(store: $0), wakes: copyWakes, wake: copyWake, logger: logger)
        }
        let revocation = SessionRevocation(
            database: database, broker: broker, policies: policies, region: configuration.region, logger: logger)
        let reload = ReloadOnSignal(certificates: certificates)
        let deliveries = targets.map { target in
            var late: (@Sendable (AuditCheckpoint) async throws -> Void)?
            if unread.contains(target.name) {
                late = { checkpoint in
                    try await keeper.hold(against: AuditKeeper.Outside(place: target.name, checkpoint: checkpoint))
                }
            }
            return AuditDelivery(target: target, database: database, metrics: metrics, logger: logger, unread: late)
        }
        let figures = StoreMetrics(
            database: database, directory: directory, metrics: metrics,
            certificates: {
                var ends = ["ca": authorities.current.issuing.certificate.notAfter]
                if let soonest = certificates.map(\.leaf.notAfter).min() { ends["server"] = soonest }
                return ends
            }, logger: logger)
        try await Self.serve(
            deliveries + [keeper] + [housekeeping, registry, dispatcher, recorders, broker, revocation, polling]
                + (archive.map { [$0] } ?? []) + certificates
                + [figures, authorities, reload, server], logger: logger)
        directory.remove(.listening)
        logger.info("controller stopped")
    }

    static func serve(_ services: [any Service], logger: Logger) async throws {
        var group = ServiceGroupConfiguration(
            services: services.map {
                .init(
                    service: EndsProgram($0, logger: logger), successTerminationBehavior: .gracefullyShutdownGroup,
                    failureTerminationBehavior: .gracefullyShutdownGroup)
            }, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        group.maximumGracefulShutdownDuration = .seconds(Self.drainSeconds)
        try await ServiceGroup(configuration: group).run()
    }

    /// Begun: the store has been held against every checkpoint that is known outside of it, but for those of the targets that are named.
    private func keeper(
        _ database: any SQLDatabase, _ authorities: Authorities, _ targets: [any AuditTarget]
    ) async throws -> (AuditKeeper, unread: Set<String>) {
        let (account, region) = (configuration.account, configuration.region)
        try await database.write { tx in try AuditLog.adopt(account: account, region: region, in: tx) }
        var outside: [AuditKeeper.Outside] = []
        var unread: Set<String> = []
        for target in targets {
            do {
                guard let checkpoint = try await target.latestCheckpoint() else { continue }
                outside.append(AuditKeeper.Outside(place: target.name, checkpoint: checkpoint))
            } catch {
                unread.insert(target.name)
                logger.warning(
                    "no checkpoint of the audit trail read from a target",
                    metadata: ["target": "\(target.name)", "error": "\(PlainWords.of(error))"])
            }
        }
        let keeper = AuditKeeper(
            database: database, authority: { authorities.current.issuing }, directory: directory,
            checkpointSeconds: configuration.auditCheckpointSeconds, logger: logger)
        try await keeper.begin(outside)
        return (keeper, unread)
    }

    private func facts(_ database: any SQLDatabase) async throws -> Facts {
        let (account, path) = (configuration.account, directory.path)
        return try await database.read { tx in
            guard try MetaStore.value(.initialisedAt, in: tx) != nil,
                try MetaStore.value(.storeEpoch, in: tx) != nil,
                let key = try MetaStore.value(.pageTokenKey, in: tx).flatMap({ Base64.decode($0) })
            else { throw ControllerError.notInitialised(path) }
            try StartCheck.verifyAccount(account, in: tx)
            let names = try MetaStore.value(.names, in: tx)?.split(separator: " ").map(String.init) ?? []
            return Facts(store: try StoreIdentity(in: tx), pageTokenKey: key, names: names)
        }
    }

    /// One of our own for all listeners that name no files, and one for each that does.
    private func certificates(_ authorities: AuthoritySet, names: [String]) throws -> [ServerCertificate] {
        let all = names + configuration.names + ["localhost", "127.0.0.1", "::1"]
        return try configuration.listeners.map { listener in
            let source: ServerCertificate.Source =
                if let certificate = listener.certificate, let key = listener.key {
                    .files(certificate: certificate, key: key)
                } else {
                    .authority(
                        authorities, names: all.reduce(into: []) { if !$0.contains($1) { $0.append($1) } },
                        hours: configuration.certificateHours)
                }
            return try ServerCertificate(
                source, clientAuthorities: listener.serves.contains("agents") ? authorities.trusted : nil, logger: logger)
        }
    }

    private func server(
        _ connections: ConnectionPlaces.Limits, _ table: OperationTable, _ routes: RouteTable, _ certificates: [ServerCertificate],
        database: any SQLDatabase,
        keys: OperatorKeyStore, policies: PolicyReader, openings: ChannelOpenings, dataChannels: DataChannelEntry,
        serveNode: @escaping @Sendable (WebSocketPeer, NodeIdentity, Certificate?) -> any MessageReceiver
    ) -> ControllerServer {
        var limits = ControllerServer.Limits()
        limits.connections = connections
        limits.bodyBytes = configuration.maximumBodyBytes
        limits.requestsPerSecond = configuration.requestsPerSecond
        limits.requestBurst = configuration.requestBurst
        limits.handshakeSeconds = configuration.handshakeSeconds
        limits.requestSeconds = configuration.requestSeconds
        limits.channelIdleSeconds = configuration.offlineSeconds
        let listeners = zip(configuration.listeners, certificates).map { listener, certificate in
            ControllerServer.Listener(
                address: listener.address, port: listener.port,
                sides: Set(listener.serves.compactMap { ControllerServer.Side(rawValue: $0) }), certificate: certificate,
                allowsWebSockets: listener.webSockets)
        }
        let directory = directory
        return ControllerServer(
            listeners: listeners, limits: limits, table: table, routes: routes,
            policies: .stored(policies),
            authentication: Authentication(
                keys: keys, database: database, account: configuration.account, regions: configuration.signingRegions),
            database: database, account: configuration.account,
            region: configuration.region, metrics: metrics, openings: openings,
            metricsFrom: configuration.metricsFrom.compactMap(AddressRange.init), serveNode: serveNode,
            dataChannels: dataChannels,
            listening: { addresses in
                try directory.write(addresses.map { $0 + "\n" }.joined(), to: .listening)
            },
            logger: logger)
    }

    // MARK: Parts that init and check need too

    package static func authority(in directory: DataDirectory) throws -> CertificateAuthority {
        CertificateAuthority(
            certificate: try Certificate(pem: try directory.text(.certificate)),
            key: try PrivateKey(pem: try directory.text(.key)))
    }

    package static func cipher(in directory: DataDirectory) throws -> AuthenticatedCipher {
        let text = try directory.text(.sealingKey)
        guard let key = Base64.decode(String(text.prefix { $0 != "\n" })) else {
            throw ControllerError.cannotAccess(path: directory.path(of: .sealingKey), action: "read", reason: "it is not base64")
        }
        return try AuthenticatedCipher(key: key)
    }

    /// A connection is a file; the usual soft limit of 1,024 is for programs that use select(2). The limit that holds now.
    private static func raiseFileLimit() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1_024 }
        if limit.rlim_cur < limit.rlim_max {
            let former = limit.rlim_cur
            limit.rlim_cur = limit.rlim_max
            if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 { limit.rlim_cur = former }
        }
        return Int(min(limit.rlim_cur, 1 << 30))
    }

    /// Says how many there may be, and what stands against more.
    private func connectionLimits(files: Int) -> ConnectionPlaces.Limits {
        let wanted = configuration.maximumConnections
        let fitting = ConnectionPlaces.Limits.connections(files: files)
        if fitting < wanted {
            logger.warning(
                "fewer connections than maximumConnections, because of the limit on open files; raise LimitNOFILE of the service",
                metadata: ["maximumConnections": "\(wanted)", "connections": "\(fitting)", "openFiles": "\(files)"])
        }
        let limits = ConnectionPlaces.Limits(connections: min(wanted, fitting))
        logger.info(
            "places for connections",
            metadata: ["nodes": "\(limits.nodes)", "callers": "\(limits.callers)", "strangers": "\(limits.strangers)"])
        return limits
    }
}

/// SIGHUP: certificates from files are read again.
private struct ReloadOnSignal: Service {
    let certificates: [ServerCertificate]

    func run() async throws {
        let signals = await UnixSignalsSequence(trapping: .sighup)
        for await _ in signals.cancelOnGracefulShutdown() {
            for certificate in certificates { certificate.reload() }
        }
    }
}

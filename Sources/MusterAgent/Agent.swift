import CLinux
import Logging
import MusterClient
import MusterCrypto
import MusterWire
import NIOCore
package import NIOPosix
import ServiceLifecycle
import UnixSignals

/// Everything an agent is, put together:
///
///     IdentityStore ──▶ CurrentIdentity ◀── CertificateRenewal        who we are, and how that stays true
///                             │
///              ┌──────────────┴───────┐
///        ControlChannel           Heartbeat                           two ways to the controller, both dialled out;
///              │                                                      the first by WebSocket, or by MessagePoller
///              │ jobs in, replies out
///          JobRunner ──▶ supervisors ──▶ scripts                      live on when this process ends
///              │
///         SessionGateway ──▶ session host ──▶ launchers                a process of its own, which lives on as well
///              │
///          OutputWork ──▶ OutputUploader                              complete outputs, on a connection of their own
///
/// One event loop carries all connections. Stopping goes from the bottom of the list of services to its top.
package struct Agent: Sendable {
    private let configuration: AgentConfiguration
    private let environment: [String: String]
    private let logger: Logger

    /// - Parameter environment: where a proxy may be named.
    package init(configuration: AgentConfiguration, environment: [String: String] = [:]) throws {
        self.configuration = configuration
        self.environment = environment
        logger = try configuration.logger()
    }

    /// Returns after SIGTERM or SIGINT, when the channel is closed. Steps that run live on.
    package func run(group: MultiThreadedEventLoopGroup) async throws {
        // The node's key and the parameters of its jobs are in this memory.
        _ = (muster_forbid_dumps(), muster_limit_dumps())
        let store = try IdentityStore(stateDirectory: configuration.stateDirectory)
        let lock = try store.lock(.running)
        defer { withExtendedLifetime(lock) {} }
        do {
            // A registration of an earlier version has not done so.
            try store.reserve()
        } catch {
            logger.warning("cannot reserve what connections and renewals have to write", metadata: ["reason": "\(error)"])
        }
        guard let identity = try store.load() else {
            throw AgentError(
                "This host is not registered: there is no identity in \(configuration.stateDirectory). Run the join line that muster enroll prints."
            )
        }
        let facts = HostFacts.current()
        let proxy = try configuration.proxy(to: identity.controller, environment: environment)
        let current = CurrentIdentity(identity, store: store, clock: ServerClock(), proxy: proxy, logger: logger)
        let outputs = OutputWork()
        let runner = try JobRunner(
            configuration: JobRunnerConfiguration(
                stateDirectory: configuration.stateDirectory,
                node: identity.node,
                region: configuration.region,
                agentVersion: AgentVersion.current,
                platformName: facts.platformName,
                platformVersion: facts.platformVersion,
                maximumParallelJobs: configuration.maximumParallelJobs,
                queuedJobs: configuration.queuedJobs,
                identityGeneration: identity.generation,
                agentExecutable: Self.executable(),
                scriptShell: configuration.scriptShell,
                outputBudgetBytes: configuration.outputBudgetBytes,
                retentionHours: configuration.tombstoneHours,
                reboot: configuration.reboot,
                bootIDFile: configuration.bootIDFile
            ),
            outputs: outputs,
            holdEpoch: { try current.hold(epoch: $0, $1) },
            logger: logger
        )
        let heartbeat = Heartbeat(
            current: current,
            interval: .seconds(configuration.heartbeatSeconds),
            group: group,
            logger: logger,
            serverTime: { runner.serverTime($0) },
            settled: { Footprint.giveBackCode() }
        )
        let uploader = OutputUploader(work: outputs, ledger: runner.ledger, current: current, group: group, logger: logger)
        // The channel tells the renewal of refusals, and the renewal tells the channel of new certificates.
        let refusals = Alarm()
        let sessions = try SessionGateway(
            stateDirectory: configuration.stateDirectory,
            settings: configuration.sessionsEnabled
                ? SessionSettings(
                    node: identity.node, agentVersion: AgentVersion.current, runAsDefault: configuration.sessionRunAsDefault,
                    pamService: configuration.sessionPamService, maximumSessions: configuration.maximumSessions,
                    deniedTargets: configuration.sessionDeniedTargets, proxy: proxy, logLevel: configuration.logLevel,
                    logFormat: configuration.logFormat)
                : nil,
            node: identity.node, agentExecutable: Self.executable(), loop: group.next(), logger: logger)
        let channel = ControlChannel(
            current: current,
            runner: runner,
            sessions: sessions,
            keepAlive: .seconds(Int64(configuration.keepAliveSeconds)),
            choice: TransportChoice(configuration.transport, firstRetry: .seconds(configuration.webSocketRetrySeconds)),
            group: group,
            logger: logger,
            online: { heartbeat.channelOpened($0) },
            denied: { refusals.ring() }
        )
        let renewal = CertificateRenewal(
            current: current, group: group, logger: logger, refused: refusals, renewed: { channel.identityReplaced() })

        logger.info(
            "starting",
            metadata: [
                "node": "\(identity.node)", "controller": "\(identity.controller)", "version": "\(AgentVersion.current)",
                "through": "\(proxy.map { "\($0)" } ?? "no proxy")",
            ])
        var services = ServiceGroupConfiguration(
            services: ([runner, sessions, uploader, renewal, RenewOnSignal(renewal: renewal), channel, heartbeat] as [any Service]).map {
                .init(service: $0, failureTerminationBehavior: .gracefullyShutdownGroup)
            },
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: logger
        )
        // Longer than a polite goodbye to the controller takes.
        services.maximumGracefulShutdownDuration = Duration.seconds(10)
        try await ServiceGroup(configuration: services).run()
        logger.info("stopped")
    }

    /// The program that is running now, by its file: an upgrade puts another one at its path, and a supervisor has to fit this one.
    private static func executable() -> String {
        "/proc/self/exe"
    }
}

/// SIGHUP: the certificate is renewed now, and with it the authorities that the controller hands out.
private struct RenewOnSignal: Service {
    let renewal: CertificateRenewal

    func run() async throws {
        let signals = await UnixSignalsSequence(trapping: .sighup)
        for await _ in signals.cancelOnGracefulShutdown() { renewal.renewNow() }
    }
}

/// Runs `body` with the agent's one event loop and blocks this thread until it is done. For the first thread of a program, which has
/// nothing else to do; the loop is shut down before it returns.
package func runToCompletion<Result: Sendable>(
    _ body: @escaping @Sendable (MultiThreadedEventLoopGroup) async throws -> Result
) throws -> Result {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    defer { try? group.syncShutdownGracefully() }
    return try group.next().makeFutureWithTask { try await body(group) }.wait()
}

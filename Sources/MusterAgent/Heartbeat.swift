package import Logging
import MusterClient
import MusterWire
import NIOConcurrencyHelpers
package import NIOCore
package import ServiceLifecycle

/// Tells the controller that this node is alive and what it is (UpdateInstanceInformation): each time the control channel comes up,
/// and every few minutes, over a short connection of its own. So it also is a second way to notice, on the controller's side, that a
/// node lives whose channel does not.
package final class Heartbeat: Service {
    private let current: CurrentIdentity
    private let interval: Duration
    private let group: any EventLoopGroup
    private let logger: Logger
    private let serverTime: @Sendable (Int64) -> Void
    private let settled: @Sendable () -> Void
    private let connected = Alarm()
    private let transport = NIOLockedValueBox(TransportChoice.Transport.webSocket)
    private let lastBeat = NIOLockedValueBox<ContinuousClock.Instant?>(nil)

    /// - Parameters:
    ///   - serverTime: told the difference between the controller's clock and ours after each beat, in milliseconds.
    ///   - settled: called after each beat that was taken: nothing is to be done now until something happens.
    package init(
        current: CurrentIdentity,
        interval: Duration,
        group: any EventLoopGroup,
        logger: Logger,
        serverTime: @escaping @Sendable (Int64) -> Void,
        settled: @escaping @Sendable () -> Void = {}
    ) {
        self.current = current
        self.interval = interval
        self.group = group
        self.logger = logger
        self.serverTime = serverTime
        self.settled = settled
    }

    /// The controller has lost nothing of what it was told within the last interval: a fleet that comes back after a restart of
    /// its controller does not open every connection twice. Another transport is news.
    package func channelOpened(_ transport: TransportChoice.Transport) {
        let isChanged = self.transport.withLockedValue { present in
            defer { present = transport }
            return present != transport
        }
        let isKnown = lastBeat.withLockedValue { last in last.map { ContinuousClock.now - $0 < interval } ?? false }
        if isChanged || !isKnown { connected.ring() }
    }

    /// Without waiting for the next time that is due.
    package func beatNow() {
        connected.ring()
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await self.beatForEver()
        }
    }

    private func beatForEver() async {
        var lastFailure: String?
        // A beat that was not taken is repeated long before the next one is due, but not by a whole fleet at once.
        var backoff = Backoff(base: .seconds(2), cap: interval)
        while !Task.isCancelled {
            // A tenth more or less, so that a fleet does not beat as one.
            let pause = lastFailure != nil ? backoff.next() : interval * Double.random(in: 0.9...1.1)
            _ = await connected.wait(for: pause)
            guard !Task.isCancelled else { return }
            do {
                try await beat()
                lastBeat.withLockedValue { $0 = .now }
                lastFailure = nil
                backoff.reset()
                settled()
            } catch {
                guard !Task.isCancelled else { return }
                let failure = "\(error)"
                logger.log(
                    level: failure == lastFailure ? .debug : .warning, "the controller did not take the heartbeat",
                    metadata: ["reason": "\(failure)"])
                lastFailure = failure
            }
        }
    }

    private func beat() async throws {
        let identity = current.identity
        let facts = HostFacts.current(connectedFrom: current.localAddress)
        let input = UpdateInstanceInformation.Input(
            agentName: "muster-agent",
            agentStatus: "Active",
            agentVersion: AgentVersion.current,
            computerName: facts.computerName,
            ipAddress: facts.ipAddress,
            instanceID: identity.node.rawValue,
            platformName: facts.platformName,
            platformType: HostFacts.platformType,
            platformVersion: facts.platformVersion,
            ssmConnectionChannel: transport.withLockedValue { $0 } == .poll ? "ec2messages" : "ssmmessages"
        )
        try await current.trust.attempt { [group, logger, clock = current.clock] tls in
            let client = APIClient(
                endpoint: identity.controller, credentials: nil, region: "", tls: tls, clock: clock, group: group, logger: logger)
            defer { client.shutdown() }
            _ = try await client.call(UpdateInstanceInformation.self, input)
        }
        if let offset = current.clock.offsetMilliseconds { serverTime(offset) }
    }
}

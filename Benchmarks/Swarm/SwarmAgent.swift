import Logging
import MusterAgent
import MusterClient
import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers
import NIOCore

/// One node: its key, certificate and identity, its control channel and its heartbeat, as on a host. Only `SwarmJobs` and the
/// counter of connections, which a host keeps on its disk, are not what a host has.
final class SwarmAgent: Sendable {
    let node: NodeID
    private let channel: ControlChannel
    private let heartbeat: Heartbeat

    init(_ identity: Identity, plans: SwarmPlans, delay: TimeAmount, heartbeat interval: Duration, loop: any EventLoop, logger: Logger) {
        node = identity.node
        let number = NIOLockedValueBox(UInt64(Timestamp.now().milliseconds))
        let current = CurrentIdentity(
            identity, save: { _ in },
            nextConnectionNumber: {
                number.withLockedValue { number in
                    number += 1
                    return number
                }
            },
            clock: ServerClock(), logger: logger)
        let jobs = SwarmJobs(node: identity.node, plans: plans, delay: delay, loop: loop)
        let heartbeat = Heartbeat(
            current: current, interval: interval, group: loop, logger: logger, serverTime: { jobs.serverTime($0) })
        self.heartbeat = heartbeat
        channel = ControlChannel(
            current: current, runner: jobs, keepAlive: .seconds(20), group: loop, logger: logger,
            online: { heartbeat.channelOpened($0) }, denied: {})
    }

    /// Until it is cancelled.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [channel] in try? await channel.run() }
            group.addTask { [heartbeat] in try? await heartbeat.run() }
        }
    }

    func beat() {
        heartbeat.beatNow()
    }
}

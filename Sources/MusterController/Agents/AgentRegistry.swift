package import Logging
import Metrics
package import MusterCrypto
package import MusterWire
import NIOCore
import ServiceLifecycle

/// Who is connected. [actor]
///
/// There is one timer for all connections: `run` looks over the table every two seconds, pings who is due, ends who has
/// outlived its certificate or has not opened its channel in time, and writes the last pings in batches, so that
/// heartbeats cost no commit each.
package actor AgentRegistry: AgentDelivery, Service {
    package struct Timing: Sendable {
        /// Below the 25 to 30 seconds after which proxies drop a silent connection.
        package var pingSeconds: Int64 = 20
        package var openSeconds: Int64 = 10
        package var lookSeconds: Int64 = 2
        package var flushSeconds: Int64 = 15

        package init() {}
    }

    package struct ConnectionID: Hashable, Sendable {
        let value: UInt64
    }

    /// What `look` orders; `run` does it.
    package enum Order: Sendable {
        case ping(ConnectionID, NodeID, WebSocketPeer)
        case close(WebSocketPeer, WebSocketPeer.CloseCode, reason: String)
    }

    private struct Opening {
        let peer: WebSocketPeer
        let deadline: Timestamp
    }

    private struct Open {
        let id: ConnectionID
        let generation: Int
        let number: UInt64
        let peer: WebSocketPeer
        let outbox: AgentOutbox
        let endsAt: Timestamp
        /// The key of the authority that issued the certificate; the certificate itself is not kept.
        let authority: String?
        var nextPing: Timestamp
        var isPinging = false
    }

    private let database: any SQLDatabase
    private let timing: Timing
    private let now: @Sendable () -> Timestamp
    private let logger: Logger
    private var lastID: UInt64 = 0
    private var opening: [ConnectionID: Opening] = [:]
    private var open: [NodeID: Open] = [:]
    /// Seen and not yet written.
    private var unwrittenPings: [NodeID: Timestamp] = [:]
    private var lastFlush: Timestamp
    private var rush = Rush()
    private let connectedGauge = Gauge(label: "muster_agents_connected")

    package init(
        database: any SQLDatabase, timing: Timing = Timing(), now: @escaping @Sendable () -> Timestamp = { .now() }, logger: Logger
    ) {
        self.database = database
        self.timing = timing
        self.now = now
        self.logger = logger
        self.lastFlush = now()
    }

    // MARK: The table

    /// A peer that has not said who it is; it has `openSeconds` to do so.
    package func began(_ peer: WebSocketPeer) -> ConnectionID {
        lastID += 1
        rush.connected()
        let id = ConnectionID(value: lastID)
        opening[id] = Opening(peer: peer, deadline: now().adding(seconds: timing.openSeconds))
        return id
    }

    package enum Entry: Sendable {
        /// The connection is the node's. The one that was there gets nothing any more; whoever entered ends it.
        case entered(former: WebSocketPeer?)
        /// One with a higher number is there: the store orders the claims, but they may arrive here in another order.
        case superseded
    }

    /// Puts the connection in the node's place.
    package func connected(
        _ id: ConnectionID, _ node: NodeIdentity, number: UInt64, peer: WebSocketPeer, outbox: AgentOutbox, endsAt: Timestamp,
        authority: String?
    ) -> Entry {
        opening.removeValue(forKey: id)
        let former = open[node.node]
        if let former, former.number >= number { return .superseded }
        let time = now()
        open[node.node] = Open(
            id: id, generation: node.generation, number: number, peer: peer, outbox: outbox, endsAt: endsAt,
            authority: authority, nextPing: time.adding(seconds: timing.pingSeconds))
        unwrittenPings[node.node] = time
        connectedGauge.record(open.count)
        former?.outbox.close()
        return .entered(former: former?.peer)
    }

    /// After every end, also of a connection that never got past the opening.
    package func ended(_ id: ConnectionID) {
        opening.removeValue(forKey: id)
    }

    /// Whether this connection was the node's current one.
    package func disconnected(_ id: ConnectionID, _ node: NodeID) -> Bool {
        opening.removeValue(forKey: id)
        guard let current = open[node], current.id == id else { return false }
        open.removeValue(forKey: node)
        connectedGauge.record(open.count)
        current.outbox.close()
        unwrittenPings[node] = now()
        return true
    }

    /// Ends the node's connection now: nothing is delivered to it and nothing taken from it after this returns.
    package func close(_ node: NodeID, reason: String) async {
        guard let current = open.removeValue(forKey: node) else { return }
        connectedGauge.record(open.count)
        current.outbox.close()
        await current.peer.close(.policyViolation, reason: reason)
    }

    /// Ends every connection under a certificate of this authority.
    package func close(issuedBy authority: Certificate, reason: String) async {
        guard let key = authority.subjectKeyIdentifier else { return }
        let ended = open.filter { $0.value.authority == key }
        for (node, entry) in ended {
            open.removeValue(forKey: node)
            entry.outbox.close()
        }
        connectedGauge.record(open.count)
        await withDiscardingTaskGroup { group in
            for entry in ended.values { group.addTask { await entry.peer.close(.policyViolation, reason: reason) } }
        }
    }

    package func send(_ message: AgentMessage, to node: NodeID) -> Bool {
        guard let current = open[node] else { return false }
        var frame = ByteBuffer()
        frame.writeAgentMessage(message)
        return current.outbox.offer(frame)
    }

    package func connectedNodes() -> [NodeID: Int] {
        open.mapValues(\.generation)
    }

    /// Of the identity that is connected, if it can hold sessions: a node that polls gets no WebSocket through.
    package func sessionGeneration(of node: NodeID) -> Int? {
        open[node].flatMap { $0.peer.isWebSocket ? $0.generation : nil }
    }

    /// Of the identity that is connected.
    package func generation(of node: NodeID) -> Int? {
        open[node]?.generation
    }

    package func isConnected(_ node: NodeID) -> Bool {
        open[node] != nil
    }

    // MARK: Pings

    package func heard(from node: NodeID) {
        unwrittenPings[node] = now()
    }

    /// The pings that the store does not have yet.
    package func recentPings() -> [NodeID: Timestamp] {
        unwrittenPings
    }

    package func flushPings() async {
        let batch = unwrittenPings
        lastFlush = now()
        guard !batch.isEmpty else { return }
        do {
            try await database.write { tx in try NodeStore.recordPings(batch, in: tx) }
            for (node, time) in batch where unwrittenPings[node] == time { unwrittenPings.removeValue(forKey: node) }
        } catch {
            logger.error("last pings not written", metadata: ["nodes": "\(batch.count)", "error": "\(error)"])
        }
    }

    // MARK: Time

    /// What is due. Tests call it with a clock of their own.
    package func look() -> [Order] {
        let time = now()
        var due: [Order] = []
        for (id, entry) in opening where entry.deadline <= time {
            opening.removeValue(forKey: id)
            due.append(.close(entry.peer, .policyViolation, reason: "the control channel was not opened in time"))
        }
        for (node, entry) in open {
            if entry.endsAt <= time {
                entry.outbox.close()
                due.append(.close(entry.peer, .policyViolation, reason: "the certificate has expired"))
            } else if entry.nextPing <= time, !entry.isPinging {
                open[node]?.nextPing = time.adding(seconds: timing.pingSeconds)
                open[node]?.isPinging = true
                due.append(.ping(entry.id, node, entry.peer))
            }
        }
        return due
    }

    private func perform(_ order: Order) async {
        switch order {
        case .close(let peer, let code, let reason):
            await peer.close(code, reason: reason)
        case .ping(let id, let node, let peer):
            // A failed ping needs no answer: the pipeline closes what has gone silent.
            try? await peer.ping()
            pinged(id, node)
        }
    }

    private var isFlushDue: Bool {
        lastFlush.adding(seconds: timing.flushSeconds) <= now()
    }

    private func isRushOver() -> Bool { rush.looked() }

    private func pinged(_ id: ConnectionID, _ node: NodeID) {
        if open[node]?.id == id { open[node]?.isPinging = false }
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                while !Task.isCancelled {
                    for order in await self.look() { group.addTask { await self.perform(order) } }
                    if await self.isFlushDue { await self.flushPings() }
                    if await self.isRushOver() { group.addTask { Rush.giveMemoryBack() } }
                    try? await Task.sleep(for: .seconds(self.timing.lookSeconds))
                }
                group.cancelAll()
            }
        }
        await flushPings()
    }
}

internal import NIOConcurrencyHelpers
internal import NIOCore

/// Places for connections, of three kinds: whoever has shown who they are does not compete with those who have not.
///
///     accepted ─► strangers ─┬─ a handshake under the certificate of a node ─► nodes
///                            └─ a call with a valid signature ───────────────► callers
///
/// Strangers are cut when their places are needed, the oldest connection of whoever has most first (`Quota`).
package struct ConnectionPlaces: Sendable {
    package struct Limits: Sendable, Equatable {
        package var strangers: Int
        package var strangersPerSource: Int
        package var callers: Int
        package var callersPerUser: Int
        package var nodes: Int
        package var perNode: Int

        /// Most of them are for nodes: each has one for its control channel as long as it runs, and more for a moment.
        package init(connections: Int = 32_768) {
            strangers = max(64, min(4_096, connections / 4))
            strangersPerSource = strangers / 2
            callers = max(64, min(4_096, connections / 8))
            callersPerUser = max(32, callers / 4)
            nodes = max(64, connections - strangers - callers)
            perNode = min(1_024, nodes)
        }

        /// As many as so many open files allow: the store, recordings and the legs of sessions need some as well.
        package static func connections(files: Int) -> Int { max(256, files - max(256, files / 8)) }
    }

    let limits: Limits
    let strangers: Quota<String>
    let callers: Quota<String>
    let nodes: Quota<String>

    init(_ limits: Limits) {
        self.limits = limits
        strangers = Quota(total: limits.strangers, perSource: limits.strangersPerSource)
        callers = Quota(total: limits.callers, perSource: limits.callersPerUser)
        nodes = Quota(total: limits.nodes, perSource: limits.perNode)
    }
}

/// What one connection holds of quotas. All of it is given back when the connection has ended, on whatever channel and in whatever state.
final class ConnectionPlace: Sendable {
    private struct State {
        /// Nil on the way from one channel to another.
        var channel: (any Channel)?
        var place: Quota<String>.Share?
        /// Held by a data channel until its client has shown a token.
        var opening: Quota<String>.Share?
        var isCut = false
        var isOver = false
    }

    private let state: NIOLockedValueBox<State>
    private let wasCut: @Sendable () -> Void

    /// - Parameter wasCut: told when the connection ends because its place was needed for another one.
    init(of channel: any Channel, wasCut: @escaping @Sendable () -> Void = {}) {
        state = NIOLockedValueBox(State(channel: channel))
        self.wasCut = wasCut
        watch(channel)
    }

    /// Gives up the present place for one there. False when there is none; the present one is kept.
    func move(to quota: Quota<String>, as name: String) -> Bool {
        guard let share = quota.take(for: name, cut: { [weak self] in self?.cut() }) else { return false }
        let superfluous = state.withLockedValue { state -> Quota<String>.Share? in
            guard !state.isOver else { return share }
            defer { state.place = share }
            return state.place
        }
        superfluous?.giveBack()
        return true
    }

    /// The place is nobody else's as long as the connection lasts.
    func keep() { _ = state.withLockedValue { $0.place }?.keep() }

    /// False when there is no room.
    func takeOpening(of quota: Quota<String>, as name: String) -> Bool {
        guard let share = quota.take(for: name, cut: { [weak self] in self?.cut() }) else { return false }
        let superfluous = state.withLockedValue { state -> Quota<String>.Share? in
            guard !state.isOver else { return share }
            defer { state.opening = share }
            return state.opening
        }
        superfluous?.giveBack()
        return true
    }

    /// Ends the connection.
    func cut() {
        let channel = state.withLockedValue { state in
            state.isCut = true
            return state.channel
        }
        wasCut()
        channel?.close(promise: nil)
    }

    /// The connection leaves its channel, whose end is not the connection's.
    func depart() { state.withLockedValue { $0.channel = nil } }

    func arrive(on channel: any Channel) {
        let isCut = state.withLockedValue { state in
            state.channel = channel
            return state.isCut
        }
        watch(channel)
        if isCut { channel.close(promise: nil) }
    }

    /// The connection has ended, or is counted elsewhere from now on.
    func giveBack() {
        let shares = state.withLockedValue { state in
            defer { (state.place, state.opening, state.channel, state.isOver) = (nil, nil, nil, true) }
            return [state.place, state.opening]
        }
        for share in shares { share?.giveBack() }
    }

    private func watch(_ channel: any Channel) {
        channel.closeFuture.whenComplete { _ in
            let isHere = self.state.withLockedValue { $0.channel.map { $0 === channel } ?? false }
            if isHere { self.giveBack() }
        }
    }
}

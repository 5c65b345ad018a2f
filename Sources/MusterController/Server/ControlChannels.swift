internal import NIOConcurrencyHelpers
internal import NIOCore

/// The upgraded connections, and the tasks in which their messages are dealt with. [service]
///
/// A connection has no task of its own: a task keeps the memory of its deepest call until it ends, and there are thousands of
/// connections that mostly wait. One with something to do gets a task, which is gone when there is nothing left.
///
///     WebSocketHandler ──► Inbox ──wake──► run ──► a task ──► MessageReceiver
final class ControlChannels: Sendable {
    private struct State {
        var open: [ObjectIdentifier: any Channel] = [:]
        var isStopping = false
        var isOver: Bool { isStopping && open.isEmpty }
    }

    private struct Wake: Sendable {
        let inbox: Inbox
        let peer: WebSocketPeer
        let channel: any Channel
    }

    private let state = NIOLockedValueBox(State())
    /// At most one entry for each connection.
    private let wakes: AsyncStream<Wake>
    private let wake: AsyncStream<Wake>.Continuation

    init() {
        (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
    }

    /// A new connection; its beginning is told at once.
    func open(
        _ channel: any Channel, _ peer: WebSocketPeer, _ receiver: any MessageReceiver, resume: @escaping @Sendable () -> Void
    ) -> Inbox {
        state.withLockedValue { $0.open[ObjectIdentifier(channel)] = channel }
        let inbox = Inbox(
            receiver, wake: { [wake] inbox in wake.yield(Wake(inbox: inbox, peer: peer, channel: channel)) }, resume: resume)
        wake.yield(Wake(inbox: inbox, peer: peer, channel: channel))
        return inbox
    }

    /// Until `stop` has been called and the last connection has ended, or until it is cancelled, which cuts them.
    func run() async {
        await withTaskCancellationHandler {
            await withDiscardingTaskGroup { group in
                for await wake in wakes {
                    group.addTask { await self.work(wake) }
                }
            }
        } onCancel: {
            for channel in state.withLockedValue({ Array($0.open.values) }) { channel.close(promise: nil) }
        }
    }

    private func work(_ woken: Wake) async {
        guard await woken.inbox.work() else { return }
        await woken.peer.close(.normal)
        // Until the close frame is out and the socket is closed; the process must not end before.
        try? await woken.channel.closeFuture.get()
        let isOver = state.withLockedValue { state in
            state.open.removeValue(forKey: ObjectIdentifier(woken.channel))
            return state.isOver
        }
        if isOver { wake.finish() }
    }

    /// No new connections come.
    func stop() {
        let isOver = state.withLockedValue { state in
            state.isStopping = true
            return state.isOver
        }
        if isOver { wake.finish() }
    }
}

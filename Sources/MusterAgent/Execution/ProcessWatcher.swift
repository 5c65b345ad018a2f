import CLinux
import Dispatch
import Glibc
import NIOConcurrencyHelpers

/// Tells when processes end, by their pidfds (pidfd_open(2)), without a thread and without polling.
///
/// The pidfds sit in an epoll of their own, and libdispatch watches that: given a pidfd itself, it takes it for a
/// regular file on kernels since 6.9 (where pidfds got inodes) and reports it at once.
package final class ProcessWatcher: Sendable {
    /// Unchecked for the source, which any thread may cancel (dispatch_source_create(3)).
    private struct State: @unchecked Sendable {
        var epoll: FileDescriptor?
        var source: (any DispatchSourceRead)?
        var lastToken: UInt64 = 0
        var waiting: [UInt64: CheckedContinuation<Bool, Never>] = [:]
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    deinit { state.withLockedValue { $0.source?.cancel() } }

    /// Returns true when the process has ended, false when the task was cancelled before.
    package func awaitEnd(of pidfd: FileDescriptor) async -> Bool {
        guard let (epoll, token) = prepare() else { return await awaitOnThread(pidfd) }
        enum Start { case watched, cancelled, refused }
        let start = NIOLockedValueBox(Start.watched)
        let ended = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let outcome = state.withLockedValue { state -> Start in
                    state.waiting[token] = continuation
                    // Cancelled before the handler below could see the continuation.
                    if Task.isCancelled { return .cancelled }
                    return muster_epoll_add(epoll.number, pidfd.number, token) == 0 ? .watched : .refused
                }
                start.withLockedValue { $0 = outcome }
                if outcome != .watched { resume(token, false) }
            }
        } onCancel: {
            resume(token, false)
        }
        if start.withLockedValue({ $0 == .refused }) { return await awaitOnThread(pidfd) }
        _ = muster_epoll_remove(epoll.number, pidfd.number)
        return ended
    }

    /// Without an epoll, because descriptors or watches have run out: the end must be learnt all the same.
    private func awaitOnThread(_ pidfd: FileDescriptor) async -> Bool {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                var descriptor = pollfd(fd: pidfd.number, events: Int16(POLLIN), revents: 0)
                while poll(&descriptor, 1, -1) < 0 && errno == EINTR {}
                continuation.resume(returning: true)
            }
        }
    }

    private func prepare() -> (FileDescriptor, UInt64)? {
        state.withLockedValue { state in
            state.lastToken += 1
            if let epoll = state.epoll { return (epoll, state.lastToken) }
            let number = muster_epoll_create()
            guard number >= 0 else { return nil }
            let epoll = FileDescriptor(number)
            let source = DispatchSource.makeReadSource(fileDescriptor: number, queue: .global())
            source.setEventHandler { [weak self] in self?.drain(epoll) }
            // libdispatch wants the descriptor open until it has let go of it.
            source.setCancelHandler { withExtendedLifetime(epoll) {} }
            source.activate()
            state.epoll = epoll
            state.source = source
            return (epoll, state.lastToken)
        }
    }

    private func drain(_ epoll: FileDescriptor) {
        var token: UInt64 = 0
        while muster_epoll_next(epoll.number, &token) == 1 { resume(token, true) }
    }

    private func resume(_ token: UInt64, _ ended: Bool) {
        state.withLockedValue { $0.waiting.removeValue(forKey: token) }?.resume(returning: ended)
    }
}

import CLinux
import Glibc
import MusterWire
import NIOCore

/// Where a session's bytes go.
protocol SessionSink: AnyObject, Sendable {
    /// On the event loop; does not wait.
    func take(_ bytes: ByteBuffer)
    /// True while it holds as much as it wants to.
    var isFull: Bool { get }
}

/// Writes to a descriptor that may be slow, in order, from a thread of its own; on a terminal that takes bytes at once, right away.
///
/// The descriptor's flags are left alone: they belong to everybody who has the terminal open. What is written without waiting goes
/// through a second opening of the same terminal.
///
/// Sendable: every variable is read and written inside of `condition.locked` only.
final class DescriptorSink: SessionSink, @unchecked Sendable {
    private static let enough = 1 << 20

    private let descriptor: Int32
    private let direct: Int32
    private let condition = Condition()
    private var queue: [ByteBuffer] = []
    private var queuedBytes = 0
    private var isWriting = false
    private var isBroken = false
    private var isStarted = false
    private let drained: @Sendable () -> Void
    private let broken: @Sendable () -> Void

    /// - Parameters:
    ///   - drained: it is not full any more.
    ///   - broken: nobody takes what is written.
    init(_ descriptor: Int32, drained: @escaping @Sendable () -> Void, broken: @escaping @Sendable () -> Void) {
        self.descriptor = descriptor
        self.drained = drained
        self.broken = broken
        direct = isatty(descriptor) == 1 ? muster_open("/proc/self/fd/\(descriptor)", O_WRONLY | O_NOCTTY | O_NONBLOCK, 0) : -1
    }

    deinit {
        if direct >= 0 { close(direct) }
    }

    var isFull: Bool { condition.locked { queuedBytes >= Self.enough && !isBroken } }

    func take(_ bytes: ByteBuffer) {
        guard bytes.readableBytes > 0 else { return }
        condition.locked {
            guard !isBroken else { return }
            var bytes = bytes
            if direct >= 0, queue.isEmpty, !isWriting {
                let written = bytes.withUnsafeReadableBytes { write(direct, $0.baseAddress, $0.count) }
                if written > 0 { bytes.moveReaderIndex(forwardBy: written) }
                if bytes.readableBytes == 0 { return }
            }
            queue.append(bytes)
            queuedBytes += bytes.readableBytes
            if !isStarted {
                isStarted = true
                WaitingThread.start { self.run() }
            }
            condition.wake()
        }
    }

    private func run() {
        while true {
            let batch = condition.locked {
                isWriting = false
                condition.wake()
                while queue.isEmpty { condition.wait() }
                isWriting = true
                defer { queue = [] }
                return queue
            }
            for bytes in batch {
                guard put(bytes) else {
                    condition.locked {
                        isBroken = true
                        isWriting = false
                        queue = []
                        queuedBytes = 0
                        condition.wake()
                    }
                    broken()
                    return
                }
                let hasRoom = condition.locked {
                    let before = queuedBytes
                    queuedBytes -= bytes.readableBytes
                    return before >= Self.enough && queuedBytes < Self.enough
                }
                if hasRoom { drained() }
            }
        }
    }

    private func put(_ bytes: ByteBuffer) -> Bool {
        bytes.withUnsafeReadableBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let part = UnsafeRawBufferPointer(rebasing: rest)
                let written = write(descriptor, part.baseAddress, part.count)
                if written < 0 {
                    if errno == EINTR { continue }
                    // Somebody else made it non-blocking.
                    if errno == EAGAIN {
                        var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                        poll(&wait, 1, -1)
                        continue
                    }
                    if descriptor == STDOUT_FILENO { StandardOutput.record(errno) }
                    return false
                }
                rest = rest.dropFirst(written)
            }
            return true
        }
    }

    /// Waits until everything has been written, or nobody takes it.
    func finish() {
        condition.locked {
            while !isBroken, !queue.isEmpty || isWriting { condition.wait() }
        }
    }
}

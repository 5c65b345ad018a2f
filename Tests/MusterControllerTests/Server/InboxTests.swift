import Dispatch
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import MusterController

/// The queue between a connection's event loop and the task that it has while there is something to do.
@Suite struct InboxTests {
    private final class Listener: MessageReceiver {
        let heard = NIOLockedValueBox<[String]>([])
        let last: String?

        init(last: String? = nil) {
            self.last = last
        }

        func began() async { heard.withLockedValue { $0.append("began") } }
        func ended() async { heard.withLockedValue { $0.append("ended") } }

        func received(_ message: WebSocketPeer.Message) async -> Bool {
            guard case .text(let text) = message else { return false }
            heard.withLockedValue { $0.append(text) }
            return text != last
        }
    }

    private final class Counts: Sendable {
        let wakes = NIOLockedValueBox(0)
        let resumes = NIOLockedValueBox(0)
    }

    private func inbox(_ listener: Listener, _ counts: Counts) -> Inbox {
        Inbox(
            listener, wake: { _ in counts.wakes.withLockedValue { $0 += 1 } }, resume: { counts.resumes.withLockedValue { $0 += 1 } })
    }

    @Test func everythingIsToldInItsOrder() async {
        let (listener, counts) = (Listener(), Counts())
        let inbox = inbox(listener, counts)
        inbox.add(.text("1"))
        inbox.add(.text("2"))
        #expect(await inbox.work() == false)
        inbox.add(.text("3"))
        inbox.add(.text("4"))
        inbox.finish()
        inbox.add(.text("too late"))
        #expect(await inbox.work() == true)
        #expect(listener.heard.withLockedValue { $0 } == ["began", "1", "2", "3", "4", "ended"])
        // The beginning is its opener's to announce; after that, once for each time it was idle.
        #expect(counts.wakes.withLockedValue { $0 } == 1)
    }

    @Test func anIdleOneIsWokenByItsEnd() async {
        let (listener, counts) = (Listener(), Counts())
        let inbox = inbox(listener, counts)
        #expect(await inbox.work() == false)
        inbox.finish()
        inbox.finish()
        #expect(counts.wakes.withLockedValue { $0 } == 1)
        #expect(await inbox.work() == true)
        #expect(listener.heard.withLockedValue { $0 } == ["began", "ended"])
    }

    @Test func aReceiverThatWantsNoMoreIsToldTheEndOnly() async {
        let (listener, counts) = (Listener(last: "2"), Counts())
        let inbox = inbox(listener, counts)
        for text in ["1", "2", "3"] { inbox.add(.text(text)) }
        #expect(await inbox.work() == true)
        #expect(listener.heard.withLockedValue { $0 } == ["began", "1", "2", "ended"])
    }

    @Test(arguments: [(64, 1), (2, 1 << 20)]) func aFullOneHoldsTheReaderBack(_ count: Int, _ bytes: Int) async {
        let (listener, counts) = (Listener(), Counts())
        let inbox = inbox(listener, counts)
        for _ in 1..<count { inbox.add(.text(String(repeating: "a", count: bytes))) }
        #expect(inbox.hasRoom() == true)
        inbox.add(.text(String(repeating: "a", count: bytes)))
        #expect(inbox.hasRoom() == false)
        #expect(await inbox.work() == false)
        #expect(counts.resumes.withLockedValue { $0 } == 1)
        #expect(inbox.hasRoom() == true)
    }

    /// One thread for everything.
    private final class OneThread: TaskExecutor {
        private let queue = DispatchQueue(label: "one thread")

        func enqueue(_ job: consuming ExecutorJob) {
            let job = UnownedJob(job)
            queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
        }
    }

    /// Always has the next message there before one has been dealt with.
    private final class Flood: MessageReceiver {
        let inbox = NIOLockedValueBox<Inbox?>(nil)
        let count = NIOLockedValueBox(0)
        let hadTurn = NIOLockedValueBox(false)

        func began() async {}
        func ended() async {}

        func received(_ message: WebSocketPeer.Message) async -> Bool {
            let count = count.withLockedValue { count in
                count += 1
                return count
            }
            if count == 10_000 || hadTurn.withLockedValue({ $0 }) { return false }
            inbox.withLockedValue { $0 }?.add(message)
            return true
        }
    }

    @Test func aFloodLeavesTheThreadToOthers() async {
        let flood = Flood()
        let inbox = Inbox(flood, wake: { _ in }, resume: {})
        flood.inbox.withLockedValue { $0 = inbox }
        inbox.add(.text("x"))
        await withTaskExecutorPreference(OneThread()) {
            await withDiscardingTaskGroup { group in
                group.addTask { _ = await inbox.work() }
                group.addTask { flood.hadTurn.withLockedValue { $0 = true } }
            }
        }
        #expect(flood.count.withLockedValue { $0 } < 10_000)
    }
}

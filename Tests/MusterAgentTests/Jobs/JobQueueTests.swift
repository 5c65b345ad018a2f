import MusterAgent
import MusterWire
import Testing

/// A queue that can be changed within an expectation.
private final class Line {
    private var queue: JobQueue
    init(maximumRunning: Int, maximumWaiting: Int) { queue = JobQueue(maximumRunning: maximumRunning, maximumWaiting: maximumWaiting) }
    var running: Set<CommandID> { queue.running }
    func admit(_ id: CommandID) -> Bool { queue.admit(id) }
    func startNext() -> CommandID? { queue.startNext() }
    func pull(_ id: CommandID) -> Bool { queue.pull(id) }
    func remove(_ id: CommandID) { queue.remove(id) }
    func restore(_ id: CommandID, isStarted: Bool) { queue.restore(id, isStarted: isStarted) }
}

@Suite struct JobQueueTests {
    private let ids = (0..<12).map { _ in CommandID.random() }

    @Test func fiveRunFiveWaitAndTheEleventhIsRefused() {
        let queue = Line(maximumRunning: 5, maximumWaiting: 5)
        for id in ids[..<10] { #expect(queue.admit(id)) }
        #expect(!queue.admit(ids[10]))
        #expect(queue.admit(ids[0]), "known already")
        #expect((0..<6).compactMap { _ in queue.startNext() } == Array(ids[..<5]))
        #expect(!queue.admit(ids[10]))
        queue.remove(ids[2])
        #expect(queue.admit(ids[10]))
        #expect(queue.startNext() == ids[5])
        #expect(queue.startNext() == nil)
    }

    @Test func restoredJobsKeepTheirPlaces() {
        let queue = Line(maximumRunning: 1, maximumWaiting: 0)
        queue.restore(ids[0], isStarted: true)
        queue.restore(ids[1], isStarted: true)
        queue.restore(ids[2], isStarted: false)
        #expect(queue.running == Set(ids[..<2]))
        #expect(queue.startNext() == nil)
        #expect(!queue.admit(ids[3]))
        queue.remove(ids[0])
        queue.remove(ids[1])
        #expect(queue.startNext() == ids[2])
    }

    @Test func aWaitingJobCanBePulled() {
        let queue = Line(maximumRunning: 1, maximumWaiting: 2)
        _ = queue.admit(ids[0])
        _ = queue.admit(ids[1])
        _ = queue.startNext()
        #expect(queue.pull(ids[1]))
        #expect(!queue.pull(ids[1]))
        #expect(!queue.pull(ids[0]))
    }
}

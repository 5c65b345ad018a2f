import Testing

@testable import MusterController

private func machine(
    _ count: Int, concurrency: String = "50", errors: String = "0", startBy: Int64 = 60_000, deadline: Int64 = 120_000
) -> DispatchMachine {
    DispatchMachine(
        targets: Array(repeating: .init(generation: 1), count: count),
        maximumConcurrency: RateControl.Limit(concurrency)!, maximumErrors: RateControl.Limit(errors)!,
        startBy: startBy, deadline: deadline, at: 0)
}

extension DispatchMachine {
    fileprivate mutating func allConnected(at now: Int64 = 0) {
        for position in 0..<tally.targets { connected(position, generation: 1, at: now) }
    }

    /// Every target that is sent the job acknowledges it and reports at once, in turn.
    fileprivate mutating func runToEnd(at now: Int64 = 0, _ outcome: (Int) -> Outcome) -> [Int] {
        var sent: [Int] = []
        var waiting: [Int] = []
        while true {
            let jobs = takeActions(at: now).jobs
            sent += jobs
            waiting += jobs
            guard !waiting.isEmpty else { return sent }
            let position = waiting.removeFirst()
            acknowledged(position, .accepted, at: now)
            finished(position, outcome(position))
        }
    }

    fileprivate func count(_ status: InvocationState) -> Int { tally[status] }
}

@Suite struct DispatchMachineTests {
    // MARK: The oracle: targets × budget, one at a time, so that the place where it stops is exact

    static let sizes = [1, 3, 7, 50, 101]

    static let budgets: [(Int, String, Int)] = sizes.flatMap { (n: Int) -> [(Int, String, Int)] in
        let numbers: [(Int, String, Int)] = [0, 1, n - 1, n].map { (n, String($0), $0) }
        let percentages: [(Int, String, Int)] = [1, 9, 10, 50, 100].map { (n, "\($0)%", n * $0 / 100) }
        return numbers + percentages
    }

    @Test(arguments: budgets)
    func allFail(_ n: Int, _ errors: String, _ allowed: Int) {
        var machine = machine(n, concurrency: "1", errors: errors)
        machine.allConnected()
        let sent = machine.runToEnd { _ in .failed }
        let failed = min(n, allowed + 1)
        #expect(sent == Array(0..<failed))
        #expect(machine.count(.failed) == failed)
        #expect(machine.count(.terminated) == n - failed)
        let status: CommandState = allowed >= n ? .incomplete : .failed
        #expect(
            machine.progress
                == CommandProgress(status: status, targetCount: n, completedCount: n, errorCount: failed, deliveryTimedOutCount: 0))
        #expect(machine.isIdle(at: 0))
    }

    @Test(arguments: budgets)
    func lastOnesFail(_ n: Int, _ errors: String, _ allowed: Int) {
        var machine = machine(n, concurrency: "1", errors: errors)
        machine.allConnected()
        let bad = min(n, allowed + 1)
        let sent = machine.runToEnd { $0 >= n - bad ? .timedOut : .success }
        #expect(sent.count == n)
        #expect(machine.count(.executionTimedOut) == bad)
        #expect(machine.count(.terminated) == 0)
        #expect(machine.progress.status == (bad > allowed ? .executionTimedOut : .incomplete))
    }

    @Test(arguments: sizes, ["1", "2", "10%", "50", "100%"])
    func allSucceed(_ n: Int, _ concurrency: String) {
        var machine = machine(n, concurrency: concurrency)
        machine.allConnected()
        #expect(machine.runToEnd { _ in .success } == Array(0..<n))
        #expect(machine.progress.status == .success)
        #expect(machine.progress.completedCount == n)
    }

    @Test(arguments: sizes)
    func cancelledByTheNodesDoesNotSpendTheBudget(_ n: Int) {
        var machine = machine(n, concurrency: "1")
        machine.allConnected()
        #expect(machine.runToEnd { _ in .cancelled }.count == n)
        #expect(machine.progress.errorCount == 0)
        #expect(machine.progress.status == .cancelled)
    }

    // MARK: Ramp

    @Test func oneFirstThenTwiceAsMany() {
        var machine = machine(50, concurrency: "10")
        machine.allConnected()
        var rounds: [Int] = []
        for _ in 0..<5 {
            let jobs = machine.takeActions(at: 0).jobs
            rounds.append(jobs.count)
            for position in jobs { machine.acknowledged(position, .accepted, at: 0) }
        }
        // Acknowledged targets stay in flight: 1, 2, 4, 8, 10.
        #expect(rounds == [1, 1, 1, 1, 1])
        #expect(machine.rate.inFlight == 5)
    }

    @Test func rowsComeBeforeFrames() {
        var machine = machine(2)
        machine.allConnected()
        let actions = machine.takeActions(at: 0)
        #expect(actions.updates == [.init(target: 0, status: .inProgress, reason: nil)])
        #expect(actions.jobs == [0])
        #expect(actions.command?.status == .inProgress)
        #expect(machine.takeActions(at: 0).isEmpty)
    }

    @Test func aSilentNodeDoesNotHoldUpTheRamp() {
        var machine = machine(3, concurrency: "2")
        machine.allConnected()
        #expect(machine.takeActions(at: 0).jobs == [0])
        machine.timeReached(at: 3_000)
        #expect(machine.takeActions(at: 3_000).jobs == [0, 1])
        #expect(machine.status(of: 0) == .inProgressDelayed)
        #expect(machine.rate.inFlight == 2)
    }

    // MARK: Nodes that come and go

    @Test func unconnectedFirstTargetDoesNotHoldUpTheOthers() {
        var machine = machine(3, concurrency: "1")
        machine.connected(1, generation: 1, at: 0)
        machine.connected(2, generation: 1, at: 0)
        #expect(machine.runToEnd { _ in .success } == [1, 2])
        #expect(machine.status(of: 0) == .pending)
        machine.connected(0, generation: 1, at: 59_999)
        #expect(machine.runToEnd(at: 59_999) { _ in .success } == [0])
        #expect(machine.progress.status == .success)
    }

    @Test func nothingIsSentFromTheStartByTimeOn() {
        var machine = machine(2, concurrency: "1")
        machine.connected(0, generation: 1, at: 0)
        #expect(machine.takeActions(at: 0).jobs == [0])
        machine.timeReached(at: 60_000)
        #expect(machine.status(of: 1) == .deliveryTimedOut)
        machine.connected(1, generation: 1, at: 60_000)
        machine.finished(0, .success)
        let actions = machine.takeActions(at: 60_000)
        #expect(actions.jobs.isEmpty)
        #expect(machine.progress.deliveryTimedOutCount == 1)
        #expect(machine.progress.status == .deliveryTimedOut)
    }

    @Test func sentAndNotAcknowledgedIsSentAgainToTheSameNodeAndNeverTerminated() {
        var machine = machine(2, concurrency: "2", errors: "0")
        machine.allConnected()
        #expect(machine.takeActions(at: 0).jobs == [0])
        machine.acknowledged(0, .accepted, at: 0)
        #expect(machine.takeActions(at: 0).jobs == [1])
        machine.disconnected(1)
        machine.finished(0, .failed)
        #expect(machine.takeActions(at: 1).jobs.isEmpty)
        #expect(machine.status(of: 1) == .inProgressDelayed)
        machine.connected(1, generation: 1, at: 2)
        #expect(machine.takeActions(at: 2).jobs == [1])
        machine.acknowledged(1, .accepted, at: 3)
        #expect(machine.takeActions(at: 3).updates == [.init(target: 1, status: .inProgress, reason: nil)])
        machine.finished(1, .success)
        #expect(machine.progress.status == .failed)
    }

    @Test func repeatsAreSpacedAndBounded() {
        var machine = machine(1, startBy: 1_000_000, deadline: 2_000_000)
        machine.allConnected()
        var times: [Int64] = []
        var now: Int64 = 0
        while now < 400_000 {
            if !machine.takeActions(at: now).jobs.isEmpty { times.append(now) }
            guard let next = machine.nextDeadline else { break }
            now = next
            machine.timeReached(at: now)
        }
        #expect(times == [0, 3_000, 9_000, 21_000, 45_000, 93_000, 153_000, 213_000, 273_000, 333_000, 393_000])
    }

    @Test func anotherGenerationInheritsNothing() {
        var machine = machine(2)
        machine.allConnected()
        #expect(machine.takeActions(at: 0).jobs == [0])
        machine.connected(1, generation: 0, at: 0)
        #expect(machine.status(of: 1) == .pending)
        machine.connected(0, generation: 2, at: 0)
        #expect(machine.status(of: 0) == .undeliverable)
        #expect(machine.reason(of: 0) == .identityReplaced)
        #expect(machine.progress.errorCount == 0)
    }

    @Test func deregisteredIsUndeliverable() {
        var machine = machine(2, concurrency: "1")
        machine.allConnected()
        #expect(machine.takeActions(at: 0).jobs == [0])
        machine.deregistered(0)
        machine.deregistered(1)
        #expect(machine.takeActions(at: 0).jobs.isEmpty)
        #expect(machine.progress.status == .failed)
        #expect(machine.progress.errorCount == 0)
    }

    // MARK: Answers of the agent

    @Test func aFullBufferFreesTheSlotAndIsTriedAgain() {
        var machine = machine(2, concurrency: "1")
        machine.allConnected()
        #expect(machine.takeActions(at: 0).jobs == [0])
        machine.acknowledged(0, .noRoom, at: 0)
        var actions = machine.takeActions(at: 0)
        #expect(actions.jobs == [1])
        #expect(actions.updates.first == .init(target: 0, status: .delayed, reason: nil))
        machine.finished(1, .success)
        #expect(machine.takeActions(at: 0).jobs.isEmpty)
        machine.timeReached(at: 3_000)
        actions = machine.takeActions(at: 3_000)
        #expect(actions.jobs == [0])
        machine.finished(0, .success)
        #expect(machine.progress.errorCount == 0)
        #expect(machine.progress.status == .success)
    }

    @Test func aFullBufferProvesSomethingOnlyWhenEveryFrameWasTurnedAway() {
        var machine = machine(2, concurrency: "1")
        machine.allConnected()
        _ = machine.takeActions(at: 0)
        machine.timeReached(at: 3_000)
        #expect(machine.takeActions(at: 3_000).jobs == [0])
        machine.acknowledged(0, .noRoom, at: 3_000)
        #expect(machine.takeActions(at: 3_000).jobs.isEmpty)
        #expect(machine.status(of: 0) == .inProgressDelayed)
        machine.acknowledged(0, .noRoom, at: 3_000)
        #expect(machine.takeActions(at: 3_000).jobs == [1])
        #expect(machine.status(of: 0) == .delayed)
    }

    @Test func refusedJobFails() {
        var machine = machine(2, concurrency: "1")
        machine.allConnected()
        _ = machine.takeActions(at: 0)
        machine.acknowledged(0, .refused(code: "51408"), at: 0)
        #expect(machine.status(of: 0) == .failed)
        #expect(machine.status(of: 1) == .terminated)
        #expect(machine.progress.status == .failed)
    }

    @Test func aFrameThatNoConnectionTookFreesTheSlot() {
        var machine = machine(2, concurrency: "1")
        machine.allConnected()
        #expect(machine.takeActions(at: 0).jobs == [0])
        machine.sendFailed(0, at: 0)
        #expect(machine.takeActions(at: 0).jobs == [1])
        machine.disconnected(0)
        machine.connected(0, generation: 1, at: 10)
        machine.finished(1, .success)
        #expect(machine.takeActions(at: 10).jobs == [0])
    }

    @Test func duplicatesAndReorderingChangeNothing() {
        var machine = machine(1)
        machine.allConnected()
        _ = machine.takeActions(at: 0)
        machine.finished(0, .success)
        _ = machine.takeActions(at: 0)
        machine.finished(0, .failed)
        machine.progressed(0)
        machine.acknowledged(0, .accepted, at: 1)
        machine.acknowledged(0, .noRoom, at: 1)
        machine.acknowledged(0, .refused(code: "51408"), at: 1)
        machine.connected(0, generation: 1, at: 1)
        machine.cancel(nil, at: 1)
        #expect(machine.takeActions(at: 1).isEmpty)
        #expect(machine.progress.status == .success)
    }

    @Test func eventsForTargetsThatDoNotExistAreIgnored() {
        var machine = machine(1)
        for position in [-1, 1, 9] {
            machine.connected(position, generation: 1, at: 0)
            machine.disconnected(position)
            machine.sendFailed(position, at: 0)
            machine.acknowledged(position, .accepted, at: 0)
            machine.progressed(position)
            machine.finished(position, .success)
            machine.cancel([position], at: 0)
            machine.cancelAcknowledged(position)
            machine.deregistered(position)
        }
        #expect(machine.progress.status == .pending)
    }

    @Test func lateFailuresAfterTheBudgetIsSpentAreCounted() {
        var machine = machine(10, concurrency: "4", errors: "1")
        machine.allConnected()
        var flying: [Int] = []
        for _ in 0..<4 {
            for position in machine.takeActions(at: 0).jobs {
                machine.acknowledged(position, .accepted, at: 0)
                flying.append(position)
            }
        }
        #expect(flying.count == 4)
        machine.finished(0, .failed)
        machine.finished(1, .failed)
        #expect(machine.takeActions(at: 0).jobs.isEmpty)
        #expect(machine.count(.terminated) == 6)
        machine.finished(2, .failed)
        machine.finished(3, .success)
        #expect(
            machine.progress
                == CommandProgress(status: .failed, targetCount: 10, completedCount: 10, errorCount: 3, deliveryTimedOutCount: 0))
    }

    // MARK: Cancelling

    @Test func cancelEndsWaitingOnesAndAsksTheOthers() {
        var machine = machine(3, concurrency: "1")
        machine.allConnected()
        _ = machine.takeActions(at: 0)
        machine.acknowledged(0, .accepted, at: 0)
        machine.cancel(nil, at: 10)
        var actions = machine.takeActions(at: 10)
        #expect(actions.cancellations == [0])
        #expect(actions.jobs.isEmpty)
        #expect(actions.command?.status == .cancelling)
        #expect(machine.count(.cancelled) == 2)
        machine.timeReached(at: 3_010)
        #expect(machine.takeActions(at: 3_010).cancellations == [0])
        machine.cancelAcknowledged(0)
        machine.timeReached(at: 9_010)
        #expect(machine.takeActions(at: 9_010).cancellations.isEmpty)
        machine.finished(0, .cancelled)
        actions = machine.takeActions(at: 9_011)
        #expect(actions.command?.status == .cancelled)
    }

    @Test func aRealResultWinsOverCancelling() {
        var machine = machine(1)
        machine.allConnected()
        _ = machine.takeActions(at: 0)
        machine.cancel(nil, at: 0)
        machine.finished(0, .failed)
        #expect(machine.status(of: 0) == .failed)
        #expect(machine.progress.status == .failed)
    }

    @Test func aCancellationThatNobodyConfirmsEndsInWords() {
        var machine = machine(1)
        machine.allConnected()
        _ = machine.takeActions(at: 0)
        machine.disconnected(0)
        machine.cancel(nil, at: 100)
        #expect(machine.takeActions(at: 100).cancellations.isEmpty)
        machine.timeReached(at: 60_100)
        #expect(machine.reason(of: 0) == .outcomeUnknown)
        #expect(machine.isFinished)
        // Should the node come back while the job may still run, it is told to stop.
        #expect(!machine.isIdle(at: 60_100))
        #expect(
            machine.takeActions(at: 60_100).updates
                == [.init(target: 0, status: .cancelled, reason: .outcomeUnknown, isStray: true)])
        machine.connected(0, generation: 1, at: 70_000)
        #expect(machine.takeActions(at: 70_000).cancellations == [0])
        machine.cancelAcknowledged(0)
        #expect(machine.isIdle(at: 70_001))
    }

    @Test func aStrayIsRememberedByItsRow() {
        var machine = DispatchMachine(
            targets: [.init(generation: 1, status: .cancelled, isStray: true)], maximumConcurrency: .number(1), maximumErrors: .number(0),
            startBy: 60_000, deadline: 120_000, isCancelRequested: true, at: 70_000)
        #expect(machine.isFinished && !machine.isIdle(at: 70_000))
        #expect(machine.takeActions(at: 70_000).cancellations.isEmpty)
        machine.connected(0, generation: 1, at: 80_000)
        #expect(machine.takeActions(at: 80_000).cancellations == [0])
        machine.timeReached(at: 83_000)
        #expect(machine.takeActions(at: 83_000).cancellations == [0])
        machine.cancelAcknowledged(0)
        #expect(machine.takeActions(at: 83_001).updates.isEmpty)
        #expect(machine.isIdle(at: 83_001))
    }

    @Test func cancelOfOneNodeLeavesTheOthers() {
        var machine = machine(3, concurrency: "1")
        machine.allConnected()
        #expect(machine.takeActions(at: 0).jobs == [0])
        machine.cancel([1], at: 0)
        #expect(machine.status(of: 1) == .cancelled)
        #expect(machine.runToEnd { _ in .success } == [])
        machine.finished(0, .success)
        #expect(machine.runToEnd { _ in .success } == [2])
        #expect(machine.progress.status == .incomplete)
    }

    @Test func cancelBeforeTheFrameIsOutNeverSends() {
        var machine = machine(1)
        machine.allConnected()
        machine.cancel(nil, at: 0)
        let actions = machine.takeActions(at: 0)
        #expect(actions.jobs.isEmpty && actions.cancellations.isEmpty)
        #expect(actions.command?.status == .cancelled)
    }

    // MARK: Deadlines

    @Test func everythingOpenEndsAtTheTotalTimeout() {
        var machine = machine(2, concurrency: "2")
        machine.allConnected()
        _ = machine.takeActions(at: 0)
        machine.acknowledged(0, .accepted, at: 0)
        _ = machine.takeActions(at: 0)
        machine.timeReached(at: 120_000)
        let actions = machine.takeActions(at: 120_000)
        #expect(actions.cancellations == [0, 1])
        #expect(machine.count(.deliveryTimedOut) == 2)
        #expect(machine.progress.status == .deliveryTimedOut)
        #expect(machine.isIdle(at: 120_000))
        machine.finished(0, .success)
        #expect(machine.status(of: 0) == .deliveryTimedOut)
    }

    @Test func noTargets() {
        var machine = machine(0)
        #expect(machine.takeActions(at: 0).command?.status == .noInstancesInTag)
        #expect(machine.isIdle(at: 0))
        #expect(machine.nextDeadline == nil)
    }

    // MARK: Restart

    @Test func rowsAreEnoughToGoOn() {
        var machine = DispatchMachine(
            targets: [
                .init(generation: 1, status: .success), .init(generation: 1, status: .inProgress),
                .init(generation: 1, status: .cancelling), .init(generation: 1, status: .delayed), .init(generation: 1, status: .pending),
            ],
            maximumConcurrency: .number(3), maximumErrors: .number(0), startBy: 60_000, deadline: 120_000, at: 1_000)
        #expect(machine.rate.inFlight == 2)
        machine.allConnected(at: 1_000)
        let actions = machine.takeActions(at: 1_000)
        // The ramp has one proof, and both places are taken by those that may have it.
        #expect(actions.jobs == [1])
        #expect(actions.cancellations == [2])
        machine.finished(1, .failed)
        #expect(machine.status(of: 3) == .terminated)
        #expect(machine.status(of: 4) == .terminated)
    }

    @Test func aSpentBudgetIsStillSpentAfterARestart() {
        var machine = DispatchMachine(
            targets: [.init(generation: 1, status: .failed), .init(generation: 1, status: .pending)],
            maximumConcurrency: .number(3), maximumErrors: .number(0), startBy: 60_000, deadline: 120_000, at: 1_000)
        machine.connected(1, generation: 1, at: 1_000)
        let actions = machine.takeActions(at: 1_000)
        #expect(actions.jobs.isEmpty)
        #expect(actions.updates == [.init(target: 1, status: .terminated, reason: .budgetSpent)])
        #expect(actions.command?.status == .failed)
    }

    // MARK: Size

    @Test func tenThousandTargets() {
        var machine = machine(10_000, concurrency: "100%")
        machine.allConnected()
        let clock = ContinuousClock()
        let took = clock.measure {
            var rounds = 0
            var jobs = machine.takeActions(at: 0).jobs
            while !jobs.isEmpty {
                for position in jobs {
                    machine.acknowledged(position, .accepted, at: 0)
                    machine.finished(position, .success)
                }
                jobs = machine.takeActions(at: 0).jobs
                rounds += 1
            }
            #expect(rounds == 14)
        }
        #expect(machine.progress.status == .success)
        #expect(took < .seconds(5))
    }
}

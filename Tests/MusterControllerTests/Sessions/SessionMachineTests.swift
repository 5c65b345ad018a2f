import MusterWire
import NIOCore
import Testing

@testable import MusterController

@Suite struct SessionMachineTests {
    static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    /// A machine and a clock that only the test moves.
    struct Run {
        var machine: SessionMachine
        var now = SessionMachineTests.start

        init(idleMinutes: Int = 20, maximumMinutes: Int? = nil) {
            machine = SessionMachine(timing: .init(idleMinutes: idleMinutes, maximumMinutes: maximumMinutes), now: now)
        }

        mutating func on(_ events: SessionMachine.Event..., after seconds: Int64 = 0) -> [SessionMachine.Action] {
            now = now + .seconds(seconds)
            return events.flatMap { machine.handle($0, now: now) }
        }

        /// Time alone.
        mutating func wait(_ seconds: Int64, activity: NIODeadline = SessionMachineTests.start) -> [SessionMachine.Action] {
            on(.timePassed(lastActivity: activity), after: seconds)
        }

        static var running: Run {
            var run = Run()
            _ = run.on(.clientOpened, .agentOpened)
            return run
        }
    }

    @Test func theAgentIsOrderedWhenTheClientIsThere() {
        var run = Run()
        #expect(run.machine.status == .connecting)
        #expect(run.on(.clientOpened) == [.order])
        #expect(run.on(.clientOpened) == [])
        #expect(run.machine.status == .connecting)
        #expect(run.on(.agentOpened) == [])
        #expect(run.machine.status == .connected)
    }

    @Test func anOrderMayHaveBeenLostWithAControlChannel() {
        var run = Run()
        #expect(run.on(.nodeConnected) == [])
        _ = run.on(.clientOpened)
        #expect(run.on(.nodeConnected) == [.order])
        _ = run.on(.agentOpened)
        #expect(run.on(.nodeConnected) == [])
    }

    @Test func whoNeverComesFailsIt() {
        var run = Run()
        #expect(run.wait(59) == [])
        let words = "No client opened the session within 60 seconds."
        #expect(run.wait(1) == [.closeClient(words), .finish(.init(.failed, words))])
        var second = Run()
        _ = second.on(.clientOpened)
        #expect(second.wait(19) == [])
        let late = "The host did not open the session within 20 seconds."
        #expect(second.wait(1) == [.closeAgent, .closeClient(late), .finish(.init(.failed, late))])
        #expect(second.machine.status == .failed)
    }

    @Test func theOtherSideIsPausedWhileOneIsAway() {
        var run = Run.running
        #expect(run.on(.clientLost) == [.pause(.agent)])
        #expect(run.machine.status == .disconnected)
        #expect(run.on(.clientLost) == [])
        #expect(run.on(.clientOpened, after: 119) == [.resume(.agent)])
        #expect(run.machine.status == .connected)
        #expect(run.on(.agentLost) == [.pause(.client)])
        #expect(run.on(.agentOpened, after: 119) == [.resume(.client)])
        // Both at once, as when the controller's link was cut.
        #expect(run.on(.agentLost, .clientLost) == [.pause(.client)])
        #expect(run.on(.agentOpened) == [.pause(.agent)])
        #expect(run.on(.clientOpened) == [.resume(.agent)])
    }

    @Test func aClientThatStaysAwayEndsIt() {
        var run = Run.running
        _ = run.on(.clientLost)
        #expect(run.wait(119) == [])
        let words = "The client was away for 120 seconds."
        #expect(run.wait(1) == [.closeClient(words), .closeAgent])
        #expect(run.machine.status == .terminating)
        #expect(run.on(.agentCompleted(isFailure: false, output: "")) == [.finish(.init(.terminated, words))])
    }

    @Test func aHostThatStaysAwayEndsItWithoutConfirmation() {
        var run = Run.running
        _ = run.on(.agentLost)
        let words = "The host was out of reach for 120 seconds."
        #expect(run.wait(120) == [.closeAgent, .closeClient(words), .finish(.init(.terminated, words))])
    }

    @Test func theShellsEndIsNotAnError() {
        var run = Run.running
        #expect(run.on(.agentEnding) == [.closeClient("")])
        #expect(run.on(.clientLost, .agentLost) == [])
        #expect(run.on(.agentCompleted(isFailure: false, output: "")) == [.finish(.init(.terminated, ""))])
        #expect(run.on(.agentCompleted(isFailure: false, output: "")) == [])
    }

    @Test func aPortSessionEndsWithItsResultAlone() {
        var run = Run.running
        #expect(
            run.on(.agentCompleted(isFailure: true, output: "refused")) == [
                .closeClient("refused"), .finish(.init(.terminated, "refused")),
            ])
        var early = Run()
        _ = early.on(.clientOpened)
        #expect(
            early.on(.agentCompleted(isFailure: true, output: "no user"))
                == [.closeClient("no user"), .finish(.init(.failed, "no user"))])
    }

    @Test func terminationWaitsForTheHostButNotForLong() {
        var run = Run.running
        #expect(run.on(.terminateRequested("by jane")) == [.closeClient("by jane"), .closeAgent])
        #expect(run.on(.terminateRequested("again")) == [])
        // The channel was broken when it was told: told again.
        #expect(run.on(.nodeConnected) == [.closeAgent])
        #expect(run.on(.agentLost, .agentOpened) == [.closeAgent])
        #expect(run.wait(9) == [])
        #expect(run.wait(1) == [.closeAgent, .finish(.init(.terminated, "by jane"))])
        // Nobody is there: nobody to wait for.
        var early = Run()
        #expect(early.on(.terminateRequested("by jane")) == [.closeClient("by jane"), .finish(.init(.terminated, "by jane"))])
    }

    @Test func onlyInputAndOutputKeepItAlive() {
        var run = Run(idleMinutes: 1)
        _ = run.on(.clientOpened, .agentOpened)
        #expect(run.machine.deadline == Self.start + .minutes(1))
        #expect(run.wait(60, activity: Self.start + .seconds(30)) == [])
        #expect(run.machine.deadline == Self.start + .seconds(90))
        #expect(run.wait(29, activity: Self.start + .seconds(30)) == [])
        let words = "The session ended because it was idle for 1 minutes."
        #expect(run.wait(1, activity: Self.start + .seconds(30)) == [.closeClient(words), .closeAgent])
    }

    @Test func theMaximumCountsFromTheStart() {
        var run = Run(maximumMinutes: 2)
        _ = run.on(.clientOpened, after: 50)
        _ = run.on(.agentOpened)
        #expect(run.wait(69, activity: run.now) == [])
        let words = "The session reached its maximum duration of 2 minutes."
        #expect(run.wait(1, activity: run.now) == [.closeClient(words), .closeAgent])
    }

    @Test func aDeregisteredNodeIsNotWaitedFor() {
        var run = Run.running
        let words = "The node has been deregistered."
        #expect(run.on(.nodeDeregistered) == [.closeClient(words), .finish(.init(.terminated, words))])
        var ending = Run.running
        _ = ending.on(.terminateRequested("by jane"))
        #expect(ending.on(.nodeDeregistered) == [.finish(.init(.terminated, "by jane"))])
    }

    @Test func aRestartedControllerWaitsForBoth() {
        func restored(_ status: SessionStatus, isOrdered: Bool, age: Int64 = 5) -> SessionMachine {
            SessionMachine(
                restored: status, isOrdered: isOrdered, reason: "by jane", age: .seconds(age),
                timing: .init(idleMinutes: 20, maximumMinutes: 60), now: Self.start)
        }
        #expect(restored(.connecting, isOrdered: false).deadline == Self.start + .seconds(55))
        #expect(restored(.connecting, isOrdered: true).deadline == Self.start + .seconds(20))
        #expect(restored(.connected, isOrdered: true).status == .disconnected)
        #expect(restored(.disconnected, isOrdered: true).deadline == Self.start + .seconds(120))
        #expect(restored(.connected, isOrdered: true, age: 3_600).deadline == Self.start)
        var machine = restored(.connected, isOrdered: true)
        #expect(machine.handle(.agentOpened, now: Self.start) == [.pause(.agent)])
        #expect(machine.handle(.clientOpened, now: Self.start) == [.resume(.agent)])
        #expect(machine.status == .connected)
        var terminating = restored(.terminating, isOrdered: true)
        #expect(terminating.handle(.nodeConnected, now: Self.start) == [.closeAgent])
        #expect(
            terminating.handle(.agentCompleted(isFailure: false, output: ""), now: Self.start) == [.finish(.init(.terminated, "by jane"))])
    }

    /// Every sequence of three events in every order, then nothing but time: it always ends, and only once.
    @Test func nothingIsEverStuck() {
        let events: [SessionMachine.Event] = [
            .clientOpened, .clientLost, .agentOpened, .agentLost, .nodeConnected, .agentEnding,
            .agentCompleted(isFailure: false, output: ""), .agentCompleted(isFailure: true, output: "no"), .terminateRequested("by jane"),
            .recordingFailed("disk full"), .nodeDeregistered, .timePassed(lastActivity: Self.start),
        ]
        func finishes(_ actions: [SessionMachine.Action]) -> Int {
            actions.filter { if case .finish = $0 { true } else { false } }.count
        }
        for first in events {
            for second in events {
                for third in events {
                    for fourth in events {
                        var run = Run()
                        var count = finishes(run.on(first, second, third, fourth, after: 1))
                        var rounds = 0
                        while let deadline = run.machine.deadline {
                            run.now = max(run.now, deadline)
                            count += finishes(run.on(.timePassed(lastActivity: Self.start)))
                            rounds += 1
                            #expect(rounds < 5)
                            guard rounds < 5 else { return }
                        }
                        #expect(run.machine.isOver && run.machine.status.isOver)
                        #expect(count == 1, "\(first) \(second) \(third) \(fourth)")
                        for event in events { #expect(run.on(event) == []) }
                    }
                }
            }
        }
    }
}

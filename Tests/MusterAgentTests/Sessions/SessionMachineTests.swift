import Testing

@testable import MusterAgent

@Suite struct SessionMachineTests {
    let done = SessionResult(exitCode: 3)

    @Test func aShellBeginsWithItsConnection() {
        var machine = SessionMachine(shakesHands: false)
        #expect(machine.connected() == .startWork)
        #expect(machine.takesInput)
        // The connection came back.
        #expect(machine.connected() == .none)
        #expect(machine.workEnded(done) == .drain(done))
        #expect(!machine.takesInput)
        #expect(machine.drained() == .finish(done))
        #expect(machine.isOver)
        #expect(machine.drained() == .none)
    }

    /// A stock client learns from it what it is connected to; one that does not answer is served all the same.
    @Test func aShellsHandshakeMayBeLeftOut() {
        var machine = SessionMachine(shakesHands: true, isHandshakeNeeded: false)
        #expect(machine.connected() == .requestHandshake)
        #expect(machine.handshakeSkipped() == .startWork && machine.takesInput)
        #expect(machine.handshakeAnswered(refusal: nil) == .none)
        machine = SessionMachine(shakesHands: true, isHandshakeNeeded: false)
        _ = machine.connected()
        #expect(machine.handshakeTimedOut() == .startWork)
        machine = SessionMachine(shakesHands: true, isHandshakeNeeded: false)
        _ = machine.connected()
        #expect(machine.handshakeAnswered(refusal: nil) == .completeHandshake)
        var port = SessionMachine(shakesHands: true)
        _ = port.connected()
        #expect(port.handshakeSkipped() == .none && port.awaitsHandshake)
    }

    @Test func aPortBeginsWithItsHandshake() {
        var machine = SessionMachine(shakesHands: true)
        #expect(machine.connected() == .requestHandshake)
        #expect(machine.awaitsHandshake && !machine.takesInput)
        #expect(machine.connected() == .none)
        #expect(machine.handshakeAnswered(refusal: nil) == .completeHandshake)
        #expect(machine.handshakeTimedOut() == .none)
        #expect(machine.handshakeAnswered(refusal: "late") == .none)
    }

    @Test func aClientThatCannotOrDoesNot() {
        var refused = SessionMachine(shakesHands: true)
        _ = refused.connected()
        #expect(refused.handshakeAnswered(refusal: "no") == .abandon(.failed("no")))
        var silent = SessionMachine(shakesHands: true)
        _ = silent.connected()
        guard case .abandon(let result) = silent.handshakeTimedOut() else { return #expect(Bool(false)) }
        #expect(!result.isSuccess && silent.isOver)
    }

    @Test func closedFromEverywhereOnceOnly() {
        for prepare: (inout SessionMachine) -> Void in [{ _ in }, { _ = $0.connected() }] {
            var machine = SessionMachine(shakesHands: false)
            prepare(&machine)
            #expect(machine.closed() == .abandon(SessionResult()))
            #expect(machine.closed() == .none)
            #expect(machine.workEnded(done) == .none)
            #expect(machine.gone("away") == .none)
        }
    }

    @Test func whatHadEndedBeforeItWasClosedKeepsItsResult() {
        var machine = SessionMachine(shakesHands: false)
        _ = machine.connected()
        _ = machine.workEnded(done)
        #expect(machine.closed() == .abandon(done))
        var lost = SessionMachine(shakesHands: false)
        _ = lost.connected()
        #expect(lost.gone("away") == .abandon(.failed("away")))
    }
}

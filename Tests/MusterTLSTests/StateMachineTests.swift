import Testing

@testable import MusterTLS

@Suite("TLSStateMachine")
struct StateMachineTests {
    private func open() -> TLSStateMachine {
        var machine = TLSStateMachine()
        _ = machine.connected()
        _ = machine.handshakeCompleted()
        return machine
    }

    @Test("connected, handshake, data, close")
    func life() {
        var machine = TLSStateMachine()
        #expect(machine.writeRequested() == .hold)
        #expect(machine.ciphertextReceived() == .none)
        #expect(machine.connected() == .handshake)
        #expect(machine.connected() == .none)  // the same news twice changes nothing
        #expect(machine.ciphertextReceived() == .handshake)
        #expect(machine.writeRequested() == .hold)
        #expect(machine.handshakeCompleted() == .announceHandshake)
        #expect(machine.handshakeCompleted() == .none)
        #expect(machine.ciphertextReceived() == .decrypt)
        #expect(machine.writeRequested() == .encrypt)
        #expect(machine.closeRequested() == .closeGracefully)
        #expect(machine.closeRequested() == .none)
        #expect(machine.ciphertextReceived() == .none)
        #expect(machine.writeRequested() == .refuse)
        #expect(machine.inputEnded() == .none)
    }

    @Test("the peer's close_notify closes; its absence is reported, once")
    func peerCloses() {
        var machine = open()
        #expect(machine.closeNotifyReceived() == .closeGracefully)
        #expect(machine.inputEnded() == .none)
        machine = open()
        #expect(machine.inputEnded() == .reportTruncation)
        #expect(machine.inputEnded() == .none)
        #expect(machine.closeNotifyReceived() == .none)
        machine = TLSStateMachine()
        _ = machine.connected()
        #expect(machine.inputEnded() == .reportInterruptedHandshake)
        #expect(machine.handshakeCompleted() == .none)
    }

    @Test("after our output ended, input goes on")
    func halfClosed() {
        var machine = open()
        #expect(machine.outputCloseRequested() == .closeOutput)
        #expect(machine.outputCloseRequested() == .none)
        #expect(machine.writeRequested() == .refuse)
        #expect(machine.ciphertextReceived() == .decrypt)
        #expect(machine.closeNotifyReceived() == .closeGracefully)
        machine = open()
        _ = machine.outputCloseRequested()
        #expect(machine.inputEnded() == .reportTruncation)
    }

    @Test("closing before the handshake ends just closes; a failure is news once")
    func early() {
        var machine = TLSStateMachine()
        #expect(machine.closeRequested() == .close)
        machine = TLSStateMachine()
        _ = machine.connected()
        #expect(machine.closeRequested() == .close)
        #expect(machine.ciphertextReceived() == .none)
        machine = open()
        #expect(machine.failed() == true)
        #expect(machine.failed() == false)
        #expect(machine.inputEnded() == .none)
        #expect(machine.writeRequested() == .refuse)
    }
}

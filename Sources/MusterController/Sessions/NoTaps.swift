import MusterWire
struct NoTaps: SessionTaps {
    func begin(_ facts: SessionFacts) async throws -> any SessionTap { NoTap() }
    func resume(_ facts: SessionFacts) async throws -> any SessionTap { NoTap() }
    struct NoTap: SessionTap {
        func pass(_ frame: AgentMessage, from side: SessionSide) throws(RecordingFailure) {}
        func noted(_ note: SessionNote) {}
        func ended(_ reason: String) async {}
    }
}

import MusterAgent
import MusterDocuments
import MusterWire
import Testing

@Suite struct JobReplyTests {
    private let time = Timestamp(milliseconds: 1_700_000_000_123)

    private func item(_ name: String) throws -> Plan.Item {
        Plan.Item(name: try #require(StepName(name)), action: "aws:runShellScript", inputs: .object([:]))
    }

    private func outcome(_ out: String, _ err: String = "", code: Int = 0) -> StepOutcome {
        StepOutcome(
            StepResult(ending: .exited, exitCode: code, startedAt: 1000, endedAt: 2000), standardOutput: BoundedOutput.Head(out),
            standardError: BoundedOutput.Head(err))
    }

    private func builder() -> JobReply { JobReply(jobID: "aws.ssm.a.b", content: nil, agentVersion: "3.3.1.0", platformVersion: "12") }

    @Test func inProgressHasNoSteps() throws {
        let reply = try #require(builder().inProgress(at: time))
        #expect(reply.content.contains("\"runtimeStatus\":null"))
        #expect(reply.content.contains("\"documentStatus\":\"InProgress\""))
        #expect(reply.topic == "aws.ssm.sendCommand")
    }

    @Test func stepAndFinalReplies() throws {
        var builder = builder()
        let ended = outcome("hi\n", "bad\n", code: 3)
        builder.stepEnded(try item("one"), ended, PlanMachine.Ending(status: ended.status, code: ended.code))
        let step = try #require(builder.lastStep(at: time)).decodeContent()
        #expect(step.documentStatus == "InProgress")
        #expect(step.additionalInfo.runtimeStatusCounts == ["Failed": 1])
        let shown = try #require(step.runtimeStatus?["one"])
        #expect(shown.status == .failed)
        #expect(shown.code == 3)
        #expect(shown.standardError == "bad\nfailed to run commands: exit status 3")
        #expect(shown.output == "hi\n\n----------ERROR-------\nbad\nfailed to run commands: exit status 3")
        #expect(shown.startDateTime == "1970-01-01T00:00:01.000Z")
        let final = try #require(builder.final(.failed, at: time)).decodeContent()
        #expect(final.documentStatus == "Failed")
        #expect(final.runtimeStatus?.keys.sorted() == ["one"])
    }

    @Test func aNoticeReplacesTheOutput() throws {
        var builder = builder()
        builder.stepEnded(
            try item("one"), StepOutcome(status: .failed, code: 0, notice: "no such plugin", at: 1),
            PlanMachine.Ending(status: .failed, code: 0))
        let shown = try #require(builder.lastStep(at: time)?.decodeContent().runtimeStatus?["one"])
        #expect(shown.output == "no such plugin")
        #expect(shown.code == 1)
        // GetCommandInvocation shows the streams alone.
        #expect((shown.standardOutput, shown.standardError) == ("", "no such plugin"))
    }

    @Test func thatAStepWasSkippedIsNoError() throws {
        var builder = builder()
        builder.stepEnded(
            try item("one"), StepOutcome(status: .skipped, code: 0, notice: "Step skipped", at: 1),
            PlanMachine.Ending(status: .skipped, code: 0))
        let shown = try #require(builder.lastStep(at: time)?.decodeContent().runtimeStatus?["one"])
        #expect((shown.standardOutput, shown.standardError) == ("Step skipped", ""))
    }

    @Test(arguments: ["x", "\u{1}", "😀", "\"", "日"])
    func aReplyNeverExceedsItsBytes(_ piece: String) throws {
        let long = String(repeating: piece, count: 30_000)
        for count in [1, 2, 40] {
            var builder = builder()
            for index in 0..<count {
                builder.stepEnded(try item("s\(index)"), outcome(long, long), PlanMachine.Ending(status: .success, code: 0))
            }
            let reply = try #require(builder.final(.success, at: time))
            #expect(reply.content.utf8.count <= JobReply.maximumBytes)
            let steps = try #require(reply.decodeContent().runtimeStatus)
            #expect(steps.count == count)
            if count == 1 { #expect(steps["s0"]?.output.unicodeScalars.count == 2500) }
        }
    }
}

import FoundationEssentials
import NIOCore
import Testing

@testable import MusterWire

/// The JSON on the left is what the Go senders of amazon-ssm-agent 3.3 write, keys sorted.
@Suite struct JobsTests {
    private func text(_ value: some Encodable) throws -> String { String(decoding: try JSONCoding.encode(value), as: UTF8.self) }

    private func isGolden<T: Codable & Equatable>(_ json: String, _ value: T) throws {
        #expect(try text(value) == json)
        #expect(try JSONCoding.decode(T.self, from: Array(json.utf8)) == value)
    }

    @Test func openControlChannel() throws {
        try isGolden(
            #"{"AgentVersion":"1.0.0.0","ConnectionNumber":18446744073709551615,"IdentityGeneration":3,"MessageSchemaVersion":"1.0","PlatformType":"linux","RequestId":"r","TokenValue":""}"#,
            OpenControlChannel(requestID: "r", agentVersion: "1.0.0.0", connectionNumber: .max, identityGeneration: 3))
        let stock =
            #"{"Cookie":null,"MessageSchemaVersion":"1.0","RequestId":"r","TokenValue":"t","AgentVersion":"3.3.0.0","PlatformType":"linux"}"#
        let open = try JSONCoding.decode(OpenControlChannel.self, from: Array(stock.utf8))
        #expect(open.connectionNumber == nil && open.tokenValue == "t" && open.agentVersion == "3.3.0.0")
    }

    @Test func sendCommandJob() throws {
        let command = CommandID("0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11")!
        let job = JobID(command: command, node: NodeID("mi-0123456789abcdef0")!)
        let content = SendCommandContent(
            parameters: ["commands": .array([.string("a/b")])], documentContent: .object(["schemaVersion": .string("2.2")]),
            commandID: command.rawValue,
            documentName: "AWS-RunShellScript", startBy: 1_700_000_000_123, identityGeneration: 2, storeEpoch: "e", dispatchFence: 9)
        let frame = try AgentJob(content, jobID: job)
        #expect(
            frame.content
                == #"{"CloudWatchLogGroupName":"","CloudWatchOutputEnabled":"false","CommandId":"0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11","DispatchFence":9,"DocumentContent":{"schemaVersion":"2.2"},"DocumentName":"AWS-RunShellScript","IdentityGeneration":2,"OutputS3BucketName":"","OutputS3KeyPrefix":"","Parameters":{"commands":["a/b"]},"StartBy":1700000000123,"StoreEpoch":"e"}"#
        )
        #expect(frame.jobID == "aws.ssm.0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11.mi-0123456789abcdef0")
        #expect(
            JobTopic.isSendCommand(frame.topic) && JobTopic.isSendCommand("aws.ssm.sendCommand.us.east.1.1")
                && !JobTopic.isCancelCommand(frame.topic))
        #expect(try frame.decodeContent(SendCommandContent.self) == content)
        let message = try AgentMessage(.agentJob, createdDate: .now(), payload: frame)
        #expect(try message.decodePayload(AgentJob.self) == frame)
        try isGolden(#"{"Content":"{}","JobId":"j","SchemaVersion":1,"Topic":"t"}"#, AgentJob(content: "{}", jobID: "j", topic: "t"))
    }

    @Test func contentOfAnSSMControllerHasNoneOfOurMembers() throws {
        let json =
            #"{"Parameters":{},"DocumentContent":{},"CommandId":"c","DocumentName":"d","OutputS3BucketName":"","OutputS3KeyPrefix":"","CloudWatchLogGroupName":"","CloudWatchOutputEnabled":"false"}"#
        let content = try JSONCoding.decode(SendCommandContent.self, from: Array(json.utf8))
        #expect(content.startBy == nil && content.dispatchFence == nil && content.storeEpoch == nil && content.identityGeneration == nil)
    }

    @Test func cancel() throws {
        try isGolden(#"{"CancelMessageId":"aws.ssm.c.n"}"#, CancelCommandContent(cancelMessageID: "aws.ssm.c.n"))
    }

    @Test func acknowledges() throws {
        try isGolden(
            #"{"acknowledgedMessageId":"m","createdDate":"2023-11-14T22:13:20.123Z","errorMessage":"Successful","jobId":"j","statusCode":"200"}"#,
            AgentJobAcknowledge(
                jobID: "j", acknowledgedMessageID: "m", createdDate: Timestamp(milliseconds: 1_700_000_000_123), code: .accepted))
        try isGolden(#"{"acknowledgedMessageId":"m","jobId":"j"}"#, AgentJobReplyAcknowledge(jobID: "j", acknowledgedMessageID: "m"))
        #expect(Set(JobAcknowledgeCode.allCases.map(\.errorMessage)).count == JobAcknowledgeCode.allCases.count)
    }

    @Test func reply() throws {
        let json =
            #"{"additionalInfo":{"agent":{"lang":"en-US","name":"amazon-ssm-agent","os":"linux","osver":"1","ver":"3.3.0.0"},"dateTime":"2026-11-23T12:55:23.827Z","runId":"","runtimeStatusCounts":{"Success":1}},"documentStatus":"InProgress","documentTraceOutput":"","runtimeStatus":{"stepName":{"code":0,"endDateTime":"2026-11-23T12:55:23.827Z","name":"aws:runShellScript","output":"o","outputS3BucketName":"","outputS3KeyPrefix":"","standardError":"e","standardOutput":"s","startDateTime":"2026-11-23T12:55:23.779Z","status":"Success","stepName":""}}}"#
        let content = JobReplyContent(
            additionalInfo: .init(
                agent: .init(name: "amazon-ssm-agent", osver: "1", ver: "3.3.0.0"), dateTime: "2026-11-23T12:55:23.827Z",
                runtimeStatusCounts: ["Success": 1]),
            documentStatus: StepStatus.inProgress.rawValue,
            runtimeStatus: [
                "stepName": StepReply(
                    status: .success, code: 0, name: "aws:runShellScript", output: "o", startDateTime: "2026-11-23T12:55:23.779Z",
                    endDateTime: "2026-11-23T12:55:23.827Z", standardOutput: "s", standardError: "e")
            ])
        try isGolden(json, content)
        let reply = try AgentJobReply(content, jobID: "j")
        #expect(try reply.decodeContent() == content)
        #expect(try text(reply).hasPrefix(#"{"content":"{\"additionalInfo\""#))
    }

    @Test func firstReplyHasNullForItsSteps() throws {
        let content = JobReplyContent(
            additionalInfo: .init(agent: .init(osver: "", ver: ""), dateTime: "", runtimeStatusCounts: nil), documentStatus: "InProgress",
            runtimeStatus: nil)
        #expect(try text(content).hasSuffix(#""documentTraceOutput":"","runtimeStatus":null}"#))
        #expect(try JSONCoding.decode(JobReplyContent.self, from: JSONCoding.encode(content)) == content)
    }

    @Test func jobsDoNotPrintTheirContent() throws {
        let job = AgentJob(content: "password", jobID: "j", topic: "t")
        #expect(!"\(job) \([job]) \(String(reflecting: job))".contains("password"))
        var dumped = ""
        dump(job, to: &dumped)
        #expect(!dumped.contains("password"))
    }
}

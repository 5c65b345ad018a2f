import FoundationEssentials
import NIOCore
import Testing

@testable import MusterWire

/// The texts are those of protocol.md, which saw them on the wire; ours have their keys sorted.
@Suite struct SessionPayloadTests {
    private let session = SessionID("jane-0123456789abcdef0")!

    private func json(_ value: some Encodable) throws -> String { String(decoding: try JSONCoding.encode(value), as: UTF8.self) }

    private func read<T: Decodable>(_ type: T.Type, _ text: String) throws -> T { try JSONCoding.decode(type, from: Array(text.utf8)) }

    // MARK: The channel

    @Test func thePluginOpensAChannel() throws {
        let open = try read(
            OpenDataChannel.self,
            #"{"MessageSchemaVersion":"1.0","RequestId":"r","TokenValue":"t","ClientId":"c","ClientVersion":"1.2.0.0"}"#)
        #expect(open == OpenDataChannel(requestID: "r", tokenValue: "t", clientID: "c", clientVersion: "1.2.0.0"))
        #expect(SessionClient(open) == SessionClient(isNative: false, maximumPayload: 1024, clientVersion: "1.2.0.0"))
        #expect(SessionClient(open).limits == .stock)
        // Old plugins have no version.
        #expect(SessionClient(try read(OpenDataChannel.self, #"{"TokenValue":"t"}"#)).clientVersion == "")
    }

    @Test func anAgentOpensAChannel() throws {
        let open = OpenDataChannel(requestID: "r", clientInstanceID: "mi-1", maximumPayload: 65_536)
        #expect(
            try json(open)
                == #"{"ClientId":"","ClientInstanceId":"mi-1","MaximumPayload":65536,"MessageSchemaVersion":"1.0","RequestId":"r","TokenValue":""}"#
        )
    }

    @Test(arguments: [(-1, 1024), (0, 1024), (2000, 2000), (Int.max, 256 << 10)]) func framesAreBoundedWhateverAClientAsksFor(
        asked: Int, given: Int
    ) {
        let client = SessionClient(OpenDataChannel(requestID: "r", maximumPayload: asked))
        #expect(client.isNative)
        #expect(client.limits.maximumPayload == given)
        // The agent gets it from the controller, and does not trust it either.
        #expect(SessionClient(isNative: true, maximumPayload: asked, clientVersion: "").limits.maximumPayload == given)
    }

    @Test func tokensAreNotPrinted() {
        let open = OpenDataChannel(requestID: "r", tokenValue: "secret")
        #expect(!"\(open)".contains("secret"))
        var text = ""
        dump(open, to: &text)
        #expect(!text.contains("secret"))
    }

    @Test func agentSessionState() throws {
        #expect(
            try json(AgentSessionState(.connected, sessionID: session))
                == #"{"SchemaVersion":1,"SessionId":"jane-0123456789abcdef0","SessionState":"Connected"}"#)
        #expect(
            try json(AgentSessionState(.terminating, sessionID: session, exitCode: 3))
                == #"{"ExitCode":3,"SchemaVersion":1,"SessionId":"jane-0123456789abcdef0","SessionState":"Terminating"}"#)
        #expect(throws: (any Error).self) {
            try read(AgentSessionState.self, #"{"SchemaVersion":1,"SessionState":"Connected","SessionId":"../x"}"#)
        }
    }

    @Test func transfers() throws {
        let transfer = SessionTransfer(
            kind: .upload, name: "/tmp/x", received: 5, sent: 0, started: Timestamp(milliseconds: 1000),
            ended: Timestamp(milliseconds: 2500),
            sha256: "ab")
        #expect(
            try json(transfer)
                == #"{"Ended":2.5,"Kind":"upload","Name":"/tmp/x","Received":5,"Sent":0,"Sha256":"ab","Started":1}"#)
    }

    @Test func channelClosed() throws {
        let closed = ChannelClosed(
            messageID: "m", destinationID: "d", sessionID: session, createdDate: Timestamp(milliseconds: 0), output: "bye")
        #expect(
            try json(closed)
                == #"{"CreatedDate":"1970-01-01T00:00:00.000Z","DestinationId":"d","MessageId":"m","MessageType":"channel_closed","Output":"bye","SchemaVersion":1,"SessionId":"jane-0123456789abcdef0"}"#
        )
        #expect(try read(ChannelClosed.self, #"{"SessionId":"jane-0123456789abcdef0"}"#).output == nil)
    }

    @Test func acknowledgementsAreTheTextTheStockEndsWrite() throws {
        let message = AgentMessage(
            messageType: .inputStreamData, createdDate: StreamTime.date, sequenceNumber: 7,
            messageID: UUID(uuidString: "00112233-4455-6677-8899-aabbccddeeff")!, payloadType: .output, payload: ByteBuffer(string: "x"))
        let frame = AgentMessage.acknowledging(message, createdDate: StreamTime.date)
        #expect(
            String(buffer: frame.payload)
                == #"{"AcknowledgedMessageType":"input_stream_data","AcknowledgedMessageId":"00112233-4455-6677-8899-aabbccddeeff","AcknowledgedMessageSequenceNumber":7,"IsSequentialMessage":true}"#
        )
        #expect(frame.flags == 3 && frame.sequenceNumber == 0 && frame.payloadType == .none)
        #expect(frame.acknowledged?.sequence == 7 && frame.acknowledged?.copy == 0xff)
        #expect(
            try frame.decodePayload(AcknowledgeContent.self)
                == AcknowledgeContent(
                    messageType: "input_stream_data", messageID: "00112233-4455-6677-8899-aabbccddeeff", sequenceNumber: 7))
    }

    @Test(arguments: [
        (#"{"AcknowledgedMessageSequenceNumber":7}"#, Int64(7)),
        (#"{ "AcknowledgedMessageType" : "x", "IsSequentialMessage" : false, "AcknowledgedMessageSequenceNumber" : 9 }"#, 9),
        (
            #"{"AcknowledgedMessageType":"a","AcknowledgedMessageId":"b","AcknowledgedMessageSequenceNumber":9223372036854775807,"IsSequentialMessage":true}"#,
            .max
        ),
        (
            #"{"AcknowledgedMessageType":"a","AcknowledgedMessageId":"b","AcknowledgedMessageSequenceNumber":-4,"IsSequentialMessage":true}"#,
            -4
        ),
        (
            #"{"AcknowledgedMessageType":"a\",\"AcknowledgedMessageSequenceNumber\":5,\"IsSequentialMessage\":true}","AcknowledgedMessageId":"b","AcknowledgedMessageSequenceNumber":6,"IsSequentialMessage":true}"#,
            6
        ),
    ]) func otherTextsOfAnAcknowledgementAreUnderstoodToo(text: String, sequence: Int64) {
        let frame = AgentMessage(messageType: .acknowledge, createdDate: StreamTime.date, payload: ByteBuffer(string: text))
        #expect(frame.acknowledged?.sequence == sequence)
    }

    @Test(arguments: [
        #"{"AcknowledgedMessageType":"a","AcknowledgedMessageId":"b","AcknowledgedMessageSequenceNumber":99999999999999999999,"IsSequentialMessage":true}"#,
        #"{"AcknowledgedMessageType":"a","AcknowledgedMessageId":"b","AcknowledgedMessageSequenceNumber":,"IsSequentialMessage":true}"#,
        #"{"AcknowledgedMessageType":"a","AcknowledgedMessageId":"b","AcknowledgedMessageSequenceNumber":7"#,
        #"{"AcknowledgedMessageType":""#,
    ]) func brokenAcknowledgementsAreNone(text: String) {
        let frame = AgentMessage(messageType: .acknowledge, createdDate: StreamTime.date, payload: ByteBuffer(string: text))
        #expect(frame.acknowledged == nil)
    }

    // MARK: The stream

    @Test func terminalSize() throws {
        #expect(try json(TerminalSize(columns: 80, rows: 24)) == #"{"cols":80,"rows":24}"#)
        #expect(try read(TerminalSize.self, #"{"cols":300,"rows":100}"#) == TerminalSize(columns: 300, rows: 100))
        #expect(throws: (any Error).self) { try read(TerminalSize.self, #"{"cols":-1,"rows":100}"#) }
    }

    @Test func flags() {
        #expect(Array(StreamFlag.terminateSession.payload.readableBytesView) == [0, 0, 0, 2])
        #expect(StreamFlag(payload: ByteBuffer(bytes: [0, 0, 0, 3])) == .connectToPortError)
        for bytes in [[], [1], [0, 0, 1], [0, 0, 0, 1, 0]] as [[UInt8]] { #expect(StreamFlag(payload: ByteBuffer(bytes: bytes)) == nil) }
    }

    @Test func exitCodes() {
        #expect(String(buffer: ExitCode(3).payload) == "EXIT_CODE: 3")
        #expect(ExitCode(payload: ByteBuffer(string: "EXIT_CODE: 255")) == ExitCode(255))
        #expect(ExitCode(payload: ByteBuffer(string: "EXIT_CODE: -1"))?.value == -1)
        for text in ["", "EXIT_CODE:", "EXIT_CODE: ", "EXIT_CODE: x", "EXIT_CODE: 99999999999", "exit_code: 1"] {
            #expect(ExitCode(payload: ByteBuffer(string: text)) == nil)
        }
    }

    // MARK: The handshake

    @Test func handshakeRequest() throws {
        let request = HandshakeRequest(agentVersion: "4.0.1.0", sessionType: "Port", properties: .object(["portNumber": .string("22")]))
        #expect(
            try json(request)
                == #"{"AgentVersion":"4.0.1.0","RequestedClientActions":[{"ActionParameters":{"Properties":{"portNumber":"22"},"SessionType":"Port"},"ActionType":"SessionType"}]}"#
        )
        #expect(request.session?.type == "Port")
        #expect(request.session?.properties == ["portNumber": .string("22")])
        let plain = HandshakeRequest(agentVersion: "4.0.1.0", sessionType: "NonInteractiveCommands")
        #expect(try json(plain).contains(#""Properties":null"#))
        #expect(plain.session?.properties == [:])
        let stock = try read(
            HandshakeRequest.self,
            #"{"AgentVersion":"3.3.0.0","RequestedClientActions":[{"ActionType":"SessionType","ActionParameters":{"SessionType":"Port","Properties":{"portNumber":"22"}}},{"ActionType":"KMSEncryption","ActionParameters":{"KMSKeyId":"arn","Challenge":"eA=="}}]}"#
        )
        #expect(stock.session?.type == "Port")
        #expect(stock.requestedClientActions.map(\.actionType) == [.sessionType, .encryption])
    }

    @Test func handshakeResponse() throws {
        let stock = try read(
            HandshakeResponse.self,
            #"{"ClientVersion":"1.2.0.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1,"ActionResult":null,"Error":""}],"Errors":null}"#
        )
        let request = HandshakeRequest(agentVersion: "4.0.1.0", sessionType: "Port")
        #expect(stock.refusal(of: request) == nil)
        #expect(
            try json(stock)
                == #"{"ClientVersion":"1.2.0.0","Errors":null,"ProcessedClientActions":[{"ActionResult":null,"ActionStatus":1,"ActionType":"SessionType","Error":""}]}"#
        )
        var failed = stock
        failed.processedClientActions[0].actionStatus = 2
        failed.processedClientActions[0].error = "no"
        #expect(failed.refusal(of: request) == "The client cannot do SessionType: no")
        failed.processedClientActions = []
        #expect(failed.refusal(of: request) == "The client did not answer to SessionType.")
    }

    @Test func handshakeComplete() throws {
        #expect(try json(HandshakeComplete(nanoseconds: 5)) == #"{"CustomerMessage":"","HandshakeTimeToComplete":5}"#)
    }

    @Test func versionsAreComparedWithFourNumbers() throws {
        let own = try #require(SessionVersion(ClientVersion.current))
        #expect(own > SessionVersion("1.2.331.0")! && own > SessionVersion("1.1.70.0")!)
        #expect(SessionVersion("3.1.1511.0")! < SessionVersion("3.1.1511.1")!)
        for text in ["", "1.2.3", "1.2.3.4.5", "1.2.3.x", "1..2.3", "-1.2.3.4", "+1.2.3.4", "1.2.3.4294967296"] {
            #expect(SessionVersion(text) == nil)
        }
    }

    // MARK: Start and end

    @Test func interactiveShell() throws {
        let content = StartSessionContent(
            documentName: "SSM-SessionManagerRunShell", documentContent: .object(["schemaVersion": .string("1.0")]), sessionID: session,
            parameters: ["portNumber": .string("22")], runAsUser: "", sessionOwner: "arn:o",
            client: SessionClient(isNative: true, maximumPayload: 65_536, clientVersion: "2.0.1.0"))
        let task = try StartSessionTask(content)
        #expect(
            task.content
                == #"{"Client":{"ClientVersion":"2.0.1.0","MaximumPayload":65536,"Native":true},"DocumentContent":{"schemaVersion":"1.0"},"DocumentName":"SSM-SessionManagerRunShell","Parameters":{"portNumber":"22"},"RunAsUser":"","SessionId":"jane-0123456789abcdef0","SessionOwner":"arn:o"}"#
        )
        #expect(try read(StartSessionTask.self, json(task)).decodeContent() == content)
        let stock = try read(StartSessionTask.self, #"{"Content":"{\"DocumentContent\":{},\"SessionId\":\"jane-0123456789abcdef0\"}"}"#)
        #expect(try stock.decodeContent().client == nil)
        #expect(throws: FrameError.self) { try read(StartSessionTask.self, #"{"Content":"{}"}"#).decodeContent() }
        #expect(!"\(task)".contains("portNumber"))
    }

    @Test func taskComplete() throws {
        let complete = AgentTaskComplete(session: session, status: AgentTaskComplete.Status.success, instanceID: "mi-1")
        #expect(
            try json(complete)
                == #"{"AwsAccountId":"","CwlGroup":"","CwlStream":"","FinalTaskStatus":"Success","InstanceId":"mi-1","IsRoutingFailure":false,"Output":"","RetryNumber":1,"S3Bucket":"","S3UrlSuffix":"","SchemaVersion":1,"TaskId":"jane-0123456789abcdef0","Topic":"agent_task_complete"}"#
        )
        #expect(try read(AgentTaskComplete.self, json(complete)) == complete)
        #expect(
            try json(AgentTaskAcknowledge(messageID: "m", taskID: "s"))
                == #"{"MessageId":"m","SchemaVersion":1,"TaskId":"s","Topic":"agent_task_complete"}"#)
    }
}

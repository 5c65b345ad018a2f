import Testing

@testable import MusterWire

@Suite struct MessageDeliveryTests {
    @Test func anAnswerWithoutWatchersIsAsTheStockClientKnowsIt() throws {
        let output = GetMessages.Output(destination: "mi-0123456789abcdef0", messages: [], messagesRequestID: "r")
        #expect(
            String(decoding: try JSONCoding.encode(output), as: UTF8.self)
                == #"{"Destination":"mi-0123456789abcdef0","Messages":[],"MessagesRequestId":"r"}"#)
    }

    @Test func watchersAreAMemberOfOurs() throws {
        let text =
            #"{"Destination":"mi-0123456789abcdef0","Messages":[],"MessagesRequestId":"r","OutputRequests":[{"CommandId":"c","Seconds":60}]}"#
        let output = try JSONCoding.decode(GetMessages.Output.self, from: Array(text.utf8))
        #expect(output.outputRequests == [AgentOutputRequest(commandID: "c", seconds: 60)])
        #expect(String(decoding: try JSONCoding.encode(output), as: UTF8.self) == text)
    }
}

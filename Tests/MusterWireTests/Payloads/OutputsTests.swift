import MusterCrypto
import MusterWire
import Testing

@Suite struct OutputsTests {
    private func reply(_ text: String, _ bytes: [UInt8]) -> StepReply {
        StepReply(
            status: .success, code: 0, name: "p", output: "", startDateTime: "", endDateTime: "", standardOutput: text, standardError: "",
            outputs: StepOutputs(stdout: StreamFacts(length: Int64(bytes.count), sha256: Hex.encode(SHA256.hash(bytes)))))
    }

    @Test func theBeginningOfATextIsTheStream() {
        #expect(reply("hi\n", Array("hi\n".utf8)).holds(.standardOutput))
        #expect(reply("hi\nfailed to run commands: exit status 1", Array("hi\n".utf8)).holds(.standardOutput))
        #expect(reply("ä", Array("ä".utf8)).holds(.standardOutput))
        // What the text cannot show, and what was cut, is not held.
        #expect(!reply("\u{FFFD}", [0xFF]).holds(.standardOutput))
        #expect(!reply("h", Array("hi\n".utf8)).holds(.standardOutput))
        #expect(!reply("hi\n", Array("hi\n".utf8)).holds(.standardError))
    }

    @Test func nonsenseIsNotHeld() {
        var step = reply("hi", Array("hi".utf8))
        step.outputs?.stdout?.length = -1
        #expect(!step.holds(.standardOutput))
        step.outputs?.stdout?.length = .max
        #expect(!step.holds(.standardOutput))
        step.outputs?.stdout = StreamFacts(length: 2)
        #expect(!step.holds(.standardOutput))
    }

    @Test func aStockAgentsReplyHasNoOutputs() throws {
        var step = reply("x", [])
        step.outputs = nil
        let text = String(decoding: try JSONCoding.encode(step), as: UTF8.self)
        #expect(!text.contains("outputs"))
        #expect(try JSONCoding.decode(StepReply.self, from: Array(text.utf8)) == step)
    }

    @Test func goldenShapes() throws {
        let request = AgentOutputRequest(commandID: "c", seconds: 60)
        #expect(String(decoding: try JSONCoding.encode(request), as: UTF8.self) == #"{"CommandId":"c","Seconds":60}"#)
        let progress = UploadProgress(state: .uploading, offset: 7)
        #expect(String(decoding: try JSONCoding.encode(progress), as: UTF8.self) == #"{"offset":7,"state":"uploading"}"#)
    }
}

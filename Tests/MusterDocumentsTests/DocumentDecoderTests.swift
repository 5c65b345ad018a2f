import MusterDocuments
import Testing

@Suite struct DocumentDecoderTests {
    @Test(arguments: ["2.0", "2.0.1", "2.0.2", "2.0.3", "2.2"])
    func readsMainSteps(_ version: String) throws {
        let document = try decode(script(version: version, steps: "[\(step("one")),\(step("two"))]"))
        #expect(document.schemaVersion.rawValue == version)
        #expect(document.steps.map(\.name.rawValue) == ["one", "two"])
        #expect(document.platformTypes == [.linux, .macOS])
    }

    @Test func readsRuntimeConfiguration() throws {
        let document = try decode(
            #"""
            {"schemaVersion":"1.2","description":"d","parameters":{"commands":{"type":"StringList"}},
             "runtimeConfig":{"aws:runShellScript":{"properties":[
               {"id":"0.aws:runShellScript","runCommand":"{{ commands }}","timeoutSeconds":"60"},
               {"id":"1.aws:runShellScript","runCommand":["true"]}]}}}
            """#)
        #expect(document.steps.map(\.name.rawValue) == ["awsrunShellScript-0", "awsrunShellScript-1"])
        let single = try decode(
            #"{"schemaVersion":"1.2","runtimeConfig":{"aws:runShellScript":{"properties":{"runCommand":["true"]}}}}"#)
        #expect(single.steps.map(\.name.rawValue) == ["awsrunShellScript"])
    }

    @Test(arguments: ["1.0", "1.1", "2.1", "0.3", "3.0", ""])
    func refusesOtherSchemas(_ version: String) {
        #expect(failure(script(version: version, steps: "[\(step())]"))?.code == "InvalidDocumentSchemaVersion")
    }

    @Test func sizeIsBounded() {
        let long = script(steps: "[\(step(inputs: "{\"runCommand\":[\"\(String(repeating: "x", count: 70_000))\"]}"))]")
        #expect(failure(long)?.code == "MaxDocumentSizeExceeded")
        #expect(throws: DocumentError.self) { try DocumentDecoder.decode(.string(String(repeating: "x", count: 70_000))) }
    }

    @Test(arguments: [
        ("[]", ""), ("{}", "schemaVersion"), (#"{"schemaVersion":2.2}"#, "schemaVersion"),
        (#"{"schemaVersion":"2.2"}"#, "mainSteps"), (script(steps: "[]"), "mainSteps"), (script(steps: "{}"), "mainSteps"),
        (script(steps: "[1]"), "mainSteps[0]"),
        (#"{"schemaVersion":"2.2","mainSteps":[],"outputs":[]}"#, ""),
        (#"{"schemaVersion":"2.2","mainSteps":[],"files":{}}"#, "files"),
        (#"{"schemaVersion":"1.2","mainSteps":[]}"#, ""),
        (#"{"schemaVersion":"1.2","runtimeConfig":{}}"#, "runtimeConfig"),
        (script(steps: "[\(step("a.b"))]"), "mainSteps[0].name"), (script(steps: "[\(step(".."))]"), "mainSteps[0].name"),
        (script(steps: "[\(step("a/b"))]"), "mainSteps[0].name"), (script(steps: "[\(step(""))]"), "mainSteps[0].name"),
        (script(steps: "[\(step("é"))]"), "mainSteps[0].name"),
        (script(steps: "[\(step(String(repeating: "a", count: 129)))]"), "mainSteps[0].name"),
        (script(steps: "[\(step("a")),\(step("a"))]"), "mainSteps[1].name"),
        (script(steps: #"[{"action":"aws:unknown","name":"a","inputs":{}}]"#), "mainSteps[0].action"),
        (script(steps: #"[{"name":"a","inputs":{}}]"#), "mainSteps[0].action"),
        (script(steps: "[\(step(more: ",\"nextStep\":\"b\""))]"), "mainSteps[0]"),
        (script(steps: "[\(step(more: ",\"maxAttempts\":3"))]"), "mainSteps[0].maxAttempts"),
        (script(steps: "[\(step(inputs: "{}"))]"), "mainSteps[0].inputs.runCommand"),
        (script(steps: "[\(step(inputs: "{\"runCommand\":\"echo\"}"))]"), "mainSteps[0].inputs.runCommand"),
        (script(steps: "[\(step(inputs: "{\"runCommand\":[1]}"))]"), "mainSteps[0].inputs.runCommand[0]"),
        (script(steps: "[\(step(inputs: "{\"runCommand\":[\"x\"],\"shell\":\"zsh\"}"))]"), "mainSteps[0].inputs.shell"),
        (script(steps: "[\(step(inputs: "{\"runCommand\":[\"x\"],\"RunCommand\":[\"y\"]}"))]"), "mainSteps[0].inputs.runCommand"),
        (script(steps: "[\(step(inputs: "{\"runCommand\":[\"x\"],\"environment\":{\"A\":1}}"))]"), "mainSteps[0].inputs.environment.A"),
        (script(steps: "[\(step(inputs: "{\"runCommand\":[\"x\"],\"onFailure\":\"abort\"}"))]"), "mainSteps[0].inputs.onFailure"),
        (script(steps: "[\(step(inputs: "{\"runCommand\":[\"x\"],\"onSuccess\":\"stop\"}"))]"), "mainSteps[0].inputs.onSuccess"),
        (
            script(steps: "[\(step("a", inputs: "{\"runCommand\":[\"x\"],\"finallyStep\":true}")),\(step("b"))]"),
            "mainSteps[0].inputs.finallyStep"
        ),
        (
            script(parameters: #"{"c":{"type":"StringList"}}"#, steps: "[\(step(inputs: "{\"runCommand\":[\"echo\",\"{{ c }}\"]}"))]"),
            "mainSteps[0].inputs.runCommand[1]"
        ),
    ])
    func refusesAndSaysWhere(_ json: String, _ path: String) {
        let error = failure(json)
        #expect(error?.path == path, "\(String(describing: error))")
    }

    @Test(arguments: [
        (#"{"a-b":{"type":"String"}}"#, "parameters"), (#"{"..":{"type":"String"}}"#, "parameters"),
        (#"{"":{"type":"String"}}"#, "parameters"), (#"{"a":{"type":"Text"}}"#, "parameters.a.type"),
        (#"{"a":{}}"#, "parameters.a.type"), (#"{"a":1}"#, "parameters.a"),
        (#"{"a":{"type":"String","secret":true}}"#, "parameters.a"),
        (#"{"a":{"type":"String","default":1}}"#, "parameters.a.default"),
        (#"{"a":{"type":"String","default":"x","allowedValues":["y"]}}"#, "parameters.a.default"),
        (#"{"a":{"type":"String","default":"x","allowedPattern":"[0-9]"}}"#, "parameters.a.default"),
        (#"{"a":{"type":"String","allowedPattern":"(?=x)"}}"#, "parameters.a.allowedPattern"),
        (#"{"a":{"type":"String","allowedValues":[]}}"#, "parameters.a.allowedValues"),
        (#"{"a":{"type":"String","displayType":"password"}}"#, "parameters.a.displayType"),
        (#"{"a":{"type":"String","maxChars":-1}}"#, "parameters.a.maxChars"),
        (#"{"a":{"type":"StringList","interpolationType":"ENV_VAR"}}"#, "parameters.a.interpolationType"),
        (#"{"a":{"type":"String","interpolationType":"SHELL"}}"#, "parameters.a.interpolationType"),
    ])
    func refusesParameters(_ parameters: String, _ path: String) {
        let error = failure(script(parameters: parameters, steps: "[\(step())]"))
        #expect(error?.path == path, "\(String(describing: error))")
        #expect(error?.code == "InvalidDocumentContent")
    }

    @Test func defaultsMayBeWrittenAsText() throws {
        let document = try decode(
            script(parameters: #"{"n":{"type":"Integer","default":"5"},"b":{"type":"Boolean","default":"true"}}"#, steps: "[\(step())]"))
        #expect(document.parameters["n"]?.defaultValue == .integer(5))
        #expect(document.parameters["b"]?.defaultValue == .bool(true))
        #expect(document.parameters["n"]?.reportedType == "String")
    }

    @Test(arguments: [
        (#"{"StringEquals":["platformType","Linux"]}"#, true), (#"{"StringEquals":["windows","platformType"]}"#, true),
        (#"{"StringEquals":["{{ a }}","x"]}"#, true), (#"{"StringEquals":["x","pre-{{a}}"]}"#, true),
        (#"{"StringEquals":["platformType","{{ a }}"]}"#, false), (#"{"StringEquals":["platformType","platformType"]}"#, false),
        (#"{"StringEquals":["platformType","BeOS"]}"#, false), (#"{"StringEquals":["x","y"]}"#, false),
        (#"{"StringEquals":["{{ b }}","y"]}"#, false), (#"{"StringEquals":["{{ssm:a}}","{{ a }}"]}"#, false),
        (#"{"StringEquals":["platformType"]}"#, false), (#"{"StringEquals":["platformType",1]}"#, false),
        (#"{"StringLike":["platformType","Linux"]}"#, false), (#"{}"#, false), (#"[]"#, false),
    ])
    func preconditions(_ precondition: String, _ isValid: Bool) {
        let json = script(parameters: #"{"a":{"type":"String"}}"#, steps: "[\(step(more: ",\"precondition\":\(precondition)"))]")
        #expect((failure(json) == nil) == isValid)
    }

    @Test func preconditionsNeedSchema22() {
        let json = script(version: "2.0", steps: "[\(step(more: ",\"precondition\":{\"StringEquals\":[\"platformType\",\"Linux\"]}"))]")
        #expect(failure(json)?.path == "mainSteps[0].precondition")
    }

    @Test func platformsFollowPluginsAndPreconditions() throws {
        let windows =
            #"{"action":"aws:runPowerShellScript","name":"w","inputs":{"runCommand":["x"]},"precondition":{"StringEquals":["platformType","Windows"]}}"#
        #expect(try decode(script(steps: "[\(windows)]")).platformTypes == [.windows])
        #expect(try decode(script(steps: "[\(windows),\(step())]")).platformTypes == [.windows, .linux, .macOS])
    }

    @Test func noByteFlipTraps() {
        let whole = Array(
            script(
                parameters: #"{"a":{"type":"String","default":"x","allowedPattern":"[a-z]{1,3}"}}"#,
                steps: "[\(step(more: ",\"precondition\":{\"StringEquals\":[\"platformType\",\"Linux\"]}"))]"
            ).utf8)
        for index in whole.indices {
            for mask: UInt8 in [0x01, 0x10, 0x20, 0x80, 0xFF] {
                var bytes = whole
                bytes[index] ^= mask
                if let document = try? DocumentDecoder.decode(json: bytes) { _ = try? document.plan() }
            }
            _ = try? DocumentDecoder.decode(json: Array(whole[..<index]))
        }
    }
}

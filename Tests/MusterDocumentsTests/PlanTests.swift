import MusterDocuments
import Testing

@Suite struct PlanTests {
    @Test func substitution() {
        let template = Template(values: [
            "s": .string("text"), "list": .array([.string("a"), .integer(1)]), "map": .object(["k": .bool(true)]), "n": .integer(5),
            "nil": .null, "other": .string("{{ s }}"), "dollars": .string("$$1 $x $$$$"), "half": .string("{{"),
        ])
        func resolve(_ text: String) -> DocumentValue { template.resolve(.string(text)) }
        #expect(resolve("{{ s }}") == .string("text"))
        #expect(resolve("{{s}}") == .string("text"))
        #expect(resolve("{{\t s \n}}") == .string("text"))
        #expect(resolve("{{ list }}") == .array([.string("a"), .integer(1)]))
        #expect(resolve("{{ n }}") == .integer(5))
        #expect(resolve("{{ nil }}") == .null)
        #expect(resolve(" {{ n }}") == .string(" 5"))
        #expect(resolve("a{{ list }}b{{ map }}") == .string(#"a["a",1]b{"k":true}"#))
        #expect(resolve("{{ unknown }} {{ s }}") == .string("{{ unknown }} text"))
        #expect(resolve("{{ unknown }}") == .string("{{ unknown }}"))
        #expect(resolve("{{{ s }}}") == .string("{text}"))
        #expect(resolve("{{ s") == .string("{{ s"))
        #expect(resolve("{{ s-t }}{{ssm:s}}{{}}") == .string("{{ s-t }}{{ssm:s}}{{}}"))
        // A value is never looked at again, neither alone nor joined with what follows it.
        #expect(resolve("x{{ other }}") == .string("x{{ s }}"))
        #expect(resolve("{{ half }} s }}") == .string("{{ s }}"))
        #expect(resolve("{{ dollars }}") == .string("$$1 $x $$$$"))
        #expect(resolve("x{{ dollars }}") == .string("x$1 $x $$"))
        let nested = DocumentValue.object(["{{ s }}": .array([.object(["a": .string("{{ n }}")])])])
        #expect(template.resolve(nested) == .object(["{{ s }}": .array([.object(["a": .integer(5)])])]))
    }

    @Test func environmentVariablesKeepValuesOutOfTheScript() throws {
        let document = try decode(
            script(
                parameters: #"{"Message":{"type":"String","interpolationType":"ENV_VAR"},"Plain":{"type":"String","default":"p"}}"#,
                steps:
                    "[\(step(inputs: #"{"runCommand":["echo {{ Message }} {{ Plain }} \"$SSM_Message\""],"Environment":{"A":"{{Plain}}"}}"#))]"
            ))
        let evil = #"$(id) `id` '";|& {{ Plain }} {{secret}} $$"# + "\n"
        let bindings = try ParameterBindings(["Message": [evil]], for: document)
        let inputs = try ScriptInputs(document.plan(bindings.values).items[0].inputs)
        #expect(inputs.commands == [#"echo {{ Message }} p "$SSM_Message""#])
        #expect(inputs.environment == ["A": "p", "SSM_Message": evil])
        let withNUL = try document.plan(["Message": .string("a\0b")]).items[0].readiness
        guard case .refused = withNUL else {
            Issue.record("A NUL cannot be in an environment variable.")
            return
        }
    }

    @Test func preconditionsDecide() throws {
        let document = try decode(
            script(
                parameters: #"{"a":{"type":"String","default":"x"},"l":{"type":"StringList","default":["x"]}}"#,
                steps: "["
                    + [
                        step("linux", more: #","precondition":{"StringEquals":["platformType","linux"]}"#),
                        step("mac", more: #","precondition":{"StringEquals":["MacOS","platformType"]}"#),
                        step("same", more: #","precondition":{"StringEquals":["{{ a }}","x"]}"#),
                        step("other", more: #","precondition":{"StringEquals":["{{ a }}","X"]}"#),
                        step("list", more: #","precondition":{"StringEquals":["{{ l }}","x"]}"#),
                    ].joined(separator: ",") + "]"))
        let kinds = try document.plan().items.map { item in
            switch item.readiness {
            case .ready: "ready"
            case .skipped: "skipped"
            case .refused: "refused"
            }
        }
        #expect(kinds == ["ready", "skipped", "ready", "skipped", "refused"])
    }

    @Test func pluginsThatAreNotThere() throws {
        let steps =
            #"[{"action":"aws:psModule","name":"w","inputs":{}},{"action":"aws:configurePackage","name":"p","inputs":{}},\#(step("s"))]"#
        func kinds(_ version: String) throws -> [String] {
            try decode(script(version: version, steps: steps)).plan(plugins: ["aws:runShellScript"]).items.map { item in
                switch item.readiness {
                case .ready: "ready"
                case .skipped: "skipped"
                case .refused: "refused"
                }
            }
        }
        #expect(try kinds("2.2") == ["skipped", "refused", "ready"])
        #expect(try kinds("2.0") == ["refused", "refused", "ready"])
    }

    @Test(arguments: [
        ("60", 60), ("60.9", 60), (#""60""#, 60), (#""60.5""#, 60), ("5", 5), ("4", 3600), ("172800", 172_800), ("172801", 3600),
        (#""soon""#, 3600), ("null", 3600), ("1e300", 3600), (#""nan""#, 3600), (#""{{ t }}""#, 77),
    ])
    func timeouts(_ json: String, _ seconds: Int) throws {
        let document = try decode(
            script(
                parameters: #"{"t":{"type":"Integer","default":77}}"#,
                steps: "[\(step(inputs: #"{"runCommand":["x"],"timeoutSeconds":\#(json)}"#))]"))
        #expect(try document.plan().items[0].timeoutSeconds == seconds)
    }

    @Test func executionTimeoutIsTheSumOfWhatRuns() throws {
        let timed = #"{"runCommand":["x"],"timeoutSeconds":100}"#
        let document = try decode(
            script(
                steps: "["
                    + [
                        step("a", inputs: timed), step("b", more: #","timeoutSeconds":50"#),
                        step("c", inputs: timed, more: #","precondition":{"StringEquals":["platformType","Windows"]}"#),
                    ].joined(separator: ",") + "]"))
        #expect(try document.plan().executionTimeoutSeconds == 150)
    }

    @Test func malformedAfterSubstitutionFailsTheStepOnly() throws {
        let document = try decode(
            script(
                parameters: #"{"m":{"type":"StringMap","default":{"A":1}},"f":{"type":"String","default":"never"}}"#,
                steps: "["
                    + [
                        step("a", inputs: #"{"runCommand":["x"],"environment":"{{ m }}"}"#),
                        step("b", inputs: #"{"runCommand":["x"],"onFailure":"{{ f }}"}"#), step("c"),
                    ].joined(separator: ",") + "]"))
        let items = try document.plan().items
        for item in items[..<2] {
            guard case .refused = item.readiness else {
                Issue.record("\(item.name) should be refused")
                continue
            }
        }
        #expect(items[2].readiness == .ready)
    }

    /// Few bytes of references can stand for very many of values.
    @Test func expansionIsBounded() throws {
        let references = Array(repeating: "\"{{a}}{{a}}{{a}}{{a}}\"", count: 1000).joined(separator: ",")
        let document = try decode(
            script(parameters: #"{"a":{"type":"String"}}"#, steps: "[\(step(inputs: "{\"runCommand\":[\(references)]}"))]"))
        let error = #expect(throws: DocumentError.self) { try document.plan(["a": .string(String(repeating: "x", count: 30_000))]) }
        #expect(error?.code == "MaxDocumentSizeExceeded")
        _ = try document.plan(["a": .string("x")])
    }
}

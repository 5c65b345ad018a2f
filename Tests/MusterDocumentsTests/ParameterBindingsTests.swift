import MusterDocuments
import Testing

@Suite struct ParameterBindingsTests {
    let document: Document

    init() throws {
        document = try decode(
            script(
                parameters: #"""
                    {"list":{"type":"StringList","minItems":1,"maxItems":3,"allowedPattern":"[a-z]+"},
                     "text":{"type":"String","default":"d","maxChars":5},
                     "choice":{"type":"String","default":"x","allowedValues":["x","y"]},
                     "number":{"type":"Integer","default":1},"flag":{"type":"Boolean","default":false},
                     "map":{"type":"StringMap","default":{}},"maps":{"type":"MapList","default":[]}}
                    """#, steps: "[\(step())]"))
    }

    func refusal(_ given: [String: [String]]) -> DocumentError? {
        do {
            _ = try ParameterBindings(given, for: document)
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: ["{{ssm:db-password}}", "run {{ ssm-secure:key }} now"])
    func aReferenceToTheStoreIsNoText(text: String) {
        let refusal = refusal(["list": ["a"], "choice": [text]])
        #expect(refusal?.kind == .parameters && refusal?.description.contains("choice") == true)
        #expect(refusal?.description.contains("not served yet") == true && refusal?.description.contains("db-password") == false)
        #expect(self.refusal(["list": ["a"], "text": ["{ssm}"]]) == nil)
    }

    @Test func typesAndDefaults() throws {
        let bindings = try ParameterBindings(
            ["list": ["a", "b"], "number": ["-7"], "flag": ["True"], "map": [#"{"k":"v"}"#], "maps": [#"{"k":1}"#, "{}"]], for: document)
        #expect(
            bindings.values == [
                "list": .array([.string("a"), .string("b")]), "text": .string("d"), "choice": .string("x"), "number": .integer(-7),
                "flag": .bool(true), "map": .object(["k": .string("v")]), "maps": .array([.object(["k": .integer(1)]), .object([:])]),
            ])
    }

    @Test(
        arguments: [
            ([:], "list"), (["list": []], "list"), (["list": ["a", "b", "c", "d"]], "list"), (["list": ["a", "B"]], "list"),
            (["list": ["a"], "extra": ["1"]], "extra"), (["list": ["a"], "text": ["a", "b"]], "text"),
            (["list": ["a"], "text": []], "text"),
            (["list": ["a"], "text": ["123456"]], "text"), (["list": ["a"], "choice": ["z"]], "choice"),
            (["list": ["a"], "number": ["1.5"]], "number"), (["list": ["a"], "flag": ["yes"]], "flag"),
            (["list": ["a"], "map": ["x"]], "map"), (["list": ["a"], "maps": ["[1]"]], "maps"),
        ] as [([String: [String]], String)])
    func refuses(_ given: [String: [String]], _ name: String) {
        let error = refusal(given)
        #expect(error?.path == name)
        #expect(error?.code == "InvalidParameters")
    }

    @Test func errorsNeverHoldTheValue() {
        let secret = "S3CRET"
        for given in [
            ["list": [secret]], ["list": ["a"], "text": [secret]], ["list": ["a"], "choice": [secret]],
            ["list": ["a"], "number": [secret]],
            ["list": ["a"], "map": [secret]],
        ] {
            #expect(refusal(given)?.description.contains(secret) == false)
        }
    }

    @Test func documentAndParametersTogetherAreBounded() {
        let open = ["list": ["a"], "text": ["x"]]
        #expect(refusal(open) == nil)
        let builtIn = BuiltInDocuments.all[0].document
        #expect(throws: DocumentError.self) {
            try ParameterBindings(["commands": [String(repeating: "x", count: 65_000)]], for: builtIn)
        }
        #expect(throws: Never.self) { try ParameterBindings(["commands": [String(repeating: "x", count: 60_000)]], for: builtIn) }
    }

    @Test func deliveredValuesAreCheckedAgain() throws {
        #expect(throws: DocumentError.self) { try document.plan(["list": .string("a")]) }
        #expect(throws: DocumentError.self) { try document.plan(["list": .array([.string("A")])]) }
        #expect(throws: DocumentError.self) { try document.plan([:]) }
        #expect(throws: DocumentError.self) { try document.plan(["list": .null]) }
        _ = try document.plan(["list": .array([.string("a")]), "../undeclared": .string("x")])
    }
}

import MusterDocuments
import Testing

@Suite struct BuiltInDocumentsTests {
    @Test func everyOneIsThere() {
        #expect(BuiltInDocuments.all.map(\.name) == ["AWS-RunShellScript"])
        #expect(BuiltInDocuments.named("AWS-Nothing") == nil)
    }

    @Test func runShellScript() throws {
        let builtIn = try #require(BuiltInDocuments.named("AWS-RunShellScript"))
        #expect(builtIn.document.schemaVersion == .v22)
        #expect(builtIn.platformTypes == [.linux, .macOS])
        #expect(builtIn.document.parameters.keys.sorted() == ["commands", "executionTimeout", "workingDirectory"])
        #expect(builtIn.document.parameters["executionTimeout"]?.defaultText == "3600")
        #expect(builtIn.document.parameters["commands"]?.defaultText == nil)
        #expect(try DocumentDecoder.decode(json: Array(builtIn.content.utf8)) == builtIn.document)

        let bindings = try ParameterBindings(["commands": ["echo hi", "$(id) {{ workingDirectory }} $$"]], for: builtIn.document)
        let plan = try builtIn.document.plan(bindings.values)
        let item = try #require(plan.items.first)
        #expect(item.name.rawValue == "runShellScript")
        #expect(item.readiness == .ready)
        let inputs = try ScriptInputs(item.inputs)
        #expect(inputs.commands == ["echo hi", "$(id) {{ workingDirectory }} $$"])
        #expect(inputs.workingDirectory.isEmpty)
        #expect(plan.executionTimeoutSeconds == 3600)
    }

    @Test(arguments: [
        ("1", true), ("5", true), ("3600", true), ("99999", true), ("100000", true), ("169999", true), ("170000", true),
        ("172799", true), ("172800", true), ("172801", false), ("172900", false), ("173000", false), ("180000", false), ("200000", false),
        ("0", false), ("060", false), ("", false), ("-5", false), ("60s", false), (" 60", false), ("60\n", false), ("1728000", false),
    ])
    func executionTimeout(_ text: String, _ isAllowed: Bool) throws {
        let document = try #require(BuiltInDocuments.named("AWS-RunShellScript")).document
        let bindings = try? ParameterBindings(["commands": ["x"], "executionTimeout": [text]], for: document)
        #expect((bindings != nil) == isAllowed)
    }
}

import MusterCommandLine
import MusterWire
import Testing

@Suite struct OutputTests {
    @Test func columnsAreAligned() {
        var table = Table(["NODE", "NAME"])
        table.add(["mi-1", "a"])
        table.add(["mi-22222", ""])
        #expect(table.render() == "NODE      NAME\nmi-1      a\nmi-22222")
    }

    @Test func noHostCanWriteEscapeSequences() {
        #expect(Table.printable("a\u{1b}]0;owned\u{07}\u{9b}31m\r\n") == "a\\u{1b}]0;owned\\u{7}\\u{9b}31m\\u{d}\\u{a}")
        #expect(Table.terminalSafe("a\tb\u{1b}") == "a\tb\\u{1b}")
    }

    @Test(arguments: [
        ("tag:role=web", "tag:role", ["web"]), ("tag:role=web,db", "tag:role", ["web", "db"]), ("tag:empty=", "tag:empty", [""]),
        ("tag:a=b=c", "tag:a", ["b=c"]), ("tag-key=role", "tag-key", ["role"]), ("InstanceIds=mi-1", "InstanceIds", ["mi-1"]),
    ])
    func targets(text: String, key: String, values: [String]) throws {
        let target = try TargetExpression.parse(text)
        #expect(target.key == key && target.values == values)
    }

    @Test(arguments: ["role=web", "tag:=x", "tag:role", "tag-key=", "", "=", "tag:role=a,,b"])
    func targetsThatAreNone(text: String) {
        #expect(throws: CommandLineError.self) { try TargetExpression.parse(text) }
    }

    @Test func repeatedParametersBecomeLists() throws {
        #expect(try KeyValue.lists(["commands=a=b", "commands=c", "x="]) == ["commands": ["a=b", "c"], "x": [""]])
        #expect(throws: CommandLineError.self) { try KeyValue.lists(["=x"]) }
    }
}

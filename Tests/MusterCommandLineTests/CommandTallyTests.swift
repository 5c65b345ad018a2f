import MusterWire
import Testing

@testable import MusterCommandLine

@Suite struct CommandTallyTests {
    private func invocation(
        _ node: Int, _ status: String, _ details: String, trace: String = "", plugins: [CommandPlugin] = []
    ) throws -> CommandInvocation {
        var invocation = CommandInvocation(
            commandID: try #require(CommandID("11111111-2222-3333-4444-555555555555")),
            instanceID: try #require(NodeID("mi-0123456789abcdef\(node)")), instanceName: "", comment: "",
            documentName: "AWS-RunShellScript", documentVersion: "1", requestedDateTime: .now(),
            status: try #require(CommandInvocationStatus(rawValue: status)), statusDetails: details)
        invocation.traceOutput = trace
        invocation.commandPlugins = plugins
        return invocation
    }

    /// SSM counts two of these as completed that never ran anything.
    @Test func whatNeverRanIsNotDone() throws {
        let tally = CommandTally(
            [
                try invocation(0, "Failed", "Failed"),
                try invocation(1, "Cancelled", "Terminated", trace: "The error limit of the command was exceeded. Nothing was run."),
                try invocation(2, "TimedOut", "DeliveryTimedOut"),
            ], targets: 3)
        #expect(tally.words == "0 of 3 nodes succeeded, 1 failed, 2 never ran it")
    }

    @Test(arguments: [
        ("Success", "Success", "", CommandTally.Outcome.succeeded), ("Failed", "Failed", "", .failed),
        ("Failed", "Undeliverable", "", .neverRan), ("Failed", "InvalidPlatform", "", .neverRan),
        ("Failed", "Failed", "The agent refused the command with code 3. Nothing was run.", .neverRan),
        ("TimedOut", "ExecutionTimedOut", "", .timedOut), ("Cancelled", "Cancelled", "", .cancelled),
        ("Cancelled", "Cancelled", "The command was cancelled before the node received it. Nothing was run.", .neverRan),
        ("InProgress", "Delayed", "", .running), ("Delayed", "Delayed", "", .running),
    ])
    private func outcomes(status: String, details: String, trace: String, expected: CommandTally.Outcome) throws {
        #expect(CommandTally.outcome(try invocation(0, status, details, trace: trace)) == expected)
    }

    @Test func theReasonAndTheCodeAreShown() throws {
        let plugin = CommandPlugin(name: "build", status: .failed, statusDetails: "Failed", responseCode: 7, output: "oops")
        let failed = try invocation(0, "Failed", "Failed", plugins: [plugin])
        #expect(CommandRun.describe(failed, name: "web1") == "mi-0123456789abcdef0 (web1)  Failed, exit code 7\n    oops")
        #expect(CommandRun.describe(failed, name: nil, withOutput: false) == "mi-0123456789abcdef0  Failed, exit code 7")
        let never = try invocation(0, "Failed", "Undeliverable", trace: "Nothing was run.")
        #expect(CommandRun.describe(never, name: nil, withOutput: false) == "mi-0123456789abcdef0  Undeliverable\n    Nothing was run.")
    }

    @Test func whoIsAwayIsNamedFirst() {
        let nodes = (0..<5).map { AwaitedNodes.Node(name: "web\($0)", isOffline: $0 == 4) }
        #expect(AwaitedNodes(nodes).words == "web4 (offline), web0, web1 and 2 more")
        #expect(AwaitedNodes([]).words == nil)
    }

    @Test func scriptsAreSentAsTheirLines() throws {
        #expect(try CommandRequest.lines(Array("a\n\n b\r\n".utf8), of: "x") == ["a", "", " b\r"])
        #expect(throws: CommandLineError.self) { try CommandRequest.lines([], of: "x") }
        #expect(throws: CommandLineError.self) { try CommandRequest.lines([0x7f, 0x45, 0x4c, 0x46, 0], of: "x") }
        #expect(throws: CommandLineError.self) { try CommandRequest.lines([0xff, 0xfe], of: "x") }
    }
}

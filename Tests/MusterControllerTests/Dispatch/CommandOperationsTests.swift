import MusterCrypto
import MusterDocuments
import MusterWire
import Testing

@testable import MusterController

@Suite struct CommandOperationsTests {
    /// Nothing is dispatched here; the rows are what is looked at.
    private func withBench<T>(
        nodes: Int = 4, platform: String? = "Linux", _ body: (DispatchBench, CommandOperations) async throws -> T
    ) async throws -> T {
        let bench = try await DispatchBench(nodes: nodes, platform: platform)
        defer { bench.remove() }
        let dispatcher = CommandDispatcher(database: bench.database, registry: bench.fleet, logger: CommandDispatcherTests.silent)
        return try await body(bench, bench.operations(dispatcher))
    }

    private func refusal(_ bench: DispatchBench, _ operations: CommandOperations, _ input: SendCommand.Input) async throws -> APIError? {
        do {
            _ = try await operations.send(input, bench.context)
            return nil
        } catch let error as APIError {
            let stored = try await bench.database.read { tx in
                try tx.first("SELECT COUNT(*) AS n FROM commands")?.integer("n") ?? -1
            }
            #expect(stored == 0)
            return error
        }
    }

    @Test func replyHasTheServicesShape() async throws {
        try await withBench { (bench: DispatchBench, operations: CommandOperations) async throws in
            let output = try await operations.send(.shell([bench.nodes[1], bench.nodes[0]]), bench.context)
            let command = output.command
            #expect(command.instanceIDs == [bench.nodes[1], bench.nodes[0]])
            #expect(command.targets.isEmpty)
            #expect(command.status == .pending && command.statusDetails == "Pending")
            #expect(command.maxConcurrency == "50" && command.maxErrors == "0" && command.timeoutSeconds == 3600)
            #expect(command.expiresAfter == command.requestedDateTime.adding(seconds: 7200))
            #expect(command.documentVersion == "" && command.comment == "")
            #expect(command.parameters == ["commands": ["echo hi"]])
            let json = String(decoding: try JSONCoding.encode(output), as: UTF8.self)
            for part in [
                #""InstanceIds":["#, #""Targets":[]"#, #""OutputS3BucketName":"""#, #""ServiceRole":"""#, #""NotificationEvents":[]"#,
            ] {
                #expect(json.contains(part))
            }
        }
    }

    @Test func targetsAreFrozenAndCombined() async throws {
        try await withBench { (bench: DispatchBench, operations: CommandOperations) async throws in
            func targets(_ targets: [Target]) async throws -> [NodeID] {
                let id = try await operations.send(.shell(targets: targets), bench.context).command.commandID
                return try await bench.database.read { tx in try CommandStore.invocations(of: id, in: tx).map(\.node) }
            }
            let nodes = bench.nodes
            #expect(try await targets([Target(key: "tag:role", values: ["web"])]) == [nodes[0], nodes[2]])
            #expect(try await targets([Target(key: "tag:role", values: ["web", "db"])]) == nodes)
            #expect(try await targets([Target(key: "tag-key", values: ["role"])]) == nodes)
            #expect(
                try await targets([
                    Target(key: "tag:role", values: ["web"]),
                    Target(key: "instanceids", values: [nodes[2].description, nodes[1].description]),
                ])
                    == [nodes[2]])
            #expect(try await targets([Target(key: "tag:role", values: ["web"]), Target(key: "tag:role", values: ["db"])]) == [])
        }
    }

    @Test func refusalsLeaveNothingBehind() async throws {
        try await withBench { (bench: DispatchBench, operations: CommandOperations) async throws in
            let known = bench.nodes[0]
            let unknown = NodeID.random()
            let error = try await refusal(bench, operations, .shell([known, unknown]))
            #expect(error == .invalidInstanceID("Instances [[\(unknown)]] not in a valid state for account 000000000001"))
            func code(_ input: SendCommand.Input) async throws -> String? { try await refusal(bench, operations, input)?.code }
            #expect(try await code(.shell([known, known])) == "DuplicateInstanceId")
            #expect(try await code(.shell()) == "ValidationException")
            #expect(try await code(.shell([known], targets: [Target(key: "tag:role", values: ["web"])])) == "ValidationException")
            #expect(try await code(.shell(targets: [Target(key: "resource-groups:Name", values: ["g"])])) == "ValidationException")
            #expect(try await code(.shell(targets: [Target(key: "colour", values: ["red"])])) == "ValidationException")
            #expect(try await code(.shell(targets: [Target(key: "tag:role", values: [])])) == "ValidationException")
            var input = SendCommand.Input.shell([known])
            input.documentName = "AWS-Nothing"
            #expect(try await code(input) == "InvalidDocument")
            input = .shell([known])
            input.documentVersion = "2"
            #expect(try await code(input) == "InvalidDocumentVersion")
            input = .shell([known])
            input.documentHash = String(repeating: "0", count: 64)
            #expect(try await code(input) == "InvalidDocument")
            input = .shell([known])
            input.parameters = ["commands": ["x"], "colour": ["red"]]
            #expect(try await code(input) == "InvalidParameters")
            input.parameters = [:]
            #expect(try await code(input) == "InvalidParameters")
            input.parameters = ["commands": [String(repeating: "x", count: 70_000)]]
            #expect(try await code(input) == "MaxDocumentSizeExceeded")
            for (member, change) in [
                ("OutputS3BucketName", { $0.outputS3BucketName = "bucket" }), ("ServiceRoleArn", { $0.serviceRoleARN = "arn" }),
                ("NotificationConfig", { $0.notificationConfig = .object(["NotificationArn": .string("a")]) }),
                ("AlarmConfiguration", { $0.alarmConfiguration = .object(["Alarms": .array([])]) }),
            ] as [(String, (inout SendCommand.Input) -> Void)] {
                input = .shell([known])
                change(&input)
                let error = try await refusal(bench, operations, input)
                #expect(error?.code == "ValidationException" && error?.message.contains(member) == true)
            }
        }
    }

    @Test func theRightHashIsAccepted() async throws {
        try await withBench { (bench: DispatchBench, operations: CommandOperations) async throws in
            var input = SendCommand.Input.shell([bench.nodes[0]])
            let content = try #require(BuiltInDocuments.named("AWS-RunShellScript")).content
            input.documentHash = Hex.encode(SHA256.hash(content))
            input.documentHashType = "Sha1"
            #expect(try await refusal(bench, operations, input)?.code == "InvalidDocument")
            input.documentHashType = nil
            _ = try await operations.send(input, bench.context)
            input.documentHashType = "Sha1"
            input.documentHash = Hex.encode(try #require(SHA1.hash(Array(content.utf8)))).uppercased()
            _ = try await operations.send(input, bench.context)
        }
    }

    @Test func anotherPlatform() async throws {
        try await withBench(platform: "Windows") { (bench: DispatchBench, operations: CommandOperations) async throws in
            #expect(try await refusal(bench, operations, .shell(bench.nodes))?.code == "UnsupportedPlatformType")
            let id = try await operations.send(.shell(targets: [Target(key: "tag-key", values: ["role"])]), bench.context).command.commandID
            #expect(try await bench.states(id).allSatisfy { $0 == .invalidPlatform })
        }
    }

    @Test func aRepeatedCallIsOneCommand() async throws {
        try await withBench { (bench: DispatchBench, operations: CommandOperations) async throws in
            let retry = RetryKey(accessKeyID: "AKIA", invocationID: "i", operation: "SendCommand", bodyDigest: "d")
            let first = try await operations.send(.shell(bench.nodes), DispatchBench.context(retry: retry))
            let second = try await operations.send(.shell(bench.nodes), DispatchBench.context(retry: retry))
            #expect(first.command.commandID == second.command.commandID)
            let (commands, events) = try await bench.database.read { tx in
                (
                    try tx.first("SELECT COUNT(*) AS n FROM commands")?.integer("n"),
                    try AuditLog.newest(10, in: tx).filter { $0.operation == "SendCommand" }.count
                )
            }
            #expect(commands == 1 && events == 1)
        }
    }

    @Test func listsArePagedNewestFirst() async throws {
        try await withBench { (bench: DispatchBench, operations: CommandOperations) async throws in
            var ids: [CommandID] = []
            for _ in 0..<5 { ids.append(try await operations.send(.shell(bench.nodes), bench.context).command.commandID) }
            var seen: [CommandID] = []
            var token: String?
            repeat {
                let page = try await operations.list(.init(maxResults: 2, nextToken: token), bench.context)
                #expect(page.commands.count <= 2)
                seen += page.commands.map(\.commandID)
                token = page.nextToken
            } while token != nil
            #expect(Set(seen) == Set(ids) && seen.count == 5)

            var targets: [String] = []
            repeat {
                let page = try await operations.listInvocations(.init(maxResults: 3, nextToken: token), bench.context)
                targets += page.commandInvocations.map { "\($0.commandID) \($0.instanceID)" }
                token = page.nextToken
            } while token != nil
            #expect(targets.count == 20 && Set(targets).count == 20)

            let first = try await operations.list(.init(maxResults: 2), bench.context)
            await #expect(throws: APIError.self) {
                try await operations.list(.init(instanceID: bench.nodes[0].description, nextToken: first.nextToken), bench.context)
            }
            await #expect(throws: APIError.self) { try await operations.listInvocations(.init(nextToken: first.nextToken), bench.context) }
        }
    }

    @Test func filters() async throws {
        try await withBench { (bench: DispatchBench, operations: CommandOperations) async throws in
            let id = try await operations.send(.shell([bench.nodes[0]]), bench.context).command.commandID
            func count(_ filters: [(String, String)], node: NodeID? = nil) async throws -> Int {
                let filters = filters.map { CommandFilter(key: $0.0, value: $0.1) }
                return try await operations.list(
                    .init(instanceID: node?.description, filters: filters.isEmpty ? nil : filters), bench.context
                ).commands.count
            }
            #expect(try await count([("Status", "Pending")]) == 1)
            #expect(try await count([("Status", "Success")]) == 0)
            #expect(try await count([("Status", "NoInstancesInTag")]) == 0)
            #expect(try await count([("ExecutionStage", "Executing")]) == 1)
            #expect(try await count([("ExecutionStage", "Complete")]) == 0)
            #expect(try await count([("DocumentName", "AWS-RunShellScript"), ("InvokedAfter", "2020-01-01T00:00:00Z")]) == 1)
            #expect(try await count([("InvokedBefore", "2020-01-01T00:00:00Z")]) == 0)
            #expect(try await count([], node: bench.nodes[0]) == 1)
            #expect(try await count([], node: bench.nodes[1]) == 0)
            for wrong in [
                [("Status", "Sad")], [("ExecutionStage", "x")], [("InvokedAfter", "soon")], [("Status", "Failed"), ("Status", "Failed")],
            ] {
                await #expect(throws: APIError.self) { try await count(wrong) }
            }
            await #expect(throws: APIError.self) { try await count([("Status", "Pending")], node: bench.nodes[0]) }
            func error(_ body: () async throws -> Void) async -> String? {
                do { try await body(); return nil } catch { return (error as? APIError)?.code }
            }
            #expect(
                await error { _ = try await operations.list(.init(commandID: CommandID.random().description), bench.context) }
                    == "InvalidCommandId")
            #expect(
                await error { _ = try await operations.list(.init(instanceID: NodeID.random().description), bench.context) }
                    == "InvalidInstanceId")
            #expect(
                await error {
                    _ = try await operations.listInvocations(
                        .init(filters: [CommandFilter(key: "ExecutionStage", value: "Complete")]), bench.context)
                } == "InvalidFilterKey")
            #expect(
                await error {
                    _ = try await operations.getInvocation(
                        .init(commandID: CommandID.random().description, instanceID: bench.nodes[0].description), bench.context)
                } == "InvocationDoesNotExist")
            #expect(
                await error {
                    _ = try await operations.getInvocation(
                        .init(commandID: id.description, instanceID: bench.nodes[0].description, pluginName: "nothing"), bench.context)
                } == "InvalidPluginName")
            #expect(
                await error { _ = try await operations.cancel(.init(commandID: CommandID.random().description), bench.context) }
                    == "InvalidCommandId")
            #expect(
                await error {
                    _ = try await operations.cancel(
                        .init(commandID: id.description, instanceIDs: [bench.nodes[1].description]), bench.context)
                } == "InvalidInstanceId")
        }
    }

    @Test func detailsShowEveryStep() async throws {
        try await withBench { (bench: DispatchBench, operations: CommandOperations) async throws in
            let id = try await operations.send(.shell([bench.nodes[0]]), bench.context).command.commandID
            let input = ListCommandInvocations.Input(commandID: id.description)
            #expect(try await operations.listInvocations(input, bench.context).commandInvocations.first?.commandPlugins == [])
            let detailed = try await operations.listInvocations(
                .init(commandID: id.description, details: true), bench.context
            ).commandInvocations
            #expect(detailed.first?.instanceName == "host-0")
            #expect(detailed.first?.commandPlugins.map(\.name) == ["runShellScript"])
            #expect(detailed.first?.commandPlugins.first?.status == .pending)
            #expect(detailed.first?.commandPlugins.first?.responseCode == -1)
        }
    }

    @Test(
        arguments: [
            (91, "PT0.091S"), (0, "PT0S"), (3_600_271, "PT1H0.271S"), (120_000, "PT2M"), (61_500, "PT1M1.5S"), (-5, "PT0S"),
            (1_000, "PT1S"),
        ] as [(Int64, String)])
    func durations(_ milliseconds: Int64, _ text: String) {
        #expect(CommandOperations.elapsed(milliseconds) == text)
    }

    @Test func aJobThatCameTooLateWasNotDelivered() {
        func report(_ code: Int) -> JobReport {
            JobReport(
                JobReplyContent(
                    additionalInfo: .init(agent: .init(osver: "", ver: ""), dateTime: "", runtimeStatusCounts: nil),
                    documentStatus: "TimedOut",
                    runtimeStatus: [
                        "s": StepReply(
                            status: .timedOut, code: code, name: "p", output: "", startDateTime: "", endDateTime: "", standardOutput: "",
                            standardError: "")
                    ]))
        }
        #expect(report(-1).outcome == .expired)
        #expect(report(137).outcome == .timedOut)
    }

    @Test func longStandardErrorIsCutOnReadingAndOutputIsKept() {
        let text = String(repeating: "é", count: 30_000)
        let report = JobReport(
            JobReplyContent(
                additionalInfo: .init(agent: .init(osver: "", ver: ""), dateTime: "", runtimeStatusCounts: nil), documentStatus: "Success",
                runtimeStatus: [
                    "s": StepReply(
                        status: .success, code: 0, name: "p", output: String(repeating: "\r\n", count: 1_250), startDateTime: "",
                        endDateTime: "",
                        standardOutput: text, standardError: text)
                ]))
        #expect(report.outcome == .success)
        #expect(report.steps[0].output.unicodeScalars.count == 2_500)
        #expect(report.steps[0].standardOutput.unicodeScalars.count == 24_000)
        #expect(JobReport.cut(report.steps[0].standardError, 8_000).unicodeScalars.count == 8_000)
    }
}

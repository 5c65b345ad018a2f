import MusterDocuments
import MusterWire
import Testing

@testable import MusterController

/// A session document with the caller's parameters, as the controller accepts it.
@Suite(.timeLimit(.minutes(1))) struct SessionOrderTests {
    let directory: TemporaryDirectory
    let database: SQLiteDatabase
    static let node = NodeID(rawValue: "mi-0123456789abcdef0")!

    init() async throws {
        directory = try TemporaryDirectory()
        database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        try await Migrations.run(on: database, now: 1)
    }

    func order(_ document: String, _ parameters: [String: [String]] = [:]) async throws -> SessionOrder {
        try await database.read { tx in try SessionOrder(document: document, parameters: parameters, in: tx) }
    }

    /// An operator's own document.
    func own(_ content: String, name: String = "Own") async throws {
        try await database.write { tx in
            let now = Timestamp(milliseconds: 1_700_000_000_000)
            try DocumentStore.insert(name, type: "Session", now: now, in: tx)
            try DocumentStore.append(name, versionName: nil, displayName: nil, content: content, by: "jane", now: now, in: tx)
        }
    }

    func runAsUser(_ order: SessionOrder, tag: String? = nil) async throws -> String {
        try await database.write { tx in
            if let tag {
                try TagStore.set([SessionOrder.runAsTag: tag], of: Self.node.description, type: TagStore.managedInstance, in: tx)
            }
            return try order.runAsUser(on: Self.node, for: nil, in: tx)
        }
    }

    func refusal(_ body: () async throws -> Void) async -> APIError? {
        do {
            try await body()
            return nil
        } catch { return error as? APIError }
    }

    @Test func theBuiltInShell() async throws {
        let order = try await order("SSM-SessionManagerRunShell")
        #expect(order.sessionType == "Standard_Stream" && order.properties == [:] && order.parameters == [:])
        #expect(order.idleMinutes == 20 && order.maximumMinutes == nil && !order.inputRecorded && order.recordingRequired)
        #expect(try await runAsUser(order) == "", "the agent's own configuration decides")
    }

    @Test func defaultsAreDeliveredAsText() async throws {
        let order = try await order("AWS-StartPortForwardingSession", ["portNumber": ["8080"]])
        #expect(order.parameters["portNumber"] == .string("8080"))
        #expect(order.parameters["localPortNumber"] == .string("0"))
        #expect(order.properties == ["host": "localhost", "port": "8080", "type": "LocalPortForwarding"])
        #expect(order.sessionType == "Port")
    }

    @Test func whatTheRecordingSaysOfIt() async throws {
        let ssh = try await order("AWS-StartSSHSession", ["portNumber": ["2222"]])
        #expect(ssh.properties == ["host": "localhost", "port": "2222", "type": "Stream"])
        let remote = try await order("AWS-StartPortForwardingSessionToRemoteHost", ["host": ["db.internal"], "portNumber": ["5432"]])
        #expect(remote.properties == ["host": "db.internal", "port": "5432", "type": "LocalPortForwarding"])
        let socket = try await order("AWS-StartPortForwardingSessionToSocket", ["socketPath": ["/run/x.sock"]])
        #expect(socket.properties["socket"] == "/run/x.sock")
        let line = try await order("AWS-StartInteractiveCommand", ["command": ["top -b | head"]])
        #expect(line.properties == ["commands": "top -b | head", "runAsElevated": "false"])
        let words = try await order("AWS-StartNonInteractiveCommand", ["command": ["printf '%s|' 'a b'"]])
        #expect(words.properties["commands"] == "printf %s| a b")
    }

    @Test func badParametersAreRefusedBeforeAnyHostSeesThem() async throws {
        for (document, parameters) in [
            ("AWS-StartSSHSession", ["portNumber": ["0x16"]]), ("AWS-StartSSHSession", ["portNumber": ["22", "23"]]),
            ("AWS-StartSSHSession", ["no-such": ["1"]]), ("AWS-StartInteractiveCommand", [:]),
            ("AWS-StartPortForwardingSessionToRemoteHost", ["host": ["a b;c"], "portNumber": ["1"]]),
        ] as [(String, [String: [String]])] {
            let code = await refusal { _ = try await order(document, parameters) }?.code
            #expect(code == "InvalidParameters", "\(document) \(parameters)")
        }
        #expect(await refusal { _ = try await order("No-Such") }?.code == "InvalidDocument")
        #expect(await refusal { _ = try await order("AWS-RunShellScript") } != nil, "a Command document opens no session")
    }

    @Test func preferencesOfAnOwnDocument() async throws {
        try await own(
            #"""
            {"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"5","maxSessionDuration":"90",
            "recordInput":true,"recordingRequired":false}}
            """#)
        let order = try await order("Own")
        #expect(order.idleMinutes == 5 && order.maximumMinutes == 90 && order.inputRecorded && !order.recordingRequired)
    }

    @Test func aParameterIsHeldAgainstItsPatternAsAWhole() async throws {
        try await own(
            #"""
            {"schemaVersion":"1.0","sessionType":"InteractiveCommands","parameters":{"unit":{"type":"String","allowedPattern":"[a-z]+",
            "default":"ssh"}},"properties":{"linux":{"commands":"systemctl status {{ unit }}","runAsElevated":false}}}
            """#)
        #expect(try await order("Own").properties["commands"] == "systemctl status ssh")
        #expect(try await order("Own", ["unit": ["cron"]]).properties["commands"] == "systemctl status cron")
        #expect(await refusal { _ = try await order("Own", ["unit": ["cron; reboot"]]) }?.code == "InvalidParameters")
    }

    @Test func theNodesTagBeforeTheDocumentsUser() async throws {
        try await own(
            #"{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"runAsEnabled":true,"runAsDefaultUser":"web"}}"#)
        let order = try await order("Own")
        #expect(try await runAsUser(order) == "web")
        #expect(try await runAsUser(order, tag: "deploy") == "deploy")
        #expect(try await runAsUser(order, tag: "") == "web")
        let bad = await refusal { _ = try await runAsUser(order, tag: "-rf /") }
        #expect(bad?.code == "ValidationException")
    }

    /// Whoever set the tag believes that it is in force.
    @Test(arguments: ["SSM-SessionManagerRunShell", "AWS-StartNonInteractiveCommand", "AWS-StartPortForwardingSessionToSocket", "Own"])
    func aRunAsTagThatIsNotInForceIsRefused(document: String) async throws {
        try await own(#"{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"runAsEnabled":false}}"#)
        var parameters: [String: [String]] = [:]
        if document.contains("Command") { parameters["command"] = ["id"] }
        if document.contains("Socket") { parameters["socketPath"] = ["/run/x"] }
        let order = try await order(document, parameters)
        let refused = await refusal { _ = try await runAsUser(order, tag: "alice") }
        #expect(refused?.code == "ValidationException" && refused?.message.contains("runAsEnabled") == true)
        #expect(try await runAsUser(try await self.order("AWS-StartPortForwardingSession"), tag: "alice") == "", "nothing runs as anybody")
    }

    /// It is one setting: a command and a socket are no way around it.
    @Test func thePreferencesHoldForDocumentsWithoutTheirOwn() async throws {
        try await own(
            #"{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"runAsEnabled":true,"runAsDefaultUser":"web"}}"#,
            name: BuiltInSessionDocument.preferences)
        let command = try await order("AWS-StartNonInteractiveCommand", ["command": ["id"]])
        #expect(try await runAsUser(command) == "web")
        #expect(try await runAsUser(command, tag: "alice") == "alice")
        let socket = try await order("AWS-StartPortForwardingSessionToSocket", ["socketPath": ["/run/x"]])
        #expect(try await runAsUser(socket, tag: "alice") == "alice")
    }

    @Test func whoEnablesRunAsHasToNameSomebody() async throws {
        try await own(#"{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"runAsEnabled":true}}"#)
        let order = try await order("Own")
        let nobody = await refusal { _ = try await runAsUser(order) }
        #expect(nobody?.code == "ValidationException" && nobody?.message.contains("SSMSessionRunAs") == true)
        // Ports run no program, and an elevated command is the node's to allow.
        try await own(
            #"""
            {"schemaVersion":"1.0","sessionType":"InteractiveCommands","inputs":{"runAsEnabled":true},
            "properties":{"linux":{"commands":"id","runAsElevated":true}}}
            """#, name: "Elevated")
        #expect(try await runAsUser(try await self.order("Elevated"), tag: "deploy") == "")
    }
}

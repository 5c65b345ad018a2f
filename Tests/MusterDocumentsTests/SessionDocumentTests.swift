import Testing

@testable import MusterDocuments

@Suite struct SessionDocumentTests {
    private func decode(_ json: String) throws -> SessionDocument { try SessionDocument.decode(json: Array(json.utf8)) }

    private func shell(_ inputs: String) throws -> ResolvedSession {
        try decode(#"{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":\#(inputs)}"#).resolve([:])
    }

    private func error(_ body: () throws -> Void) -> DocumentError? {
        do {
            try body()
            return nil
        } catch { return error as? DocumentError }
    }

    private func builtIn(_ name: String) throws -> SessionDocument { try #require(BuiltInSessionDocument.named(name)).document }

    // MARK: Built in

    @Test func everyOneIsThere() {
        #expect(
            BuiltInSessionDocument.all.map(\.name) == [
                "SSM-SessionManagerRunShell", "AWS-StartSSHSession", "AWS-StartPortForwardingSession",
                "AWS-StartPortForwardingSessionToRemoteHost", "AWS-StartPortForwardingSessionToSocket", "AWS-StartInteractiveCommand",
                "AWS-StartNonInteractiveCommand", "Muster-CopyFiles",
            ])
    }

    @Test func runShell() throws {
        let session = try builtIn("SSM-SessionManagerRunShell").resolve([:])
        #expect(session.sessionType == .shell && session.command == .shell(profile: ""))
        #expect(session.preferences.idleMinutes == 20 && session.preferences.maximumMinutes == nil)
        #expect(!session.preferences.runAsEnabled && !session.preferences.recordInput && session.preferences.recordingRequired)
    }

    @Test func ssh() throws {
        let session = try builtIn("AWS-StartSSHSession").resolve([:])
        #expect(session.command == .port(PortTarget(.port(host: nil, 22), isForwarding: false)))
        // Values are text, without lists, for the agent as for the client.
        #expect(session.parameters == ["portNumber": .string("22")])
        #expect(session.properties == .object(["portNumber": .string("22")]))
        let other = try builtIn("AWS-StartSSHSession").resolve(["portNumber": ["2222"]])
        #expect(other.command == .port(PortTarget(.port(host: nil, 2222), isForwarding: false)))
        #expect(try builtIn("AWS-StartSSHSession").resolve(delivered: other.parameters) == other)
    }

    @Test func forwarding() throws {
        let plain = try builtIn("AWS-StartPortForwardingSession").resolve(["portNumber": ["80"], "localPortNumber": ["56789"]])
        #expect(plain.command == .port(PortTarget(.port(host: nil, 80), isForwarding: true)))
        #expect(plain.properties["localPortNumber"] == .string("56789"))
        let remote = try builtIn("AWS-StartPortForwardingSessionToRemoteHost").resolve(["host": ["db.internal"], "portNumber": ["5432"]])
        #expect(remote.command == .port(PortTarget(.port(host: "db.internal", 5432), isForwarding: true)))
        #expect(error { _ = try self.builtIn("AWS-StartPortForwardingSessionToRemoteHost").resolve([:]) }?.kind == .parameters)
        let socket = try builtIn("AWS-StartPortForwardingSessionToSocket").resolve(["socketPath": ["/run/docker.sock"]])
        #expect(socket.command == .port(PortTarget(.socket(path: "/run/docker.sock"), isForwarding: true)))
    }

    @Test(arguments: ["0", "65536", "99999", "-1", "", "22 ", "22\n", "٢٢", "022", "1e3", "22;id"]) func portsArePorts(text: String) throws
    {
        for name in ["AWS-StartSSHSession", "AWS-StartPortForwardingSession"] {
            #expect(error { _ = try self.builtIn(name).resolve(["portNumber": [text]]) }?.kind == .parameters)
        }
        let own = try decode(
            #"{"schemaVersion":"1.0","sessionType":"Port","parameters":{"p":{"type":"String"}},"properties":{"portNumber":"{{ p }}"}}"#)
        if text != "022" { #expect(error { _ = try own.resolve(["p": [text]]) } != nil) }
    }

    @Test(arguments: ["-x", "a b", "a;b", "a/b", "a\nb", ""]) func hostsAreHosts(text: String) throws {
        #expect(
            error { _ = try self.builtIn("AWS-StartPortForwardingSessionToRemoteHost").resolve(["host": [text]]) }?.kind == .parameters)
    }

    @Test func commands() throws {
        let line = "top -d '1 s' \"a b\""
        #expect(
            try builtIn("AWS-StartInteractiveCommand").resolve(["command": [line]]).command == .interactive(line, runAsElevated: false))
        guard
            case .nonInteractive(let words, let streams, false) = try builtIn("AWS-StartNonInteractiveCommand")
                .resolve(["command": [line]]).command
        else {
            Issue.record("not a command")
            return
        }
        #expect(words == ["top", "-d", "1 s", "a b"] && streams.areSeparate)
        #expect(error { _ = try self.builtIn("AWS-StartNonInteractiveCommand").resolve(["command": ["echo 'x"]]) } != nil)
        #expect(error { _ = try self.builtIn("AWS-StartNonInteractiveCommand").resolve(["command": ["  "]]) } != nil)
        #expect(error { _ = try self.builtIn("AWS-StartInteractiveCommand").resolve([:]) }?.kind == .parameters)
        #expect(error { _ = try self.builtIn("AWS-StartInteractiveCommand").resolve(["command": ["a", "b"]]) }?.kind == .parameters)
        #expect(error { _ = try self.builtIn("AWS-StartInteractiveCommand").resolve(["other": ["a"]]) }?.kind == .parameters)
    }

    // MARK: Preferences

    @Test func preferencesOfTheConsoleAreTaken() throws {
        let session = try shell(
            #"""
            {"s3BucketName":"","s3KeyPrefix":"","s3EncryptionEnabled":true,"cloudWatchLogGroupName":"","cloudWatchEncryptionEnabled":true,
             "cloudWatchStreamingEnabled":true,"kmsKeyId":"","runAsEnabled":"true","runAsDefaultUser":"ops","idleSessionTimeout":"5",
             "maxSessionDuration":"1440","shellProfile":{"windows":"date","linux":"exec bash"},"recordInput":true,"recordingRequired":"false"}
            """#)
        let preferences = session.preferences
        #expect(preferences.runAsEnabled && preferences.runAsDefaultUser == "ops")
        #expect(preferences.idleMinutes == 5 && preferences.maximumMinutes == 1440)
        #expect(preferences.recordInput && !preferences.recordingRequired)
        #expect(session.command == .shell(profile: "exec bash"))
    }

    @Test(arguments: ["kmsKeyId", "s3BucketName", "s3KeyPrefix", "cloudWatchLogGroupName"]) func whatIsNotServedIsNamed(key: String) {
        let found = error { _ = try self.shell(#"{"\#(key)":"x"}"#) }
        #expect(found?.path == "inputs.\(key)" && found?.code == "InvalidDocumentContent")
    }

    @Test(arguments: [
        #"{"idleSessionTimeout":"0"}"#, #"{"idleSessionTimeout":"61"}"#, #"{"idleSessionTimeout":"x"}"#, #"{"idleSessionTimeout":1.5}"#,
        #"{"maxSessionDuration":"0"}"#, #"{"maxSessionDuration":"1441"}"#, #"{"maxSessionDuration":true}"#,
        #"{"runAsEnabled":"yes"}"#, #"{"runAsDefaultUser":"-x"}"#, #"{"runAsDefaultUser":"a b"}"#, #"{"runAsDefaultUser":"a:b"}"#,
        #"{"runAsDefaultUser":"../x"}"#, #"{"runAsDefaultUser":"a\u0000"}"#, #"{"cloudWatchStreamingEnabled":"true"}"#,
        #"{"shellProfile":"x"}"#, #"{"shellProfile":{"macos":"x"}}"#, #"{"recordInput":1}"#, #"{"unknown":1}"#, "[]", #""x""#,
    ]) func wrongPreferencesAreRefused(inputs: String) {
        #expect(error { _ = try self.shell(inputs) }?.kind == .content)
    }

    @Test func aProfileIsShort() throws {
        let fits = String(repeating: "x", count: 512)
        #expect(try shell(#"{"shellProfile":{"linux":"\#(fits)"}}"#).command == .shell(profile: fits))
        #expect(error { _ = try self.shell(#"{"shellProfile":{"linux":"\#(fits)x"}}"#) } != nil)
    }

    // MARK: Shape

    @Test(arguments: [
        (#"{"sessionType":"Port"}"#, DocumentError.Kind.schemaVersion),
        (#"{"schemaVersion":"2.2","sessionType":"Port"}"#, .schemaVersion),
        (#"{"schemaVersion":1.0,"sessionType":"Port"}"#, .schemaVersion),
        (#"{"schemaVersion":"1.0"}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"port"}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"Standard_Stream","mainSteps":[]}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"Standard_Stream","properties":{"linux":{}}}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"runAsDefaultUser":"{{ ssm:user }}"}}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"runAsDefaultUser":"{{ user }}"}}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"Port"}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"Port","properties":{"portNumber":22}}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"Port","properties":{"portNumber":"22","type":"RemotePortForwarding"}}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"Port","properties":{"portNumber":"22","socketPath":"/x"}}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"Port","properties":{"socketPath":"x"}}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"Port","properties":{"portNumber":"22","surprise":""}}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"InteractiveCommands"}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"InteractiveCommands","properties":{"linux":{"commands":""}}}"#, .content),
        (#"{"schemaVersion":"1.0","sessionType":"InteractiveCommands","properties":{"windows":{"commands":"dir"}}}"#, .content),
        (
            #"{"schemaVersion":"1.0","sessionType":"InteractiveCommands","properties":{"linux":{"commands":"x","separateOutputStream":true}}}"#,
            .content
        ),
        (#"{"schemaVersion":"1.0","sessionType":"NonInteractiveCommands","properties":{"linux":{"commands":"x '"}}}"#, .content),
        (
            #"{"schemaVersion":"1.0","sessionType":"NonInteractiveCommands","properties":{"linux":{"commands":"x","stdOutSeparatorPrefix":"<>"}}}"#,
            .content
        ),
        (
            #"{"schemaVersion":"1.0","sessionType":"Standard_Stream","parameters":{"p":{"type":"String","allowedPattern":"(?=x)"}}}"#,
            .content
        ),
        (
            #"{"schemaVersion":"1.0","sessionType":"Standard_Stream","parameters":{"p":{"type":"String","interpolationType":"ENV_VAR"}}}"#,
            .content
        ),
        ("[]", .content), ("", .content), ("{", .content),
    ]) func wrongDocumentsAreRefused(json: String, kind: DocumentError.Kind) {
        #expect(error { _ = try self.decode(json) }?.kind == kind)
    }

    @Test func sizesAreBounded() throws {
        let long = String(repeating: "x", count: 65_536)
        #expect(error { _ = try self.decode(#"{"description":"\#(long)"}"#) }?.kind == .size)
        // A few references can stand for much.
        let references = String(repeating: "{{ p }}", count: 5000)
        let document = try decode(
            #"{"schemaVersion":"1.0","sessionType":"InteractiveCommands","parameters":{"p":{"type":"String"}},"properties":{"linux":{"commands":"\#(references)"}}}"#
        )
        #expect(error { _ = try document.resolve(["p": [String(repeating: "y", count: 20_000)]]) }?.kind == .size)
        let nested = String(repeating: "[", count: 100) + String(repeating: "]", count: 100)
        #expect(error { _ = try self.decode(#"{"schemaVersion":"1.0","properties":\#(nested)}"#) }?.kind == .content)
    }

    @Test func valuesAreNotLookedAtAgain() throws {
        let document = try decode(
            #"{"schemaVersion":"1.0","sessionType":"InteractiveCommands","parameters":{"a":{"type":"String"},"b":{"type":"String","default":"B"}},"properties":{"linux":{"commands":"echo {{ a }}"}}}"#
        )
        #expect(try document.resolve(["a": ["{{ b }}"]]).command == .interactive("echo {{ b }}", runAsElevated: false))
    }

    @Test func allowedPatternsHoldForTheWholeValue() throws {
        let document = try decode(
            #"{"schemaVersion":"1.0","sessionType":"InteractiveCommands","parameters":{"log":{"type":"String","allowedPattern":"[a-z]+"}},"properties":{"linux":{"commands":"tail {{ log }}"}}}"#
        )
        #expect(try document.resolve(["log": ["syslog"]]).command == .interactive("tail syslog", runAsElevated: false))
        for text in ["syslog; id", "Syslog", "", "a\nb"] {
            #expect(error { _ = try document.resolve(["log": [text]]) }?.kind == .parameters)
            #expect(error { _ = try document.resolve(delivered: ["log": .string(text)]) }?.kind == .parameters)
        }
        #expect(error { _ = try document.resolve(delivered: ["log": .array([.string("syslog")])]) }?.kind == .parameters)
        // Exponential for an engine that goes back.
        let evil = try decode(
            #"{"schemaVersion":"1.0","sessionType":"InteractiveCommands","parameters":{"p":{"type":"String","allowedPattern":"((a+)+)+b"}},"properties":{"linux":{"commands":"{{ p }}"}}}"#
        )
        #expect(error { _ = try evil.resolve(["p": [String(repeating: "a", count: 5000)]]) }?.kind == .parameters)
    }

    @Test func templatesInPreferences() throws {
        let document = try decode(
            #"{"schemaVersion":"1.0","sessionType":"Standard_Stream","parameters":{"m":{"type":"String"}},"inputs":{"idleSessionTimeout":"{{ m }}"}}"#
        )
        #expect(try document.resolve(["m": ["7"]]).preferences.idleMinutes == 7)
        #expect(error { _ = try document.resolve(["m": ["700"]]) }?.path == "inputs.idleSessionTimeout")
    }

    // MARK: Words

    @Test(
        arguments: [
            ("", []), ("  \t\n", []), ("a b", ["a", "b"]), ("a  'b c'", ["a", "b c"]), (#"a "b \" \x" c"#, ["a", #"b " \x"#, "c"]),
            (#"a\ b"#, ["a b"]), ("''", [""]), (#"a'b'"c""#, ["abc"]), ("$HOME ; | &", ["$HOME", ";", "|", "&"]), ("é 'ü'", ["é", "ü"]),
            ("a\\\nb", ["ab"]), (#""$x \$y""#, ["$x $y"]),
        ] as [(String, [String])]) func words(line: String, words: [String])
    {
        #expect(ShellWords.split(line) == words)
    }

    @Test(arguments: ["'", "\"", "\\", "a 'b", "a \"b", "\"\\"]) func openQuotesAreNoWords(line: String) {
        #expect(ShellWords.split(line) == nil)
    }
}

import MusterDocuments
import MusterWire
import Testing

@testable import MusterAgent

/// What a launcher is told to start, from the document that came with the order.
@Suite struct SessionOrderTests {
    static let session = SessionID(rawValue: "jane-0123456789abcdef0")!
    static let account = RunAsUser.Account(name: "deploy", userID: 1000, groupID: 1001, home: "/home/deploy", shell: "/bin/bash")
    static let native = SessionClient(isNative: true, maximumPayload: 65_536, clientVersion: "2.0.1.0")

    private func plan(_ document: String, _ parameters: [String: String] = [:]) throws -> SessionPlan {
        let content = try #require(BuiltInSessionDocument.named(document)).document.content.json
        return try plan(content: content, parameters)
    }

    private func plan(content: String, _ parameters: [String: String] = [:]) throws -> SessionPlan {
        try SessionPlan(
            StartSessionContent(
                documentName: "D", documentContent: try JSONCoding.decode(JSONValue.self, from: Array(content.utf8)),
                sessionID: Self.session, parameters: parameters.mapValues { .string($0) }, runAsUser: "", sessionOwner: "jane",
                client: nil))
    }

    private func make(
        _ plan: SessionPlan, client: SessionClient = .stock, as account: RunAsUser.Account? = account, pam: String? = nil
    ) -> (order: LaunchOrder, shape: SessionProcess.Shape) {
        let user = account.map { RunAsUser(account: $0, switchesUser: true) }
        return SessionOrder.make(plan, client: client, user: user, session: Self.session, pamService: pam)
    }

    private func noted(_ words: String) { Issue.record("\(words)") }

    @Test func aShellIsTheUsersLoginShell() throws {
        let plan = try plan("SSM-SessionManagerRunShell")
        let (order, shape) = make(plan, pam: "muster")
        #expect(order.kind == .terminal && order.program == "/bin/bash" && order.arguments == ["-bash"])
        #expect(order.user == "deploy" && order.userID == 1000 && order.groupID == 1001 && order.switchesUser)
        #expect(order.workingDirectory == "/home/deploy" && order.pamService == "muster")
        guard case .terminal(let profile) = shape else { return noted("\(shape)") }
        #expect(profile == "")
        var other = Self.account
        other.shell = "/usr/local/bin/fish"
        #expect(make(plan, as: other).order.arguments == ["-fish"])
        #expect(make(plan).order.pamService == "")
    }

    @Test func theEnvironmentIsMadeFromNothing() throws {
        let entries = make(try plan("SSM-SessionManagerRunShell")).order.environment
        let names = entries.map { $0.prefix { $0 != "=" } }
        #expect(names.count == Set(names).count)
        #expect(
            Set(names) == ["HOME", "SHELL", "USER", "LOGNAME", "PATH", "TERM", "LANG", "MUSTER_SESSION_ID", "AWS_SSM_SESSION_ID"])
        for entry in [
            "HOME=/home/deploy", "SHELL=/bin/bash", "USER=deploy", "LOGNAME=deploy", "TERM=xterm-256color",
            "MUSTER_SESSION_ID=\(Self.session)", "AWS_SSM_SESSION_ID=\(Self.session)",
        ] {
            #expect(entries.contains(entry), "\(entry)")
        }
    }

    @Test func aLineGoesToAShellAndWordsDoNot() throws {
        let line = make(try plan("AWS-StartInteractiveCommand", ["command": "echo $HOME; id"])).order
        #expect(line.kind == .terminal && line.program == "/bin/sh" && line.arguments == ["sh", "-c", "echo $HOME; id"])
        let words = make(try plan("AWS-StartNonInteractiveCommand", ["command": "printf '%s|' '$HOME; id'"])).order
        #expect(words.kind == .pipes && words.program == "printf" && words.arguments == ["printf", "%s|", "$HOME; id"])
    }

    @Test func whatAClientCanTake() throws {
        let plan = try plan("AWS-StartNonInteractiveCommand", ["command": "cat"])
        guard case .pipes(let separate, _, _, let takesInput, let reports) = make(plan).shape else { return noted("no pipes") }
        #expect(separate && !takesInput && !reports)
        guard case .pipes(true, _, _, true, false) = make(plan, client: Self.native).shape else { return noted("no input") }
        // A terminal's output is one stream, and short: what lies in it is what Ctrl-C has to wait for.
        let shell = try self.plan("SSM-SessionManagerRunShell")
        #expect(shell.limits(for: Self.native).maximumUnacknowledgedBytes == 512 << 10)
        #expect(plan.limits(for: Self.native).maximumUnacknowledgedBytes > 512 << 10)
        #expect(!shell.shakesHands && plan.shakesHands)
    }

    @Test func aCopyIsThisProgramItself() throws {
        let copy = try plan("Muster-CopyFiles")
        #expect(copy.isCopy && copy.needsUser)
        let (order, shape) = make(copy, client: Self.native)
        #expect(order.program == "/proc/self/exe" && order.arguments == SessionCopy.command)
        guard case .pipes(_, _, _, true, true) = shape else { return noted("\(shape)") }
        // Whoever names the same words without being it gets what any command gets.
        let other = try plan("AWS-StartNonInteractiveCommand", ["command": "muster-agent"])
        #expect(!other.isCopy && make(other).order.program == "muster-agent")
    }

    @Test func portsNeedNobodyAndSocketsDo() throws {
        let port = try plan("AWS-StartPortForwardingSession", ["portNumber": "80"])
        #expect(port.isPort && !port.needsUser && port.shakesHands)
        let socket = try plan("AWS-StartPortForwardingSessionToSocket", ["socketPath": "/run/x.sock"])
        #expect(socket.isPort && socket.needsUser)
        let order = SessionOrder.connect(
            "/run/x.sock", user: RunAsUser(account: Self.account, switchesUser: true), session: Self.session, pamService: "muster")
        #expect(order.kind == .connect && order.arguments == ["/run/x.sock"] && order.program == "")
        #expect(order.userID == 1000 && order.groupID == 1001 && order.switchesUser)
        #expect(order.environment == ["MUSTER_SESSION_ID=\(Self.session)"] && order.pamService == "muster")
    }

    @Test func aProfileIsTypedAndAUserIsNamedOnlyWhereRunAsIsEnabled() throws {
        let content =
            #"{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":"#
            + #"{"shellProfile":{"linux":"cd /srv"},"runAsDefaultUser":"web"}}"#
        let plan = try plan(content: content)
        guard case .terminal(let profile) = make(plan).shape else { return noted("no terminal") }
        #expect(profile == "cd /srv" && plan.runAsDefaultUser == "")
        let enabled = content.replacing(#""inputs":{"#, with: #""inputs":{"runAsEnabled":true,"#)
        #expect(try self.plan(content: enabled).runAsDefaultUser == "web")
    }

    @Test func anOrderSurvivesItsWay() throws {
        let order = make(try plan("AWS-StartInteractiveCommand", ["command": "printf 'ä\n%s' \"$x\""]), pam: "muster").order
        #expect(LaunchOrder(bytes: try #require(order.bytes)) == order)
    }

    @Test func eachVariableOnceAndTheSessionsIdIsNotForPAMToSay() throws {
        let order = make(try plan("SSM-SessionManagerRunShell")).order
        let merged = order.environment(replacedBy: [
            "LANG=de_DE.UTF-8", "XDG_RUNTIME_DIR=/run/user/1000", "PATH=/first", "PATH=/second=x", "MUSTER_SESSION_ID=stolen",
            "AWS_SSM_SESSION_ID=stolen", "EMPTY=", "no entry",
        ])
        let names = merged.map { $0.prefix { $0 != "=" } }
        #expect(names.count == Set(names).count && names.count == order.environment.count + 2)
        for entry in [
            "LANG=de_DE.UTF-8", "XDG_RUNTIME_DIR=/run/user/1000", "PATH=/second=x", "EMPTY=", "HOME=/home/deploy",
            "MUSTER_SESSION_ID=\(Self.session)", "AWS_SSM_SESSION_ID=\(Self.session)",
        ] {
            #expect(merged.contains(entry), "\(entry)")
        }
        #expect(order.environment(replacedBy: []) == order.environment)
    }

    @Test func aDocumentThatCannotBeUsedIsRefusedInWords() throws {
        for content in [#"{"schemaVersion":"9.0"}"#, #"[]"#, #"{"schemaVersion":"1.0","sessionType":"Dance"}"#] {
            do {
                _ = try plan(content: content)
                Issue.record("taken: \(content)")
            } catch let refusal as SessionRefusal {
                #expect(refusal.description.hasPrefix("The document of the session cannot be used: "))
            }
        }
    }
}

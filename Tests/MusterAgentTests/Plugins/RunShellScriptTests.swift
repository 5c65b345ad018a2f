import MusterDocuments
import Testing

@testable import MusterAgent

@Suite struct RunShellScriptTests {
    private func plugin(_ inputs: [String: DocumentValue]) throws -> RunShellScript { try RunShellScript(.object(inputs)) }

    @Test func linesAreJoinedAndEnded() throws {
        #expect(try plugin(["runCommand": .array([.string("a"), .string("b")])]).script == Array("a\nb\n".utf8))
        #expect(throws: DocumentError.self) { try plugin(["runCommand": .string("a")]) }
        #expect(throws: DocumentError.self) { try plugin(["runCommand": .array([.array([.string("a")])])]) }
    }

    @Test func theNodesVariablesWin() throws {
        let plugin = try plugin([
            "runCommand": .array([]),
            "environment": .object(["A": .string("document"), "AWS_SSM_INSTANCE_ID": .string("forged"), "X": .string("$(id)\n`")]),
        ])
        let order = plugin.order(
            shell: "/bin/sh",
            environment: [
                "A": "agent", "B": "agent", "MUSTER_ACTIVATION_CODE": "secret", "NOTIFY_SOCKET": "/run/n", "LISTEN_FDS": "1", "PATH": "/p",
            ],
            account: account, variables: ["AWS_SSM_INSTANCE_ID": "mi-1"])
        #expect(
            order.environment == [
                "A=document", "AWS_SSM_INSTANCE_ID=mi-1", "B=agent", "HOME=/root", "LOGNAME=root", "PATH=/p", "SHELL=/bin/bash",
                "USER=root", "X=$(id)\n`",
            ])
    }

    private let account = RunShellScript.Account(name: "root", home: "/root", shell: "/bin/bash")

    /// Under a service manager there is no HOME, and under sudo it is somebody else's.
    @Test func theAccountIsTheUserDatabases() throws {
        let plugin = try plugin(["runCommand": .array([]), "environment": .object(["USER": .string("document")])])
        let environment = [
            "HOME": "/home/alice", "SHELL": "/bin/fish", "PWD": "/home/alice", "OLDPWD": "/", "SHLVL": "2", "_": "/usr/bin/sudo",
        ]
        let order = plugin.order(shell: "/bin/sh", environment: environment, account: account, variables: [:])
        #expect(
            order.environment == [
                "HOME=/root", "LOGNAME=root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SHELL=/bin/bash",
                "USER=document",
            ])
        #expect(RunShellScript.Account.current().home.hasPrefix("/"))
    }

    @Test(arguments: [("", "/"), ("/srv", "/srv")])
    func scriptsBeginWhereTheyAreTold(_ given: String, _ used: String) throws {
        let plugin = try plugin(["runCommand": .array([]), "workingDirectory": .string(given)])
        #expect(plugin.order(shell: "/bin/sh", environment: [:], account: account, variables: [:]).workingDirectory == used)
    }

    @Test(arguments: ["sub/folder", "../../etc", "~", "~/app", "$HOME", " /srv"])
    func otherFoldersAreRefusedAndNeverPassedOver(_ given: String) throws {
        let error = #expect(throws: DocumentError.self) {
            try plugin(["runCommand": .array([]), "workingDirectory": .string(given)])
        }
        #expect(error?.description.contains("Must be an absolute path") == true && error?.description.contains(given) == true)
    }

    @Test(arguments: [
        (DocumentValue.integer(5), 5), (.string("60"), 60), (.integer(2), 3600), (.integer(172_801), 3600), (.string("x"), 3600),
        (.number(7.9), 7),
    ])
    func timeouts(_ given: DocumentValue, _ seconds: Int) throws {
        let plugin = try plugin(["runCommand": .array([]), "timeoutSeconds": given])
        #expect(plugin.order(shell: "/bin/sh", environment: [:], account: account, variables: [:]).timeoutSeconds == seconds)
    }
}

@Suite struct StepOutcomeTests {
    private func outcome(_ ending: StepResult.Ending, _ code: Int, err: String = "", problem: String = "") -> StepOutcome {
        StepOutcome(
            StepResult(ending: ending, exitCode: code, startedAt: 1, endedAt: 2, problem: problem),
            standardOutput: BoundedOutput.Head("out"),
            standardError: BoundedOutput.Head(err))
    }

    private func error(_ outcome: StepOutcome) -> String {
        BoundedOutput(standardOutput: outcome.standardOutput, standardError: outcome.standardError).standardError
    }

    @Test(arguments: [
        (0, "Success"), (1, "Failed"), (137, "TimedOut"), (143, "Failed"), (168, "Success"), (169, "Failed"), (194, "SuccessAndReboot"),
        (255, "Failed"),
    ])
    func exitCodes(_ code: Int, _ status: String) {
        let outcome = outcome(.exited, code)
        #expect(outcome.status.rawValue == status)
        #expect(outcome.code == code)
    }

    @Test func aFailureIsNamedOnTheLastLine() {
        #expect(error(outcome(.exited, 3, err: "oops\n")) == "oops\nfailed to run commands: exit status 3")
        #expect(error(outcome(.exited, 0, err: "hm\n")) == "hm\n")
        #expect(error(outcome(.timedOut, 137)) == "")
        #expect(error(outcome(.cancelled, 137)) == "")
    }

    @Test func aRebootIsRefusedInWords() {
        var outcome = outcome(.exited, 194)
        #expect(error(outcome) == "")
        outcome.rebootFailed("It was asked to reboot 3 times, and did not.")
        #expect(outcome.status.rawValue == "Failed" && outcome.code == 194 && outcome.isDecidedHere)
        #expect(
            error(outcome).contains(
                "It was asked to reboot 3 times, and did not. The step counts as failed.\nfailed to run commands: exit status 194"))
    }

    @Test func problemsAreShown() {
        #expect(error(outcome(.exited, 0, problem: "5 bytes were lost.")) == "5 bytes were lost.")
        #expect(outcome(.notStarted, 1, problem: "no folder").notice == "no folder")
    }
}

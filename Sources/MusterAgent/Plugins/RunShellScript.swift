import Glibc
package import MusterDocuments

/// `aws:runShellScript`: the commands as a file, and how its supervisor is to run it.
///
/// https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-command-ssm-plugin-reference.html#aws-runshellscript
package struct RunShellScript: Sendable {
    package static let action = "aws:runShellScript"

    private let inputs: ScriptInputs
    private let workingDirectory: String

    package init(_ inputs: DocumentValue) throws(DocumentError) {
        self.inputs = try ScriptInputs(inputs)
        workingDirectory = try self.inputs.absoluteWorkingDirectory()
    }

    /// The user that scripts run as, as the host's user database knows it.
    package struct Account: Sendable, Equatable {
        package var name: String
        package var home: String
        package var shell: String

        package init(name: String, home: String, shell: String) {
            self.name = name
            self.home = home
            self.shell = shell
        }

        package static func current() -> Account {
            guard let account = RunAsUser.Account.numbered(geteuid()) else {
                return Account(name: "\(geteuid())", home: "/", shell: "/bin/sh")
            }
            return Account(name: account.name, home: account.home.isEmpty ? "/" : account.home, shell: account.shell)
        }

        /// As cron(8) gives them.
        var environment: [String: String] { ["HOME": home, "LOGNAME": name, "USER": name, "SHELL": shell] }
    }

    /// The lines, each ended.
    package var script: [UInt8] { Array(inputs.commands.joined(separator: "\n").utf8) + [0x0A] }

    /// `variables` are what the node adds; they win over the document's, those over the account's, and those over the agent's own.
    package func order(
        shell: String, environment: [String: String], account: Account, variables: [String: String],
        outputBudget: Int = StepOrder.outputBudget
    ) -> StepOrder {
        let merged = Self.inherited(environment).merging(account.environment) { $1 }.merging(inputs.environment) { $1 }.merging(variables) {
            $1
        }
        return StepOrder(
            shell: shell,
            // Not wherever the agent was started.
            workingDirectory: workingDirectory.isEmpty ? "/" : workingDirectory,
            timeoutSeconds: inputs.timeoutSeconds, outputBudget: outputBudget,
            environment: merged.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" })
    }

    /// The agent's environment without what is meant for the agent itself: its settings, which may be secret, its ties to systemd,
    /// through which a script could speak in its name, and what tells of the shell that may have started it.
    static func inherited(_ environment: [String: String]) -> [String: String] {
        var kept = environment.filter { name, _ in
            !name.hasPrefix("MUSTER_") && !name.hasPrefix("LISTEN_")
                && ![
                    "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID",
                    "CREDENTIALS_DIRECTORY", "PWD", "OLDPWD", "SHLVL", "_",
                ].contains(name)
        }
        if kept["PATH"] == nil { kept["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }
        return kept
    }
}

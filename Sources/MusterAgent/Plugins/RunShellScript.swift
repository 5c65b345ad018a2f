import Glibc
package import MusterDocuments

/// `aws:runShellScript`: the commands as a file, and how its supervisor is to run it.
///
/// https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-command-ssm-plugin-reference.html#aws-runshellscript
package struct RunShellScript: Sendable {
    package static let action = "aws:runShellScript"

    private let inputs: ScriptInputs

    package init(_ inputs: DocumentValue) throws(DocumentError) {
        self.inputs = try ScriptInputs(inputs)
    }

    /// The lines, each ended.
    package var script: [UInt8] { Array(inputs.commands.joined(separator: "\n").utf8) + [0x0A] }

    /// `variables` are what the node adds; they win over the document's, and those over the agent's own.
    package func order(
        shell: String, environment: [String: String], variables: [String: String], outputBudget: Int = StepOrder.outputBudget
    ) -> StepOrder {
        let merged = Self.inherited(environment).merging(inputs.environment) { $1 }.merging(variables) { $1 }
        return StepOrder(
            shell: shell,
            // A relative one means a folder of downloaded content, which no plugin of this agent makes; it is passed
            // over, as the other agents do when it is missing.
            workingDirectory: inputs.workingDirectory.hasPrefix("/") ? inputs.workingDirectory : "",
            timeoutSeconds: inputs.timeoutSeconds, outputBudget: outputBudget,
            environment: merged.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" })
    }

    /// The agent's environment without what is meant for the agent itself: its settings, which may be secret, and its
    /// ties to systemd, through which a script could speak in its name.
    static func inherited(_ environment: [String: String]) -> [String: String] {
        var kept = environment.filter { name, _ in
            !name.hasPrefix("MUSTER_") && !name.hasPrefix("LISTEN_")
                && ![
                    "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID",
                    "CREDENTIALS_DIRECTORY",
                ].contains(name)
        }
        if kept["PATH"] == nil { kept["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }
        return kept
    }
}

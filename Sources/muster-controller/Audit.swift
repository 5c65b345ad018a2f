import ArgumentParser
import FoundationEssentials
import MusterController

/// The audit trail in the store itself.
struct Audit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "Prove the audit trail in the store.", subcommands: [Verify.self], defaultSubcommand: Verify.self)

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Hold every row against the chain, the checkpoints, and those from elsewhere; name the first bad record.",
            discussion: "Run it as the user that the controller belongs to. The controller may run. Ends with 0 if everything is proven.")

        @OptionGroup var common: CommonOptions

        @Option(help: "A file with a checkpoint that was kept elsewhere. May be repeated.")
        var checkpoint: [String] = []

        func run() async throws {
            let check = AuditStoreCheck(configuration: try common.configuration())
            let report = try await check.report(checkpointFiles: checkpoint)
            ResultOutput.out(report.words)
            if !report.isProven { throw ExitCode.failure }
        }
    }
}

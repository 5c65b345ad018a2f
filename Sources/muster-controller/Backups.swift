import ArgumentParser
import Glibc
import MusterController

struct BackUp: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Copy everything the controller needs into an empty folder, while it runs or not.",
        discussion: """
            Run it as the user that the controller belongs to. Keys are in DIR/keys, the store in DIR/store, and DIR/manifest.json, written \
            last, has the length and the SHA-256 of every file. The configuration file is not in it.
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "A folder that is empty or does not exist.", completion: .directory) var dir: String
    @Flag(help: "Leave out the complete outputs of commands.") var withoutOutputs = false
    @Flag(help: "Leave out the recordings of sessions.") var withoutRecordings = false

    func run() async throws {
        let without = (withoutOutputs ? [BackupPart.outputs] : []) + (withoutRecordings ? [.recordings] : [])
        ResultOutput.out(try await Backup(configuration: try common.configuration(), path: dir, without: without).run())
    }
}

struct RestoreBackup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Put a backup in the place of a controller that is stopped.",
        discussion: """
            Run it as the user that the controller belongs to. The store begins a new epoch, which the nodes accept because the certificate \
            authority signs it. Commands that were open in the backup end with their outcome unknown and are never sent again. What was \
            revoked since the backup is listed as lost. If it is interrupted, run it again: it goes on where it stands.
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "The folder of a backup.", completion: .directory) var dir: String
    @Flag(help: "Put what is in the data folder aside, into a folder in it.") var replace = false

    func run() async throws {
        let configuration = try common.configuration()
        if let outcome = try await Restore(configuration: configuration, path: dir, replaces: replace).run() {
            ResultOutput.out(outcome)
        } else {
            ResultOutput.out("A restore that was cut short has been finished in \(configuration.dataDirectory).")
        }
    }
}

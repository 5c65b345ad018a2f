import ArgumentParser
import FoundationEssentials
import Glibc
import Logging
import Metrics
import MusterController
import MusterLogging

@main
struct MusterControllerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "muster-controller",
        abstract: "Runs commands on many servers, and speaks the API of AWS Systems Manager.",
        version: "muster-controller \(ControllerVersion.text)",
        subcommands: [
            Init.self, Serve.self, Check.self, Authority.self, Users.self, Groups.self, Keys.self, Policies.self, Audit.self,
            BackUp.self, RestoreBackup.self,
        ])

    static func main() async {
        // Whatever this process creates is closed to others, also what a library creates.
        umask(0o077)
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            // A library's error is said in our words; one that says everything itself, or is about usage, stays as it is.
            let words = PlainWords.of(error)
            exit(withError: words == String(describing: error) ? error : ControllerError.badSetting(words))
        }
        guard let failure = ResultOutput.finish() else { return }
        if let words = failure.words {
            _ = Array("muster-controller: \(words)\n".utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        }
        Glibc.exit(failure.status)
    }
}

struct CommonOptions: ParsableArguments {
    @Option(help: "The configuration file (JSON5).")
    var config: String?

    @Option(help: "Where the controller keeps its keys and its database.")
    var dataDir: String?

    func configuration() throws -> ControllerConfiguration {
        var configuration = try ControllerConfiguration.load(path: config, environment: ProcessInfo.processInfo.environment)
        if let dataDir { configuration.dataDirectory = dataDir }
        while configuration.dataDirectory.count > 1, configuration.dataDirectory.hasSuffix("/") { configuration.dataDirectory.removeLast() }
        return configuration
    }
}

struct Init: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a certificate authority, a store and the first operator key. Once.")

    @OptionGroup var common: CommonOptions

    @Option(help: "A DNS name or IP address that agents and operators connect to. May be repeated.")
    var name: [String] = []

    @Option(help: "Where to write the operator's profile.")
    var profileDir: String?

    func run() async throws {
        let setup = try ControllerSetup(configuration: try common.configuration(), names: name, profileDirectory: profileDir)
        let outcome = try await setup.run()
        let option = common.config.map { " --config \($0)" } ?? ""
        ResultOutput.out(
            """
            The controller is set up in \(outcome.dataDirectory).

              CA pin              \(outcome.pin)
              operator key        \(outcome.accessKeyID)
              operator's profile  \(outcome.profileDirectory)  (config, credentials, ca.pem)
              endpoint            \(outcome.endpoint)

            Start it:

              muster-controller serve\(option) --data-dir \(outcome.dataDirectory)

            Then, as operator:

              export AWS_CONFIG_FILE=\(outcome.profileDirectory)/config
              export AWS_SHARED_CREDENTIALS_FILE=\(outcome.profileDirectory)/credentials
              muster enroll          # one line that joins a server
              aws ssm describe-instance-information
            """)
    }
}

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Serve agents and operators until SIGTERM.")

    @OptionGroup var common: CommonOptions

    @Option(help: "ADDRESS:PORT to listen on instead of the configuration's listeners; port 0 is a free one. May be repeated.")
    var listen: [String] = []

    func run() async throws {
        var configuration = try common.configuration()
        if !listen.isEmpty { configuration.listeners = try configuration.listening(on: listen) }
        let level = Logger.Level(rawValue: configuration.logLevel) ?? .info
        // What libraries log goes the same way.
        LoggingSystem.bootstrap { [format = configuration.logFormat] _ in LineLogHandler(format, level: level) }
        let metrics = MusterController.Metrics()
        MetricsSystem.bootstrap(metrics)
        try await Controller(configuration: configuration, metrics: metrics, logger: Logger(label: "muster-controller")).run()
    }
}

struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at configuration, permissions, certificates and database, and change nothing.")

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let findings = await ControllerCheck(configuration: try common.configuration()).run()
        for finding in findings { ResultOutput.out("\(finding.kind.rawValue): \(finding.text)") }
        if findings.contains(where: { $0.kind == .bad }) { throw ExitCode.failure }
    }
}

import ArgumentParser
import Glibc
import MusterAgent

struct AgentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "muster-agent",
        abstract: "Runs commands for a Muster controller. It opens no port: it dials out.",
        version: AgentVersion.text,
        subcommands: [Register.self, Run.self, Status.self]
    )

    struct Common: ParsableArguments {
        @Option(help: "The configuration file. Without it: \(AgentConfiguration.defaultPath), if there is one.", completion: .file())
        var config: String?

        @Option(
            name: .customLong("state-dir"), help: "Where identity and jobs are kept, instead of the configured place.",
            completion: .directory)
        var stateDirectory: String?

        func load() throws -> AgentConfiguration {
            var configuration = try AgentConfiguration.load(path: config, environment: environment())
            if let stateDirectory { configuration.stateDirectory = try absolute(stateDirectory) }
            return configuration
        }
    }

    struct Register: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Enrols this host with a controller.",
            discussion: """
                muster enroll prints the line to run here. The activation code is a secret, so it is not an argument: it comes from \
                --activation-code-file, from the variable MUSTER_ACTIVATION_CODE, or from standard input.
                """
        )

        @Option(help: "https://HOST:PORT of the controller.")
        var controller: String?

        @Option(name: .customLong("activation-id"), help: "The id of the activation.")
        var activationID: String

        @Option(name: .customLong("activation-code-file"), help: "A file that holds the activation code.", completion: .file())
        var activationCodeFile: String?

        @Option(help: "sha256:HEX of the controller's certificate authority. No other authority will be believed.")
        var pin: String

        @Flag(help: "Give up the identity this host has. Its old node id stays behind at the controller until it is deregistered there.")
        var force = false

        @OptionGroup var common: Common

        func run() throws {
            try reportingErrors {
                let configuration = try common.load()
                guard let address = controller ?? configuration.controller else {
                    throw AgentError("No controller is named. Pass --controller https://HOST:PORT.")
                }
                let registration = try Registration(
                    controller: address,
                    activationID: activationID,
                    activationCode: try ActivationCode.read(file: activationCodeFile, environment: environment()),
                    pin: pin,
                    force: force,
                    proxy: { try configuration.proxy(to: $0, environment: environment()) }
                )
                let store = try IdentityStore(stateDirectory: configuration.stateDirectory)
                let logger = try configuration.logger()
                let outcome = try runToCompletion { group in
                    try await registration.run(store: store, group: group, logger: logger)
                }
                switch outcome {
                case .registered(let identity, let former):
                    ResultOutput.out("Registered as \(identity.node) with \(identity.controller).")
                    if let former, former.node != identity.node || former.controller != identity.controller {
                        ResultOutput.out(
                            "Before, this host was \(former.node) with \(former.controller), which still lists it. "
                                + "Deregister it there: muster deregister \(former.node)")
                    }
                    if IdentityStatus.isRunning(stateDirectory: configuration.stateDirectory) {
                        ResultOutput.out("An agent with the former identity is running here. Restart it: systemctl restart muster-agent")
                    }
                case .alreadyRegistered(let identity, let isHere):
                    ResultOutput.out(
                        "This host is already registered as \(identity.node) with \(identity.controller). Nothing was changed.")
                    guard isHere else {
                        throw AgentError("It was asked to join \(address). Pass --force to give up the identity it has.")
                    }
                }
            }
        }
    }

    struct Run: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Connects to the controller and runs what it sends, until SIGTERM.")

        @OptionGroup var common: Common

        func run() throws {
            try reportingErrors {
                let configuration = try common.load()
                let agent = try Agent(configuration: configuration, environment: environment())
                try runToCompletion { group in try await agent.run(group: group) }
            }
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows the identity of this host and the dates of its certificate.")

        @OptionGroup var common: Common

        func run() throws {
            try reportingErrors {
                let directory = try common.load().stateDirectory
                guard access(directory, F_OK) == 0, let status = try IdentityStatus(stateDirectory: directory) else {
                    throw AgentError("This host is not registered: there is no identity in \(directory).")
                }
                ResultOutput.out(status)
            }
        }
    }
}

/// ArgumentParser puts "Error: " before an error's text and picks the exit status by its type; ours say everything themselves.
private func reportingErrors(_ body: () throws -> Void) throws {
    do {
        try body()
        if let failure = ResultOutput.finish() {
            guard let words = failure.words else { throw ExitCode(failure.status) }
            throw AgentError(words)
        }
    } catch let status as ExitCode {
        throw status
    } catch {
        let text = Array("muster-agent: \(error)\n".utf8)
        _ = text.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        throw ExitCode.failure
    }
}

private func absolute(_ path: String) throws -> String {
    if path.hasPrefix("/") { return path }
    guard let current = getcwd(nil, 0) else { throw AgentError("Cannot find the current folder: \(SystemReason.words(errno))") }
    defer { free(current) }
    return String(cString: current) + "/" + path
}

private func environment() -> [String: String] {
    var variables: [String: String] = [:]
    var entry = environ
    while let line = entry.pointee {
        let text = String(cString: line)
        if let equals = text.firstIndex(of: "=") {
            variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
        }
        entry += 1
    }
    return variables
}

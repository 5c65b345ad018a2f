import ArgumentParser
import MusterCommandLine

struct Login: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Tries a key at a controller and writes it down as an AWS profile.",
        discussion: """
            The secret is no argument, because arguments can be seen by others: it is asked for on the terminal without being shown, or read from \
            standard input (the access key id, unless --access-key-id names it, then the secret, a line each). \
            Nothing is written unless the controller accepts the key. Other profiles stay as they are; the former files are kept beside the new \
            ones as config.before-login and credentials.before-login.
            """)

    @Option(help: ArgumentHelp("The controller's address.", valueName: "https://host:port")) var endpoint: String
    @Option(help: "A PEM file with the controller's authority.", completion: .file()) var ca: String?
    @Option(
        help: ArgumentHelp(
            "The authority's digest, as `muster-controller init` printed it; its certificate is fetched and kept.", valueName: "sha256:hex")
    )
    var pin: String?
    @Option(help: "The profile to write (default: AWS_PROFILE, or default).") var profile: String?
    @Option(name: .customLong("access-key-id"), help: "The access key's id, which is no secret.") var accessKeyID: String?
    @Option(help: "The region to sign for (default: the profile's, or us-east-1).") var region: String?
    @Option(name: [.short, .long], help: "How results are printed: table, json, yaml or csv.") var output: OutputFormat = .table
    @Flag(help: "Replace a profile that is in use without asking.") var yes = false

    func run() async throws {
        var request = LoginRequest(endpoint: endpoint)
        request.authority = ca
        request.pin = pin
        request.profile = profile
        request.accessKeyID = accessKeyID
        request.region = region
        request.assumeYes = yes
        let status = try await MusterCommandLine.Login(printer: Printer(format: output)).run(request)
        if status != 0 { throw ExitCode(status) }
    }
}

import FoundationEssentials
import Glibc
import Logging
import MusterClient
import MusterCrypto
import MusterTLS
import MusterWire

/// What `muster login` was asked to do. The secret is not among it: it never is an argument. [value]
package struct LoginRequest: Sendable {
    package var endpoint: String
    package var authority: String?
    package var pin: String?
    package var profile: String?
    package var accessKeyID: String?
    package var region: String?
    package var assumeYes = false

    package init(endpoint: String) {
        self.endpoint = endpoint
    }
}

/// Tries a key at a controller, and writes it down as an AWS profile when it works.
package struct Login: Sendable {
    private let environment: [String: String]
    private let printer: Printer

    package init(environment: [String: String] = ProcessInfo.processInfo.environment, printer: Printer) {
        self.environment = environment.filter { !$0.value.isEmpty }
        self.printer = printer
    }

    package func run(_ request: LoginRequest) async throws -> Int32 {
        let endpoint = try Endpoint(url: request.endpoint)
        let profile = request.profile ?? environment["AWS_PROFILE"] ?? environment["AWS_DEFAULT_PROFILE"] ?? "default"
        guard !profile.isEmpty, profile.utf8.count <= 128,
            profile.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && !"[]#;=\"'".utf8.contains($0) })
        else {
            throw CommandLineError("\"\(Table.printable(profile))\" cannot be the name of a profile: use letters, digits, dots and dashes.")
        }
        if let region = request.region,
            region.isEmpty || !region.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x2d })
        {
            throw CommandLineError("\"\(Table.printable(region))\" is not a region name.")
        }
        let files = try ProfileFiles(environment: environment)
        let section = profile == "default" ? "default" : "profile \(profile)"
        let config = try files.read(files.config)
        let region = request.region ?? config.value("region", in: section) ?? "us-east-1"

        // Who logs in again at the same controller has named its authority before.
        var request = request
        if request.authority == nil, request.pin == nil {
            let known = config.value("endpoint_url", in: section) == endpoint.description ? config.value("ca_bundle", in: section) : nil
            request.authority = environment["AWS_CA_BUNDLE"] ?? known
        }
        let (authority, trust) = try await self.authority(request, endpoint)
        let credentials = try self.credentials(request)
        let identity = try await verify(endpoint, credentials, region: region, trust: trust)
        guard
            try mayReplace(
                files, profile: profile, section: section, endpoint: endpoint, credentials: credentials, assumeYes: request.assumeYes)
        else { return 2 }

        var settings = [("region", region), ("endpoint_url", endpoint.description)]
        switch authority {
        case .file(let path): settings.append(("ca_bundle", path))
        case .fetched(let certificate):
            let path = files.folder + "/muster-\(profile.replacing("/", with: "_"))-ca.pem"
            try files.makeFolder()
            try PrivateFile.write(Array(certificate.pem().utf8), to: path)
            settings.append(("ca_bundle", path))
        case .system: break
        }
        try files.update(files.config, section: section, settings, removing: Self.otherSettings)
        try files.update(
            files.credentials, section: profile,
            [("aws_access_key_id", credentials.accessKeyID), ("aws_secret_access_key", credentials.secretAccessKey)],
            removing: ["aws_session_token"])

        if printer.format == .table {
            printer.out(
                "Logged in to \(endpoint) as \(identity.arn). Profile \"\(profile)\" is in \(files.config) and \(files.credentials).")
            if profile != "default" { printer.note("Use it with --profile \(profile), or: export AWS_PROFILE=\(profile)") }
            warnOfEnvironment()
        } else {
            var table = Table(["ACCOUNT", "ARN", "USER", "PROFILE"])
            table.add([identity.account, identity.arn, identity.userID, profile])
            try printer.structured(identity, table)
        }
        return 0
    }

    /// Other ways to an endpoint, an authority or a key that would win over what is written.
    private static let otherSettings: Set<String> = [
        "ca_bundle", "services", "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "role_arn", "source_profile",
        "credential_source", "credential_process", "web_identity_token_file", "mfa_serial", "sso_session", "sso_start_url", "sso_region",
        "sso_account_id", "sso_role_name", "login_session",
    ]

    private func warnOfEnvironment() {
        let stronger = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SSM", "AWS_CA_BUNDLE", "AWS_ACCESS_KEY_ID"].filter { environment[$0] != nil }
        guard !stronger.isEmpty else { return }
        printer.note(
            "\(stronger.joined(separator: ", ")) \(stronger.count == 1 ? "is" : "are") set in this shell and win\(stronger.count == 1 ? "s" : "") over the profile: unset \(stronger.joined(separator: " "))"
        )
    }

    // MARK: Whom to believe

    private enum Authority {
        case system
        case file(String)
        case fetched(Certificate)
    }

    private func authority(_ request: LoginRequest, _ endpoint: Endpoint) async throws -> (Authority, TLSTrust) {
        if let pin = request.pin {
            guard request.authority == nil else { throw CommandLineError("Pass --ca or --pin, not both.") }
            let digits = pin.hasPrefix("sha256:") ? String(pin.dropFirst(7)) : pin
            guard let digest = Hex.decode(digits), digest.count == 32 else {
                throw CommandLineError("--pin takes sha256: and 64 hexadecimal digits, as `muster-controller init` printed them.")
            }
            let certificate = try await fetch(digest, endpoint)
            return (.fetched(certificate), .authorities([certificate]))
        }
        guard let path = request.authority else { return (.system, .system) }
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw CommandLineError("Cannot read the authorities in \(path): \(SystemError.words()).")
        }
        do {
            let absolute = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
            return (.file(absolute), .authorities(try Certificate.chain(pem: String(decoding: bytes, as: UTF8.self))))
        } catch {
            throw CommandLineError("Cannot use the authorities in \(path): \(error)")
        }
    }

    private func fetch(_ digest: [UInt8], _ endpoint: Endpoint) async throws -> Certificate {
        do {
            return try await PinnedAuthority.fetch(pin: digest, from: endpoint)
        } catch {
            guard error.kind == .untrusted else { throw error }
            throw CommandLineError(
                "\(error). Compare the pin with the one that `muster-controller init` printed; if it is the same, this is not your controller. Nothing was written."
            )
        }
    }

    // MARK: The key

    /// From the terminal, or from standard input: the access key id (unless it was an option) and the secret, a line each.
    private func credentials(_ request: LoginRequest) throws -> Credentials {
        func line(_ name: String, _ text: String?) throws -> String {
            let word = text.map { $0.split(whereSeparator: \.isWhitespace) } ?? []
            guard word.count == 1, word[0].utf8.count <= 512, word[0].utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
                throw CommandLineError("No usable \(name) was given: it is one word of printable characters.")
            }
            return String(word[0])
        }
        let isTerminal = Terminal.isThere(STDIN_FILENO)
        let id: String
        if let given = request.accessKeyID {
            id = try line("access key id", given)
        } else {
            if isTerminal { Printer.write("Access key id: ", to: STDERR_FILENO) }
            id = try line("access key id", readLine())
        }
        let secret = try line("secret access key", isTerminal ? try Terminal.readSecret(prompt: "Secret access key: ") : readLine())
        return Credentials(accessKeyID: id, secretAccessKey: secret, sessionToken: nil)
    }

    private func verify(_ endpoint: Endpoint, _ credentials: Credentials, region: String, trust: TLSTrust) async throws
        -> GetCallerIdentity.Output
    {
        let api = APIClient(
            endpoint: endpoint, credentials: credentials, region: region, tls: try TLSContext(.client(trust: trust)), attempts: 2,
            logger: Logger(label: "muster", factory: { _ in SwiftLogNoOpLogHandler() }))
        defer { api.shutdown() }
        do {
            return try await api.callerIdentity()
        } catch let error as ClientError where error.kind == .untrusted {
            throw CommandLineError("\(error). Name the controller's authority with --ca FILE or --pin sha256:HEX. Nothing was written.")
        } catch {
            throw CommandLineError("\(Advice.words(for: error)) Nothing was written.")
        }
    }

    /// A profile that leads elsewhere, or somebody else's key, is replaced only by who says so.
    private func mayReplace(
        _ files: ProfileFiles, profile: String, section: String, endpoint: Endpoint, credentials: Credentials, assumeYes: Bool
    ) throws -> Bool {
        let config = try files.read(files.config)
        let keys = try files.read(files.credentials)
        let formerKey = keys.value("aws_access_key_id", in: profile) ?? config.value("aws_access_key_id", in: section)
        let formerEndpoint = config.value("endpoint_url", in: section)
        let sources = ["credential_process", "role_arn", "sso_session", "sso_start_url", "services"].filter {
            config.value($0, in: section) != nil
        }
        let isSame =
            (formerEndpoint == nil || formerEndpoint == endpoint.description) && (formerKey == nil || formerKey == credentials.accessKeyID)
        // A key without an endpoint is AWS's own.
        let isAWS = formerKey != nil && formerEndpoint == nil
        if assumeYes || (isSame && !isAWS && sources.isEmpty) { return true }
        let what = [
            formerKey.map { "key \($0)" }, formerEndpoint.map { "endpoint \($0)" }, sources.isEmpty ? nil : sources.joined(separator: ", "),
        ]
        .compactMap { $0 }.map(Table.printable).joined(separator: ", ")
        guard let answer = printer.ask("The profile \"\(profile)\" is in use (\(what)). Replace it? [y/N]") else {
            throw CommandLineError(
                "The profile \"\(profile)\" is in use (\(what)). Choose another with --profile, or pass --yes to replace it. Nothing was written."
            )
        }
        return ["y", "yes"].contains(answer.lowercased())
    }
}

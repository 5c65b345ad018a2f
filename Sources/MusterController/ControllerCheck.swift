internal import MusterCrypto
package import MusterWire

/// `muster-controller check`: looks at everything a start needs, and changes nothing.
package struct ControllerCheck: Sendable {
    package struct Finding: Sendable {
        package enum Kind: String, Sendable {
            case good = "ok"
            case warning
            case bad = "error"
        }

        package let kind: Kind
        package let text: String
    }

    private static let daySeconds: Int64 = 86_400

    private let configuration: ControllerConfiguration
    private let directory: DataDirectory

    package init(configuration: ControllerConfiguration) {
        self.configuration = configuration
        self.directory = DataDirectory(configuration.dataDirectory)
    }

    package func run(now: Timestamp = .now()) async -> [Finding] {
        var findings: [Finding] = []
        func look(_ subject: String, _ body: () async throws -> String) async {
            do {
                findings.append(Finding(kind: .good, text: "\(subject): \(try await body())"))
            } catch {
                findings.append(Finding(kind: .bad, text: "\(subject): \(PlainWords.of(error))"))
            }
        }
        await look("configuration") {
            _ = try StartCheck(configuration).places()
            return "\(configuration.listeners.count) listener(s), account \(configuration.account)"
        }
        await look("permissions") {
            try directory.verifyFiles()
            return "\(directory.path) and its files are closed to others"
        }
        await look("addresses") {
            // The running controller has them, and shows by that that they can be had.
            var lock: DataDirectory.Lock?
            do {
                lock = directory.exists(.lock) ? try directory.acquireLock() : nil
            } catch ControllerError.inUse {
                return "in use by the controller that runs in \(directory.path)"
            }
            defer { withExtendedLifetime(lock) {} }
            try StartCheck(configuration).verifyAddresses()
            return "\(configuration.listeners.count) address(es) are free"
        }
        guard directory.exists(.certificate), directory.exists(.sealingKey), directory.exists(.database) else {
            return findings + [Finding(kind: .bad, text: "store: \(ControllerError.notInitialised(directory.path))")]
        }
        var end = Int64.max
        await look("certificate authority") {
            let authority = try await authority()
            end = authority.certificate.notAfter
            return try judge(authority, now)
        }
        for listener in configuration.listeners where listener.certificate != nil {
            await look("certificate of \(listener.address):\(listener.port)") {
                let certificate = try ServerCertificate.verifyFiles(
                    certificate: listener.certificate ?? "", key: listener.key ?? "", now: now)
                return "\(certificate.commonName ?? "without a name"), ends \(Timestamp(milliseconds: certificate.notAfter * 1000).iso8601)"
            }
        }
        await look("database") { try await database() }
        if end - now.milliseconds / 1000 < 365 * Self.daySeconds {
            findings.append(
                Finding(
                    kind: .warning,
                    text: "certificate authority: ends in less than a year. Begin to roll it: muster-controller ca prepare"))
        }
        return findings
    }

    /// The one that issues; before the first start of this version, the one that `init` made.
    private func authority() async throws -> CertificateAuthority {
        let database = try SQLiteDatabase(path: directory.path(of: .database))
        defer { try? database.close() }
        if try await Migrations.isCurrent(database), try await !database.read({ tx in try AuthorityStore.all(in: tx) }).isEmpty {
            return try await Authorities.load(directory, database).issuing
        }
        return try Controller.authority(in: directory)
    }

    private func judge(_ authority: CertificateAuthority, _ now: Timestamp) throws -> String {
        let seconds = now.milliseconds / 1000
        guard authority.certificate.isCertificateAuthority, authority.certificate.notBefore <= seconds,
            seconds < authority.certificate.notAfter
        else {
            throw ControllerError.badSetting("The certificate authority is none at this time: its certificate is not valid.")
        }
        guard authority.holdsItsKey else {
            throw ControllerError.badSetting("\(directory.path(of: .key)) is not the key of \(directory.path(of: .certificate)).")
        }
        _ = try Controller.cipher(in: directory)
        return "valid until \(Timestamp(milliseconds: authority.certificate.notAfter * 1000).iso8601)"
    }

    private func database() async throws -> String {
        let database = try SQLiteDatabase(path: directory.path(of: .database))
        defer { try? database.close() }
        try database.verifyIntegrity()
        guard try await Migrations.isCurrent(database) else {
            return "intact and durable; the next start will bring its schema up to date"
        }
        let account = configuration.account
        try await database.read { tx in try StartCheck.verifyAccount(account, in: tx) }
        let keys = try await OperatorKeyStore(database: database, cipher: Controller.cipher(in: directory)).count()
        let found = try database.durability()
        return
            "intact, synchronous=\(found.synchronous == 2 ? "FULL" : String(found.synchronous)), journal=\(found.journal), \(keys) operator key(s)"
    }
}

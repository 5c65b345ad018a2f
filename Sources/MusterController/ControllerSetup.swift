internal import FoundationEssentials
internal import Glibc
internal import MusterCrypto
package import MusterWire

/// `muster-controller init`: makes a controller out of an empty directory. Locally, once, and never over the network.
///
/// An init that was cut short may be repeated; it keeps what is already there. The mark of completion is written last.
package struct ControllerSetup: Sendable {
    static let authorityYears: Int64 = 10

    package let configuration: ControllerConfiguration
    /// What agents and operators connect to.
    package let names: [String]
    package let profileDirectory: String
    private let directory: DataDirectory

    package init(configuration: ControllerConfiguration, names: [String], profileDirectory: String?) throws {
        for name in names where !ControllerConfiguration.isName(name) { throw ControllerError.badName(name) }
        self.configuration = configuration
        self.directory = DataDirectory(configuration.dataDirectory)
        self.names = Self.unique(names + configuration.names + (names.isEmpty && configuration.names.isEmpty ? [Self.hostName()] : []))
        self.profileDirectory = profileDirectory ?? configuration.dataDirectory + "/profile"
    }

    package struct Outcome: Sendable {
        package let dataDirectory: String
        package let profileDirectory: String
        package let endpoint: String
        package let accessKeyID: String
        /// `sha256:` and the hexadecimal SHA-256 of the CA certificate's DER.
        package let pin: String
    }

    package func run(now: Timestamp = .now()) async throws -> Outcome {
        try refuseForeignProfile()
        try directory.create()
        let lock = try directory.acquireLock()
        defer { withExtendedLifetime(lock) {} }
        guard !directory.exists(.restoring) else { throw ControllerError.restoring(directory.path) }

        let isNew = !directory.exists(.database)
        let database = try SQLiteDatabase(path: directory.path(of: .database))
        defer { try? database.close() }
        try await Migrations.run(on: database, now: now.milliseconds)
        if !isNew, try await database.read({ tx in try MetaStore.value(.initialisedAt, in: tx) }) != nil {
            guard directory.exists(.certificate) else {
                throw ControllerError.lost(path: directory.path(of: .certificate), directory: directory.path)
            }
            // Says which key is missing, if one is.
            try await Authorities.enter(from: directory, database, now: now)
            _ = try await Authorities.load(directory, database)
            throw ControllerError.alreadyInitialised(directory.path)
        }

        let authority = try makeAuthority(now)
        let cipher = try makeCipher()
        let account = configuration.account
        let region = configuration.region
        let names = names.joined(separator: " ")
        try await database.write { tx in
            _ = try MetaStore.ensure(.storeEpoch, { UUID().uuidString.lowercased() }, in: tx)
            _ = try MetaStore.ensure(.pageTokenKey, { Base64.encode(RandomBytes.make(32)) }, in: tx)
            _ = try MetaStore.ensure(.dispatchFence, { "0" }, in: tx)
            try MetaStore.set(.account, to: account, in: tx)
            try AuditLog.adopt(account: account, region: region, in: tx)
            try MetaStore.set(.names, to: names, in: tx)
        }
        let credentials = try await database.write { tx in try FirstUser.create(now: now, cipher: cipher, in: tx) }
        let endpoint = endpoint()
        try writeProfile(credentials, endpoint: endpoint, authority: authority.certificate)
        let profile = Self.absolute(profileDirectory)
        try await database.write { tx in
            try MetaStore.set(.profileDirectory, to: profile, in: tx)
            try MetaStore.set(.initialisedAt, to: now.iso8601, in: tx)
        }
        return Outcome(
            dataDirectory: directory.path, profileDirectory: profileDirectory, endpoint: endpoint,
            accessKeyID: credentials.accessKeyID, pin: AuthoritySet.pin(authority.certificate))
    }

    /// Somebody's `~/.aws` is not ours to overwrite.
    private func refuseForeignProfile() throws {
        guard profileDirectory != configuration.dataDirectory + "/profile" else { return }
        for file in ["config", "credentials"] where FileManager.default.fileExists(atPath: profileDirectory + "/" + file) {
            throw ControllerError.badSetting("\(profileDirectory)/\(file) exists and would be overwritten. Pass another --profile-dir.")
        }
    }

    private func makeAuthority(_ now: Timestamp) throws -> CertificateAuthority {
        if directory.exists(.key), directory.exists(.certificate) { return try Controller.authority(in: directory) }
        let key = try PrivateKey.generate()
        let seconds = now.milliseconds / 1000
        let authority = try CertificateAuthority.create(
            commonName: "Muster CA " + Hex.encode(RandomBytes.make(4)), notBefore: seconds - 300,
            notAfter: seconds + Self.authorityYears * 365 * 86_400, key: key)
        try directory.write(try key.pem(), to: .key)
        try directory.write(authority.certificate.pem(), to: .certificate)
        return authority
    }

    private func makeCipher() throws -> AuthenticatedCipher {
        if !directory.exists(.sealingKey) { try directory.write(Base64.encode(RandomBytes.make(32)) + "\n", to: .sealingKey) }
        return try Controller.cipher(in: directory)
    }

    private func endpoint() -> String { configuration.operatorEndpoint(named: names.first) }

    /// The files that every AWS client reads. https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
    private func writeProfile(_ credentials: Credentials, endpoint: String, authority: Certificate) throws {
        try DataDirectory(profileDirectory).create()
        let bundle = profileDirectory + "/ca.pem"
        try DataDirectory.write(authority.pem(), to: bundle)
        try DataDirectory.write(
            """
            [default]
            region = \(configuration.region)
            endpoint_url = \(endpoint)
            ca_bundle = \(Self.absolute(bundle))
            output = json

            """, to: profileDirectory + "/config")
        try DataDirectory.write(
            """
            [default]
            aws_access_key_id = \(credentials.accessKeyID)
            aws_secret_access_key = \(credentials.secretAccessKey)

            """, to: profileDirectory + "/credentials")
    }

    private static func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    }

    private static func unique(_ names: [String]) -> [String] {
        var seen: Set<String> = []
        return names.filter { seen.insert($0).inserted }
    }

    static func hostName() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        let name = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return ControllerConfiguration.isName(name) ? name : "localhost"
    }
}

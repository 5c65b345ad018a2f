import Foundation
import HTTPTypes
import Logging
import MusterController
import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers
import NIOCore
import ServiceLifecycle
import Testing

/// A `ControllerServer` on a free loopback port with a store, a CA, an operator's key and one registered node, and clients
/// that are not ours: curl and `openssl s_client`.
final class LiveServer: Sendable {
    static let node = NodeID("mi-0123456789abcdef0")!
    static let otherNode = NodeID("mi-0123456789abcdef1")!

    let directory: TemporaryDirectory
    let database: ObservedDatabase
    let credentials: Credentials
    let authority: CertificateAuthority
    let certificate: ServerCertificate
    private let port = NIOLockedValueBox("")
    private let channels = NIOLockedValueBox<[String]>([])
    let arrivals = Changes()

    var address: String { "127.0.0.1:\(port.withLockedValue { $0 })" }
    /// What the control channels have received, as text.
    var received: [String] { channels.withLockedValue { $0 } }

    func receives(_ text: String) async throws -> Bool {
        let deadline = ContinuousClock.now + .seconds(10)
        while true {
            let seen = arrivals.count
            if received.contains(text) { return true }
            guard try await arrivals.next(after: seen, until: deadline) else { return false }
        }
    }

    private init() async throws {
        directory = try TemporaryDirectory()
        database = ObservedDatabase(try SQLiteDatabase(path: directory.file("store.sqlite")))
        try await Migrations.run(on: database, now: 1)
        let seconds = Timestamp.now().milliseconds / 1000
        authority = try CertificateAuthority.create(
            commonName: "Test CA", notBefore: seconds - 300, notAfter: seconds + 86_400, key: .generate())
        certificate = try ServerCertificate(
            .authority(AuthoritySet(issuing: authority), names: ["localhost", "127.0.0.1"], hours: 1),
            clientAuthorities: [authority.certificate],
            logger: Self.logger)
        let cipher = try Self.keys(database).cipher
        credentials = try await database.write { tx in try FirstUser.create(now: .now(), cipher: cipher, in: tx) }
        try DataDirectory.write(authority.certificate.pem(), to: directory.file("ca.pem"))
        for (name, node, generation) in [("node", Self.node, 1), ("other", Self.otherNode, 1), ("old", Self.node, 7)] {
            let key = try PrivateKey.generate()
            let identity = NodeIdentity(node: node, generation: generation)
            let leaf = try NodeCertificates(authority: authority, hours: 24).issue(identity, for: key.publicKey, at: .now()).leaf
            try DataDirectory.write(leaf.pem(), to: directory.file("\(name).pem"))
            try DataDirectory.write(key.pem(), to: directory.file("\(name)-key.pem"))
            guard name != "old" else { continue }
            let record = Node(
                id: node, generation: 1, publicKey: try key.publicKey.der, activation: ActivationID.random(), iamRole: "role", name: nil,
                facts: .init(), registeredAt: .now(), sourceAddress: nil)
            try await database.write { tx in try NodeStore.insert(record, in: tx) }
        }
        // A node of somebody else's CA.
        let stranger = try CertificateAuthority.create(
            commonName: "Stranger CA", notBefore: seconds - 300, notAfter: seconds + 86_400, key: .generate())
        let key = try PrivateKey.generate()
        let leaf = try NodeCertificates(authority: stranger, hours: 24).issue(
            NodeIdentity(node: Self.node, generation: 1), for: key.publicKey, at: .now()
        ).leaf
        try DataDirectory.write(leaf.pem(), to: directory.file("stranger.pem"))
        try DataDirectory.write(key.pem(), to: directory.file("stranger-key.pem"))
    }

    private static var logger: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }

    private static func keys(_ database: any SQLDatabase) throws -> OperatorKeyStore {
        OperatorKeyStore(database: database, cipher: try AuthenticatedCipher(key: [UInt8](repeating: 1, count: 32)))
    }

    static func run(
        sides: Set<ControllerServer.Side> = [.agents, .operators], limits: ControllerServer.Limits = .init(),
        policies: PolicySet = .administrator, openings: ChannelOpenings = ChannelOpenings(), metricsFrom: [String] = ["127.0.0.1"],
        _ body: @escaping @Sendable (LiveServer) async throws -> Void
    ) async throws {
        let live = try await LiveServer()
        let ready = AsyncStream.makeStream(of: Void.self)
        let server = ControllerServer(
            listeners: [.init(address: "127.0.0.1", port: 0, sides: sides, certificate: live.certificate)], limits: limits,
            table: TestOperations.table(IdentityOperations(database: live.database, cipher: try keys(live.database).cipher)),
            policies: .fixed(policies),
            authentication: Authentication(keys: try keys(live.database), database: live.database, account: "000000000001", regions: []),
            database: live.database, account: "000000000001", region: "us-east-1", metrics: Metrics(),
            openings: openings,
            metricsFrom: metricsFrom.compactMap(AddressRange.init),
            serveNode: { peer, identity, _ in Echo(peer: peer, node: identity.node, live: live) },
            listening: { addresses in
                live.port.withLockedValue { $0 = addresses[0].split(separator: ":").last.map(String.init) ?? "" }
                ready.continuation.yield()
            },
            logger: logger)
        let group = ServiceGroup(configuration: .init(services: [.init(service: server)], logger: logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            for await _ in ready.stream { break }
            do {
                try await body(live)
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
        try live.database.close()
    }

    /// Writes down what it receives, and sends it back.
    private struct Echo: MessageReceiver {
        let peer: WebSocketPeer
        let node: NodeID
        let live: LiveServer

        func began() async {}
        func ended() async {}

        func received(_ message: WebSocketPeer.Message) async -> Bool {
            switch message {
            case .text(let text):
                live.channels.withLockedValue { $0.append("\(node) \(text)") }
                live.arrivals.happened()
                try? await peer.send(text: "heard \(text)")
            case .binary(let bytes):
                live.channels.withLockedValue { $0.append("\(node) \(bytes.readableBytes) bytes") }
                live.arrivals.happened()
                try? await peer.send(binary: bytes)
            }
            return true
        }
    }

    // MARK: Clients

    struct Reply: Sendable {
        let status: Int
        let headers: [String: String]
        let body: String

        var code: String { object["__type"] ?? "" }
        var message: String { object["message"] ?? "" }
        var object: [String: String] { (try? JSONDecoder().decode([String: String].self, from: Data(body.utf8))) ?? [:] }
    }

    func curl(_ path: String, _ arguments: [String] = [], certificate: String? = nil, input: Data? = nil) async throws -> Reply {
        var all = ["-sS", "-i", "--max-time", "20", "--cacert", directory.file("ca.pem"), "-H", "Expect:"]
        if let certificate { all += ["--cert", directory.file("\(certificate).pem"), "--key", directory.file("\(certificate)-key.pem")] }
        let result = try await Program.run("/usr/bin/curl", all + arguments + ["https://\(address)\(path)"], input: input)
        guard result.status == 0 else { return Reply(status: -Int(result.status), headers: [:], body: result.errors) }
        return Self.parse(result.output)
    }

    func call(
        _ operation: String, _ body: String = "{}", signed: Bool = true, key: Credentials? = nil, at time: Timestamp = .now(),
        region: String = "us-east-1", certificate: String? = nil, headers extra: [String] = [], change: (String) -> String = { $0 }
    ) async throws -> Reply {
        var arguments = ["-X", "POST", "-H", "Content-Type: application/x-amz-json-1.1", "-H", "X-Amz-Target: AmazonSSM.\(operation)"]
        if signed {
            var fields: HTTPFields = [.contentType: "application/x-amz-json-1.1", .amzTarget: "AmazonSSM.\(operation)"]
            SigV4.sign(
                method: "POST", path: "/", headers: &fields, body: Array(body.utf8), host: address,
                credentials: key ?? credentials, region: region, service: "ssm", at: time)
            arguments += ["-H", "x-amz-date: \(fields[.amzDate] ?? "")", "-H", "Authorization: \(change(fields[.authorization] ?? ""))"]
        }
        return try await curl(
            "/", arguments + extra.flatMap { ["-H", $0] } + ["--data-binary", "@-"], certificate: certificate, input: Data(body.utf8))
    }

    /// A call of STS.
    func form(_ body: String, signed: Bool = true, certificate: String? = nil) async throws -> Reply {
        let type = "application/x-www-form-urlencoded; charset=utf-8"
        var arguments = ["-X", "POST", "-H", "Content-Type: \(type)"]
        if signed {
            var fields: HTTPFields = [.contentType: type]
            SigV4.sign(
                method: "POST", path: "/", headers: &fields, body: Array(body.utf8), host: address, credentials: credentials,
                region: "us-east-1",
                service: "sts", at: .now())
            arguments += ["-H", "x-amz-date: \(fields[.amzDate] ?? "")", "-H", "Authorization: \(fields[.authorization] ?? "")"]
        }
        return try await curl("/", arguments + ["--data-binary", "@-"], certificate: certificate, input: Data(body.utf8))
    }

    func audit() async throws -> [AuditLog.Entry] {
        try await database.read { tx in try AuditLog.newest(100, in: tx) }
    }

    private static func parse(_ output: Data) -> Reply {
        let text = String(decoding: output, as: UTF8.self)
        let parts = text.split(separator: "\r\n\r\n", maxSplits: 1, omittingEmptySubsequences: false)
        let lines = (parts.first ?? "").split(separator: "\r\n")
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let pair = line.split(separator: ":", maxSplits: 1)
            if pair.count == 2 { headers[pair[0].lowercased()] = pair[1].trimmingCharacters(in: .whitespaces) }
        }
        let status = lines.first.flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Int($0) } ?? 0
        return Reply(status: status, headers: headers, body: parts.count > 1 ? String(parts[1]) : "")
    }
}

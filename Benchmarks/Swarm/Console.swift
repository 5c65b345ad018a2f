import FoundationEssentials
import Logging
import MusterClient
import MusterCrypto
import MusterTLS
import MusterWire
import NIOCore
import NIOHTTP1
import NIOPosix

/// What an operator does: calls of the API, and looks at /healthz and /metrics.
struct Console: Sendable {
    let endpoint: Endpoint
    let api: APIClient
    private let profile: OperatorProfile
    private let tls: TLSContext
    private let group: MultiThreadedEventLoopGroup

    init(profileDirectory: String, endpoint: Endpoint, group: MultiThreadedEventLoopGroup) throws {
        profile = try OperatorProfile.load(environment: [
            "AWS_CONFIG_FILE": profileDirectory + "/config", "AWS_SHARED_CREDENTIALS_FILE": profileDirectory + "/credentials",
            "AWS_ENDPOINT_URL": endpoint.description, "HOME": profileDirectory,
        ])
        tls = try TLSContext(.client(trust: profile.trust()))
        self.endpoint = endpoint
        self.group = group
        api = Self.client(profile, tls, group)
    }

    private static func client(_ profile: OperatorProfile, _ tls: TLSContext, _ group: MultiThreadedEventLoopGroup) -> APIClient {
        APIClient(
            endpoint: profile.endpoint, credentials: profile.credentials, region: profile.region, tls: tls, group: group,
            logger: Logger(label: "swarm", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    func authority() throws -> Certificate {
        let bytes = profile.caBundle.flatMap { FileManager.default.contents(atPath: $0) } ?? Data()
        guard let authority = try Certificate.chain(pem: String(decoding: bytes, as: UTF8.self)).first(where: \.isCertificateAuthority)
        else {
            throw SwarmError("The operator's profile names no authority.")
        }
        return authority
    }

    /// One call on a connection of its own, as somebody has who sits down now: what it took.
    func look() async throws -> Duration {
        let clock = ContinuousClock()
        let begun = clock.now
        let client = Self.client(profile, try TLSContext(.client(trust: profile.trust())), group)
        defer { client.shutdown() }
        _ = try await client.call(DescribeInstanceInformation.self, .init(maxResults: 5))
        return clock.now - begun
    }

    /// The control channels that are open, as the controller counts them: admitted, and in its registry.
    func connected() async throws -> Int {
        let text = try await get("/metrics")
        let line = text.split(separator: "\n").first { $0.hasPrefix("muster_agents_connected ") }
        return line?.split(separator: " ").last.flatMap { Double($0) }.map { Int($0) } ?? 0
    }

    func get(_ path: String) async throws -> String {
        let deadline = NIODeadline.now() + .seconds(20)
        let connection = try await HTTPConnection.connect(endpoint: endpoint, tls: tls, group: group, deadline: deadline)
        defer { connection.close() }
        let answer = try await connection.send(
            HTTPRequest(method: .GET, path: path, headers: ["host": endpoint.authority, "connection": "close"]), deadline: deadline)
        guard answer.status == 200 else { throw SwarmError("\(path) answered \(answer.status).") }
        return String(decoding: answer.body, as: UTF8.self)
    }

    /// Sends a script that does nothing to the whole fleet. From the call to the moment at which the controller shows every
    /// result, which it does only after they are durable.
    func command(maxConcurrency: String, expecting count: Int, within limit: Duration) async throws -> Duration {
        let clock = ContinuousClock()
        let begun = clock.now
        let sent = try await api.call(
            SendCommand.self,
            .init(
                documentName: "AWS-RunShellScript", targets: [Target(key: "tag:fleet", values: ["swarm"])], timeoutSeconds: 600,
                parameters: ["commands": ["true"]], maxConcurrency: maxConcurrency, maxErrors: "0"))
        let id = sent.command.commandID.description
        while true {
            guard let command = try await api.call(ListCommands.self, .init(commandID: id)).commands.first else {
                throw SwarmError("The controller does not list command \(id).")
            }
            switch command.status {
            case .success:
                let took = clock.now - begun
                guard command.completedCount == count, command.targetCount == count else {
                    throw SwarmError(
                        "Command \(id) ended with \(command.completedCount) of \(command.targetCount) results; there are \(count) nodes.")
                }
                return took
            case .pending, .inProgress, .cancelling:
                guard clock.now - begun < limit else {
                    throw SwarmError("Command \(id) has \(command.completedCount) of \(command.targetCount) results after \(limit).")
                }
            default:
                throw SwarmError("Command \(id) ended as \(command.statusDetails).")
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}

struct SwarmError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

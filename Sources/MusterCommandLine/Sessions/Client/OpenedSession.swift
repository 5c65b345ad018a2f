import FoundationEssentials
import Glibc
import Logging
import MusterClient
import MusterTLS
import MusterWire
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// What to start where.
package struct SessionRequest: Sendable {
    package var node: String
    package var document: String?
    package var parameters: [String: [String]]
    package var reason: String?

    package init(node: String, document: String? = nil, parameters: [String: [String]] = [:], reason: String? = nil) {
        self.node = node
        self.document = document
        self.parameters = parameters
        self.reason = reason
    }
}

/// A session that was started, and the way back into it: the token of StartSession for the first connection, one of ResumeSession for
/// each later one.
final class OpenedSession: Sendable {
    /// From the first packet to the opened WebSocket. A link that is cut shows by this, too.
    private static let connectTime = TimeAmount.seconds(8)

    let id: SessionID
    let node: NodeID
    let loop: any EventLoop
    let channel: DataChannel
    private let api: APIClient

    private init(id: SessionID, node: NodeID, loop: any EventLoop, channel: DataChannel, api: APIClient) {
        self.id = id
        self.node = node
        self.loop = loop
        self.channel = channel
        self.api = api
    }

    static func start(_ request: SessionRequest, by caller: Operator) async throws -> OpenedSession {
        let node = try await find(request.node, caller.api)
        // A repeat gets the same session. One that nobody opens is over after a minute.
        let started = try await caller.api.call(
            StartSession.self,
            .init(
                target: node.rawValue, documentName: request.document, reason: request.reason,
                parameters: request.parameters.isEmpty ? nil : request.parameters),
            patience: .seconds(45)
        ) { Printer.write("muster: \(Table.terminalSafe("\($0)")) Trying again.\n", to: STDERR_FILENO) }
        let tls = try TLSContext(.client(trust: caller.profile.trust()))
        let logger = Logger(label: "muster", factory: { _ in SwiftLogNoOpLogHandler() })
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        // Short tries: the data channel itself tries again, and says meanwhile that it does.
        let resuming = APIClient(
            endpoint: caller.profile.endpoint, credentials: caller.profile.credentials, region: caller.profile.region, tls: tls,
            clock: caller.api.clock, timeout: connectTime, attempts: 1, logger: logger)
        let way = Way(started, caller.profile.endpoint, tls, resuming, loop)
        let channel = DataChannel(role: .client, limits: .native, connect: { _ in try await way.connect() }, logger: logger)
        return OpenedSession(id: started.sessionID, node: node, loop: loop, channel: channel, api: resuming)
    }

    private static func find(_ word: String, _ api: APIClient) async throws -> NodeID {
        if let id = NodeID(word) { return id }
        return try await NodeDirectory.load(api).node(named: word, reported: .refused).instanceID
    }

    /// Ends the session at the controller. It would end there by itself, only later.
    func terminate() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { _ = try? await self.api.call(TerminateSession.self, .init(sessionID: self.id.rawValue)) }
            group.addTask { try? await Task.sleep(for: .seconds(3)) }
            await group.next()
            group.cancelAll()
        }
    }

    func shutdown() { api.shutdown() }

    /// Opens connections, one after the other.
    private final class Way: Sendable {
        private let session: SessionID
        private let endpoint: Endpoint
        private let tls: TLSContext
        private let api: APIClient
        private let loop: any EventLoop
        /// One for the life of this process: a token is bound to it.
        private let client = UUID().uuidString.lowercased()
        private let first: NIOLockedValueBox<StartSession.Output?>

        init(_ started: StartSession.Output, _ endpoint: Endpoint, _ tls: TLSContext, _ api: APIClient, _ loop: any EventLoop) {
            session = started.sessionID
            self.endpoint = endpoint
            self.tls = tls
            self.api = api
            self.loop = loop
            first = NIOLockedValueBox(started)
        }

        func connect() async throws -> WebSocketConnection {
            let grant = try await grant()
            guard let token = grant.tokenValue, !token.isEmpty else { throw DataChannelGone("The session has ended.") }
            let stream = try StreamAddress(grant.streamURL, endpoint)
            let opening = OpenDataChannel(
                requestID: UUID().uuidString.lowercased(), tokenValue: token, clientID: client, clientVersion: ClientVersion.current,
                maximumPayload: ReliableStream.largestPayload, takesUnhashed: true)
            return try await DataChannel.open(
                endpoint: stream.endpoint, path: stream.path, tls: tls,
                text: String(decoding: try JSONCoding.encode(opening), as: UTF8.self),
                group: loop, deadline: .now() + OpenedSession.connectTime)
        }

        private func grant() async throws -> StartSession.Output {
            let started = first.withLockedValue { first in
                defer { first = nil }
                return first
            }
            if let started { return started }
            do {
                return try await api.call(ResumeSession.self, .init(sessionID: session.rawValue))
            } catch let error as APIError where error.status < 500 && error.status != 429 {
                throw DataChannelGone(error.code == "DoesNotExistException" ? "The session has ended." : "\(error)")
            }
        }
    }
}

/// `wss://HOST:PORT/PATH`, as StartSession answers it: by way of the address that the operator has configured, if it is the same.
struct StreamAddress {
    let endpoint: Endpoint
    let path: String

    init(_ url: String, _ configured: Endpoint) throws(ClientError) {
        let prefix = "wss://"
        guard url.hasPrefix(prefix), let slash = url.dropFirst(prefix.count).firstIndex(of: "/") else {
            throw ClientError(.protocolViolation, "The controller named no address for the session.")
        }
        let authority = String(url[url.index(url.startIndex, offsetBy: prefix.count)..<slash])
        if authority == configured.authority {
            endpoint = configured
        } else {
            var other = try Endpoint(url: "https://" + authority)
            other.proxy = configured.proxy
            endpoint = other
        }
        path = String(url[slash...])
    }
}

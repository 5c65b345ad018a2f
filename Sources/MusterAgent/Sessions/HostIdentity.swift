import FoundationEssentials
import Logging
import MusterClient
import MusterWire
import NIOConcurrencyHelpers
import NIOCore

/// The node's identity as the session host uses it: read afresh for each connection, because the agent renews it.
final class HostIdentity: Sendable {
    private struct State {
        var proxy: HTTPProxy?
        var current: CurrentIdentity?
    }

    private let store: IdentityStore
    private let group: any EventLoopGroup
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    init(stateDirectory: String, group: any EventLoopGroup, logger: Logger) throws {
        store = try IdentityStore(stateDirectory: stateDirectory)
        self.group = group
        self.logger = logger
    }

    /// As the agent has it now.
    var proxy: HTTPProxy? {
        get { state.withLockedValue { $0.proxy } }
        set {
            state.withLockedValue { state in
                if state.proxy != newValue { state.current = nil }
                state.proxy = newValue
            }
        }
    }

    /// The same as before while nothing has changed, so that TLS sessions are resumed and contexts shared.
    private func current() throws -> CurrentIdentity {
        guard let identity = try store.load() else { throw DataChannelGone("This host is not registered any more.") }
        return state.withLockedValue { state in
            if let current = state.current, current.identity.leaf == identity.leaf, current.identity.controller == identity.controller {
                return current
            }
            let current = CurrentIdentity(identity, store: store, clock: ServerClock(), proxy: state.proxy, logger: logger)
            state.current = current
            return current
        }
    }

    /// How a session's data channel is opened.
    func connect(_ session: SessionID, node: NodeID) -> @Sendable (Int) async throws -> WebSocketConnection {
        { [self] _ in
            let current = try current()
            let identity = current.identity
            guard identity.node == node else { throw DataChannelGone("This host is registered as another node now.") }
            let open = OpenDataChannel(
                requestID: UUID().uuidString.lowercased(), clientInstanceID: node.rawValue, maximumPayload: ReliableStream.largestPayload,
                takesUnhashed: true)
            let text = String(decoding: try JSONCoding.encode(open), as: UTF8.self)
            do {
                return try await current.trust.attempt { [group] tls in
                    let socket = try await DataChannel.open(
                        endpoint: identity.controller, path: "/v1/data-channel/\(session)?role=publish_subscribe", tls: tls, text: text,
                        group: group, deadline: .now() + .seconds(15))
                    current.clock.observe(socket.header(ServerClock.header))
                    return socket
                }
            } catch let error as ClientError {
                // The controller knows no such session, or not for this node, or not any more.
                switch error.kind {
                case .refused(status: 404), .refused(status: 410), .refused(status: 409): throw DataChannelGone(error.description)
                default: throw error
                }
            }
        }
    }
}

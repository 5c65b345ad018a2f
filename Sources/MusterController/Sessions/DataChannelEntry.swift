package import Logging
package import MusterWire

/// The way from an upgraded WebSocket into a session. The session and the side are those of the request; the first message has to fit.
package struct DataChannelEntry: Sendable {
    /// Decided before the upgrade, from the path and the certificate. The sides never mix: under a node's certificate a leg is the agent's,
    /// without one it is a client's, whatever its first message says.
    package enum Admission: Sendable, Equatable {
        case agent(SessionID, NodeIdentity)
        /// Nothing is proven yet; the token in the first message has to.
        case client(SessionID)

        var session: SessionID {
            switch self {
            case .agent(let session, _), .client(let session): session
            }
        }

        var side: SessionSide {
            switch self {
            case .agent: .agent
            case .client: .client
            }
        }
    }

    static let path = "/v1/data-channel/"
    private static let role = "role=publish_subscribe"

    private let broker: SessionBroker
    private let logger: Logger

    package init(broker: SessionBroker, logger: Logger) {
        self.broker = broker
        self.logger = logger
    }

    /// The session that a request is for; nil for everything else. AWS puts more into the query than the role.
    static func session(in uri: String) -> SessionID? {
        let parts = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].hasPrefix(path), parts[1].split(separator: "&").contains(Substring(role)) else { return nil }
        return SessionID(String(parts[0].dropFirst(path.count)))
    }

    func admit(_ node: NodeIdentity, to session: SessionID) async -> SessionBroker.Refusal? {
        await broker.admit(node, to: session)
    }

    /// Whether a client can be on its way to it. Not said to anybody.
    func expects(_ session: SessionID) async -> Bool { await broker.expects(session) }

    /// Returns when the leg is part of its session, or throws when it has been refused and told so.
    func open(_ leg: RelayLeg, _ admission: Admission, text: String) async throws(SessionBroker.Refusal) {
        do {
            guard let opening = try? JSONCoding.decode(OpenDataChannel.self, from: Array(text.utf8)) else {
                throw SessionBroker.Refusal.badOpening("the first message has to be OpenDataChannel")
            }
            switch admission {
            case .agent(let session, let node):
                guard opening.clientInstanceID ?? node.node.description == node.node.description else {
                    throw SessionBroker.Refusal.foreign
                }
                try await broker.openAgent(session, node, opening, leg)
            case .client(let session):
                // A node's identity is its certificate, on its own side.
                guard (opening.clientInstanceID ?? "").isEmpty else { throw SessionBroker.Refusal.foreign }
                try await broker.openClient(session, opening, leg)
            }
        } catch let refusal as SessionBroker.Refusal {
            leg.close(.policyViolation, reason: refusal.words)
            throw refusal
        } catch {
            leg.close(.goingAway, reason: SessionBroker.Refusal.unavailable.words)
            throw .unavailable
        }
    }
}

extension SessionBroker.Refusal {
    /// For the one who is refused. A client without a valid token is not told whether there is such a session.
    package var words: String {
        switch self {
        case .over: "Session is already terminated"
        case .foreign: "the session is not this node's"
        case .token: "the token does not open this session"
        case .badOpening(let text): text
        case .unavailable: "the session cannot be opened at the moment"
        }
    }

    /// For the audit trail.
    package var code: String {
        switch self {
        case .over: "SessionIsOver"
        case .foreign: "ForeignSession"
        case .token(let refusal): refusal.rawValue
        case .badOpening: "BadOpenDataChannel"
        case .unavailable: "Unavailable"
        }
    }
}

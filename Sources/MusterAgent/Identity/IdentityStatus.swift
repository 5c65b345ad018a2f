import MusterCrypto
package import MusterWire

/// What `muster-agent status` says about a host, read from its state directory alone. Holds no secret.
package struct IdentityStatus: Sendable, CustomStringConvertible {
    private let identity: Identity
    private let isRunning: Bool
    private let now: Timestamp

    /// Nil when the host was never registered.
    package init?(stateDirectory: String, now: Timestamp = .now()) throws {
        let store = try IdentityStore(stateDirectory: stateDirectory)
        guard let identity = try store.load() else { return nil }
        self.identity = identity
        self.now = now
        isRunning = Self.isRunning(stateDirectory: stateDirectory)
    }

    /// Whether an agent works with this state.
    package static func isRunning(stateDirectory: String) -> Bool {
        (try? IdentityStore(stateDirectory: stateDirectory).lock(.running)) == nil
    }

    package var description: String {
        let from = Timestamp(milliseconds: identity.leaf.notBefore * 1000)
        let until = Timestamp(milliseconds: identity.leaf.notAfter * 1000)
        let judgement = now < from ? "not yet valid by this host's clock" : now > until ? "expired; the agent renews it by itself" : "valid"
        return """
            Node id:      \(identity.node)
            Controller:   \(identity.controller)
            Agent:        \(isRunning ? "running" : "not running"), version \(AgentVersion.current)
            Generation:   \(identity.generation)
            Certificate:  \(judgement), serial \(identity.leaf.serialNumber)
              from        \(from.iso8601)
              until       \(until.iso8601)
            Authorities:  \(identity.authorities.map { "sha256:" + Hex.encode($0.fingerprint) }.joined(separator: "\n              "))
            """
    }
}

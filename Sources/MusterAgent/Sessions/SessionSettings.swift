package import MusterClient
package import MusterLogging
package import MusterWire

/// What a session host has to know of its agent's configuration. The agent tells it each time it connects, so that a restart of the agent
/// is enough for a change; sessions that run keep what they began with.
package struct SessionSettings: Codable, Sendable, Equatable {
    package var node: NodeID
    package var agentVersion: String
    package var runAsDefault: String?
    package var pamService: String?
    package var maximumSessions: Int
    package var deniedTargets: [String]
    package var proxy: HTTPProxy?
    package var logLevel: String
    /// Nil from an agent that has one format only.
    package var logFormat: LogFormat?

    package init(
        node: NodeID, agentVersion: String, runAsDefault: String?, pamService: String?, maximumSessions: Int, deniedTargets: [String],
        proxy: HTTPProxy?, logLevel: String, logFormat: LogFormat? = nil
    ) {
        self.node = node
        self.agentVersion = agentVersion
        self.runAsDefault = runAsDefault
        self.pamService = pamService
        self.maximumSessions = maximumSessions
        self.deniedTargets = deniedTargets
        self.proxy = proxy
        self.logLevel = logLevel
        self.logFormat = logFormat
    }
}

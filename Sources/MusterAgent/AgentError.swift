/// What keeps the agent from starting, registering or going on, in words for the person at the host.
package struct AgentError: Error, Sendable, Hashable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

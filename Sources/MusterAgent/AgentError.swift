import MusterWire

/// An error as people read it. What a decoder of the language says of a message is put into words; all that is thrown otherwise has its own.
func words(_ error: any Error) -> String {
    error is DecodingError ? "A message of the controller \(JSONCoding.explain(error))" : "\(error)"
}

/// What keeps the agent from starting, registering or going on, in words for the person at the host.
package struct AgentError: Error, Sendable, Hashable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

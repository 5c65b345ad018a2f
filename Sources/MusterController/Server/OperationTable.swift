package import MusterWire

/// The name of a right, `service:Action`. An operation cannot be registered without one.
package struct Permission: Sendable, Hashable, ExpressibleByStringLiteral, CustomStringConvertible {
    package let name: String
    package var description: String { name }
    package var service: String { String(name.prefix { $0 != ":" }) }

    /// Nil unless the text has the form `service:Action`.
    package init?(_ name: String) {
        let parts = name.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy(Self.isWordByte) }) else { return nil }
        self.name = name
    }

    /// A literal without the form is a mistake in this program and stops it at start.
    package init(stringLiteral name: String) {
        guard let permission = Permission(name) else { preconditionFailure("\"\(name)\" is no permission; write service:Action") }
        self = permission
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: false
        }
    }
}

/// Who may come to an operation at all. The sides never mix: a node's certificate is worth nothing on an operators' route,
/// an operator's key nothing on a nodes' route.
package enum OperationRoute: Sendable, Hashable {
    /// Signed by an operator's access key.
    case operators
    /// Under a client certificate of a registered node.
    case nodes
    /// Nothing to show yet: the proof is in the body (an activation code, a signature by the node's key).
    case enrolment
}

/// Every operation the controller serves. A call passes through here once: decode, validate, do, encode.
///
///     body ──► Input ──► validate ──► handler ──► Output ──► body
///
/// Whether the caller may do it is decided by the server before, from the entry's route and permission.
package struct OperationTable: Sendable {
    package struct Entry: Sendable {
        package let name: String
        package let target: OperationTarget
        package let permission: Permission
        package let route: OperationRoute
        /// Changes something: its handler writes its own audit event, in the transaction of the change.
        package let changes: Bool
        /// What AWS grants to whoever has a key: only a policy that forbids it in words takes it away.
        package let allowedUnlessForbidden: Bool
        /// Waits for news: how long it takes says nothing about this server.
        let isHeld: Bool
        let run: @Sendable ([UInt8], OperationContext) async throws -> [UInt8]
    }

    private var entries: [String: Entry] = [:]

    package init() {}

    package mutating func register<O: Operation>(
        _ operation: O.Type, permission: Permission, route: OperationRoute, changes: Bool, isHeld: Bool = false,
        allowedUnlessForbidden: Bool = false,
        _ handler: @escaping @Sendable (O.Input, OperationContext) async throws -> O.Output
    ) {
        precondition(entries[O.name] == nil, "\(O.name) is registered twice")
        entries[O.name] = Entry(
            name: O.name, target: O.target, permission: permission, route: route, changes: changes,
            allowedUnlessForbidden: allowedUnlessForbidden, isHeld: isHeld
        ) { body, context in
            let input = try O.decodeInput(body)
            // Accepted and ignored would be a lie to the caller.
            if !input.unserved.isEmpty { throw APIError.notServed(input.unserved, operation: O.name) }
            var context = context
            // Here, and not in the store's one writer, where the event is made.
            if changes, route == .operators { context.parameters = AuditParameters.text(body) }
            return try JSONCoding.encode(try await handler(input, context))
        }
    }

    package func entry(_ name: String, of target: OperationTarget = .systemsManager) -> Entry? {
        entries[name].flatMap { $0.target == target ? $0 : nil }
    }

    package var names: [String] {
        entries.keys.sorted()
    }
}

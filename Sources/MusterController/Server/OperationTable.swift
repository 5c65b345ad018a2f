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
/// Whether the caller may is asked first of its policies as a whole, and then, by the operation's `AccessRule`, of what the call is about.
package struct OperationTable: Sendable {
    package struct Entry: Sendable {
        package let name: String
        package let target: OperationTarget
        package let permission: Permission
        package let route: OperationRoute
        /// Changes something: its handler writes its own audit event, in the transaction of the change.
        package let changes: Bool
        /// Waits for news: how long it takes says nothing about this server.
        let isHeld: Bool
        let run: @Sendable ([UInt8], OperationContext) async throws -> [UInt8]
    }

    private struct Key: Hashable {
        let name: String
        let target: OperationTarget
    }

    private var entries: [Key: Entry] = [:]

    package init() {}

    /// Operators' operations have a rule that says what has to be allowed; those of nodes have `certificate` in its place.
    package mutating func register<O: Operation>(
        _ operation: O.Type, permission: Permission, route: OperationRoute, access: AccessRule<O.Input>, changes: Bool,
        isHeld: Bool = false, _ handler: @escaping @Sendable (O.Input, OperationContext) async throws -> O.Output
    ) {
        enter(O.name, O.target, permission, route, isCertificate: access.isCertificate, changes: changes, isHeld: isHeld) { body, context in
            try await access.guarding(context) {
                let input = try O.decodeInput(body)
                // Accepted and ignored would be a lie to the caller.
                if !input.unserved.isEmpty { throw APIError.notServed(input.unserved, operation: O.name) }
                return input
            } handler: { input in
                var context = context
                // Here, and not in the store's one writer, where the event is made.
                // From what was understood: members that nobody knows, or that are written twice, are not what is done.
                if changes, route == .operators {
                    context.parameters = (try? JSONCoding.encode(input)).flatMap { AuditParameters.text($0) }
                }
                return try JSONCoding.encode(try await handler(input, context))
            }
        }
    }

    /// An operation of a service whose calls are forms and whose answers are XML.
    package mutating func register(
        _ operation: QueryOperation, of target: OperationTarget, permission: Permission, access: AccessRule<QueryCall>, changes: Bool,
        _ handler: @escaping @Sendable (QueryCall, OperationContext) async throws -> QueryValue
    ) {
        enter(operation.name, target, permission, .operators, isCertificate: access.isCertificate, changes: changes, isHeld: false) {
            body, context in
            try await access.guarding(context) {
                try operation.decode(body)
            } handler: { call in
                var context = context
                if changes { context.parameters = AuditParameters.text(call) }
                return try await handler(call, context).xml(resultOf: operation.name)
            }
        }
    }

    private mutating func enter(
        _ name: String, _ target: OperationTarget, _ permission: Permission, _ route: OperationRoute, isCertificate: Bool, changes: Bool,
        isHeld: Bool, _ run: @escaping @Sendable ([UInt8], OperationContext) async throws -> [UInt8]
    ) {
        let key = Key(name: name, target: target)
        precondition(entries[key] == nil, "\(name) is registered twice")
        precondition(isCertificate == (route != .operators), "\(name) is for \(route) and has the access rule of another side")
        entries[key] = Entry(
            name: name, target: target, permission: permission, route: route, changes: changes, isHeld: isHeld, run: run)
    }

    package func entry(_ name: String, of target: OperationTarget = .systemsManager) -> Entry? {
        entries[Key(name: name, target: target)]
    }

    package var all: [Entry] {
        entries.values.sorted { ($0.target.rawValue, $0.name) < ($1.target.rawValue, $1.name) }
    }

    package var names: [String] {
        entries.keys.map(\.name).sorted()
    }
}

extension AccessRule {
    var isCertificate: Bool {
        if case .certificate = self { true } else { false }
    }

    /// Nothing of the body is looked at for a caller whom no policy could allow this.
    func guarding<Output: Sendable>(
        _ context: OperationContext, input: () throws -> Input, handler: (Input) async throws -> Output
    ) async throws -> Output {
        switch self {
        case .certificate:
            return try await handler(try input())
        case .unlessForbidden(let targets):
            let input = try input()
            try await context.access.authorizeUnlessForbidden(try targets(input, context))
            return try await handler(input)
        case .anything:
            try await context.access.authorize([.anything])
            return try await handler(try input())
        case .on(let targets):
            try await context.access.begin()
            let input = try input()
            try await context.access.authorize(try targets(input, context))
            return try await handler(input)
        case .inside:
            try await context.access.begin()
            let answer = try await handler(try input())
            guard context.access.wasAsked else { throw UnaskedError() }
            return answer
        }
    }
}

/// A mistake in this program: the answer is withheld.
private struct UnaskedError: Error, CustomStringConvertible {
    let description = "An operation answered without asking whether it may."
}

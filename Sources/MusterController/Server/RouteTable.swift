package import HTTPTypes
package import MusterWire

/// What is asked of a route beside the API: the parts of the path behind its prefix, and the query, decoded as far as names need it.
package struct RouteCall: Sendable {
    package let parts: [String]
    package let query: [String: String]
    package let body: [UInt8]

    /// Nothing that a route takes has a character in it that would have to be encoded, so what is encoded is wrong.
    init(path: String, prefix: String, query: String, body: [UInt8]) {
        parts = path.dropFirst(prefix.count).split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        var values: [String: String] = [:]
        for pair in query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            values[parts[0]] = parts.count > 1 ? parts[1] : ""
        }
        self.query = values
        self.body = body
    }

    package func number(_ name: String) -> Int64? { query[name].flatMap { Int64($0) }.flatMap { $0 >= 0 ? $0 : nil } }
}

package struct RouteAnswer: Sendable {
    package var status: HTTPResponse.Status
    package var contentType: String
    package var body: [UInt8]

    package init(_ status: HTTPResponse.Status = .ok, bytes: [UInt8]) {
        (self.status, contentType, body) = (status, "application/octet-stream", bytes)
    }

    package init(_ status: HTTPResponse.Status = .ok, json: some Encodable) throws {
        (self.status, contentType, body) = (status, "application/json", try JSONCoding.encode(json))
    }
}

/// Routes beside the API: for bytes, which do not fit its JSON. As an operation, none can be registered without its permission and the
/// side that it serves; who calls is found out as for operations.
package struct RouteTable: Sendable {
    package struct Entry: Sendable {
        let name: String
        let method: HTTPRequest.Method
        let prefix: String
        let permission: Permission
        let route: OperationRoute
        /// As an operation's.
        let changes: Bool
        /// The largest body.
        let bodyBytes: Int
        /// For bodies in memory; those beyond are told to come again. One source has no more than a half of them, and two at least: whoever
        /// sends slowly keeps others out of that half only.
        let slots: Quota<String>
        /// As an operation's.
        let isHeld: Bool
        let run: @Sendable (RouteCall, OperationContext) async throws -> RouteAnswer
    }

    private var entries: [Entry] = []

    package init() {}

    package mutating func register(
        _ name: String, _ method: HTTPRequest.Method, _ prefix: String, permission: Permission, route: OperationRoute,
        access: AccessRule<RouteCall>, changes: Bool = false, bodyBytes: Int = 0, bodies: Int = 64, isHeld: Bool = false,
        _ run: @escaping @Sendable (RouteCall, OperationContext) async throws -> RouteAnswer
    ) {
        precondition(access.isCertificate == (route != .operators), "\(name) is for \(route) and has the access rule of another side")
        entries.append(
            Entry(
                name: name, method: method, prefix: prefix, permission: permission, route: route, changes: changes, bodyBytes: bodyBytes,
                slots: Quota(total: bodies, perSource: max(2, bodies / 2)), isHeld: isHeld
            ) { call, context in
                try await access.guarding(context) {
                    call
                } handler: {
                    var context = context
                    if changes, route == .operators { context.parameters = AuditParameters.text(call.body) }
                    return try await run($0, context)
                }
            })
    }

    func entry(_ method: HTTPRequest.Method, _ path: String) -> Entry? {
        entries.first { $0.method == method && path.hasPrefix($0.prefix) }
    }
}

import MusterController
import MusterWire

/// What operations need who are called without a server.
enum TestAccess {
    static let principal = Principal(user: "admin", userID: "AIDATESTADMINISTRATOR", accessKeyID: "AKIA")

    static func caller(source: String = "127.0.0.1") -> Caller {
        Caller(
            accessKeyID: "AKIA", userName: principal.user, arn: principal.arn(account: "000000000001"), sourceAddress: source,
            userAgent: "test", principal: principal)
    }

    static func check(_ set: PolicySet = .administrator, _ action: String = "ssm:Any", _ caller: Caller = TestAccess.caller())
        -> AccessCheck
    {
        AccessCheck(
            caller, action: action, account: "000000000001", region: "x", now: .now(), policies: .fixed(set), database: NoDatabase())
    }

    static func permit(in tx: any SQLTransaction) throws -> Permit {
        try check().authorize([.anything], in: tx)
    }

    /// A policy with one statement.
    static func set(_ effect: String, _ actions: String...) throws -> PolicySet {
        let list = actions.map { "\"\($0)\"" }.joined(separator: ",")
        let text = #"{"Version":"2012-10-17","Statement":[{"Sid":"One","Effect":"\#(effect)","Action":[\#(list)],"Resource":"*"}]}"#
        return PolicySet([AttachedPolicy(name: "test", holder: "user admin", document: try PolicyDocument(json: Array(text.utf8)))])
    }

    private struct NoDatabase: SQLDatabase {
        struct Missing: Error {}
        func read<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T { throw Missing() }
        func write<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T { throw Missing() }
    }
}

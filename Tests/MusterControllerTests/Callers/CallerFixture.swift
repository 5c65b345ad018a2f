import MusterCrypto
import MusterWire
import Testing

@testable import MusterController

/// A store with users, and what is asked of it.
final class CallerFixture: Sendable {
    static let account = "000000000001"
    static let node = NodeID("mi-0123456789abcdef0")!

    let directory: TemporaryDirectory
    let database: SQLiteDatabase
    let keys: OperatorKeyStore
    let policies = PolicyReader()
    let now = Timestamp(milliseconds: 1_800_000_000_000)

    init() async throws {
        directory = try TemporaryDirectory()
        database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        try await Migrations.run(on: database, now: 1)
        keys = OperatorKeyStore(database: database, cipher: try AuthenticatedCipher(key: [UInt8](repeating: 1, count: 32)))
    }

    static func policy(_ effect: String, _ actions: String..., resource: String = "*", condition: String = "{}", sid: String = "One")
        -> String
    {
        let list = actions.map { "\"\($0)\"" }.joined(separator: ",")
        let when = condition == "{}" ? "" : #","Condition":\#(condition)"#
        return
            #"{"Version":"2012-10-17","Statement":[{"Sid":"\#(sid)","Effect":"\#(effect)","Action":[\#(list)],"Resource":"\#(resource)"\#(when)}]}"#
    }

    func change<T: Sendable>(_ body: @escaping @Sendable (CallerChanges) throws -> T) async throws -> T {
        let now = now
        return try await database.write { tx in try body(CallerChanges(now: now, account: Self.account, tx: tx)) }
    }

    /// A user with a key, and a policy if there is one.
    func user(_ name: String, _ policy: String? = nil) async throws -> Principal {
        let cipher = keys.cipher
        return try await change { changes in
            let user = try changes.createUser(name, tags: [])
            let key = try changes.createKey(for: name, cipher: cipher)
            if let policy { try changes.put("own", document: policy, on: .user(name)) }
            return Principal(user: name, userID: user.id, accessKeyID: key.accessKeyID)
        }
    }

    func access(_ principal: Principal, _ action: String = "ssm:StartSession", _ targets: [AccessTarget] = [.anything]) -> GrantedAccess {
        GrantedAccess(
            principal: principal, action: action, targets: targets, account: Self.account, region: "x", sourceAddress: "192.0.2.1",
            userAgent: "test")
    }

    func revocation(_ access: GrantedAccess, at time: Timestamp? = nil) async throws -> AccessCheck.Revocation? {
        let (time, policies) = (time ?? now, policies)
        return try await database.read { tx in try AccessCheck.stillAllowed(access, region: "x", now: time, policies: policies, in: tx) }
    }

    func context(_ principal: Principal, _ action: String, signedFor requested: String? = nil) -> OperationContext {
        let caller = Caller(
            accessKeyID: principal.accessKeyID, userName: principal.user, arn: principal.arn(account: Self.account),
            sourceAddress: "192.0.2.1", userAgent: "test", principal: principal)
        return OperationContext(
            caller: caller, requestID: "r", now: now, region: "x", requestedRegion: requested, account: Self.account,
            access: AccessCheck(
                caller, action: action, account: Self.account, region: "x", requestedRegion: requested, now: now,
                policies: .stored(policies), database: database))
    }
}

import MusterCrypto
import MusterWire
import Testing

@testable import MusterController

@Suite struct CallerStoreTests {
    /// Whoever had a key before there were users is one now, and may what every key could.
    @Test func keysOfBeforeBecomeAdministrators() async throws {
        let directory = try TemporaryDirectory()
        let database = try SQLiteDatabase(path: directory.file("store.sqlite"))
        try await database.write { tx in
            try tx.execute("CREATE TABLE migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)")
            for step in Migrations.all where step.version < 60 {
                for statement in step.statements { try tx.execute(statement) }
                try tx.execute(
                    "INSERT INTO migrations (version, name, applied_at) VALUES ($1, $2, 1)", [.integer(step.version), .text(step.name)])
            }
            for key in ["MUSTERABCDEFGHJKLMNP", "MUSTERBCDEFGHJKLMNPQ"] {
                try tx.execute(
                    """
                    INSERT INTO operator_keys (access_key_id, secret_sealed, user_name, status, created_at)
                    VALUES ($1, '', 'administrator', 'Active', 5)
                    """, [.text(key)])
            }
        }
        try await Migrations.run(on: database, now: 2)
        let reader = PolicyReader()
        try await database.read { tx in
            let user = try #require(try UserStore.user("administrator", in: tx))
            #expect(user.id == "AIDAABCDEFGHJKLMNP" && user.createdAt == Timestamp(milliseconds: 5))
            let principal = Principal(user: user.name, userID: user.id, accessKeyID: "MUSTERBCDEFGHJKLMNPQ")
            #expect(try OperatorKeyStore.isAlive(principal, in: tx))
            #expect(try reader.set(of: principal, in: tx).decide(AccessRequest(action: "ssm:SendCommand")).isAllowed)
        }
    }

    @Test func temporaryCredentialsEndInManyWays() async throws {
        let fixture = try await CallerFixture()
        let bob = try await fixture.user("bob")
        let (now, cipher) = (fixture.now, fixture.keys.cipher)
        let issued = try await fixture.database.write { tx in
            try TemporaryCredentialStore.issue(to: bob, seconds: 900, now: now, cipher: cipher, in: tx)
        }
        let (id, token) = (issued.credentials.accessKeyID, try #require(issued.credentials.sessionToken))
        let key = try #require(try await fixture.keys.key(id, token: token, now: now))
        #expect(key.credentials == issued.credentials && key.principal.user == "bob" && key.principal.issuedAt == now)
        #expect(try await fixture.keys.key(id, now: now) == nil)
        #expect(try await fixture.keys.key(id, token: token + "x", now: now) == nil)
        #expect(try await fixture.keys.key(bob.accessKeyID, token: token, now: now) == nil)
        await #expect(throws: APIError.expiredToken) { try await fixture.keys.key(id, token: token, now: now.adding(seconds: 900)) }
        // Not even a token that has expired is told from none by one that is wrong.
        #expect(try await fixture.keys.key(id, token: "wrong", now: now.adding(seconds: 900)) == nil)
        _ = try await fixture.change { try $0.setKey(bob.accessKeyID, of: "bob", isActive: false) }
        #expect(try await fixture.keys.key(id, token: token, now: now) == nil)
        try await CredentialRetention(database: fixture.database).clean(now: now.adding(seconds: 5_000))
        let left = try await fixture.database.read { tx in try tx.query("SELECT * FROM temporary_credentials").count }
        #expect(left == 0)
    }

    @Test func aStolenDatabaseHoldsNoToken() async throws {
        let fixture = try await CallerFixture()
        let bob = try await fixture.user("bob")
        let (now, cipher) = (fixture.now, fixture.keys.cipher)
        let issued = try await fixture.database.write { tx in
            try TemporaryCredentialStore.issue(to: bob, seconds: 900, now: now, cipher: cipher, in: tx)
        }
        let row = try await fixture.database.read { tx in try tx.query("SELECT * FROM temporary_credentials") }
        let text = "\(row)"
        #expect(!text.contains(issued.credentials.secretAccessKey) && !text.contains(issued.credentials.sessionToken ?? "-"))
    }

    @Test func whoIsMadeAnewInheritsNothing() async throws {
        let fixture = try await CallerFixture()
        let first = try await fixture.user("bob", CallerFixture.policy("Allow", "ssm:*"))
        let access = fixture.access(first)
        #expect(try await fixture.revocation(access) == nil)
        _ = try await fixture.change { try $0.deleteUser("bob", force: true) }
        #expect(try await fixture.revocation(access) == .keyGone)
        let second = try await fixture.user("bob", CallerFixture.policy("Allow", "ssm:*"))
        #expect(first.userID != second.userID)
        #expect(try await fixture.revocation(access) == .keyGone)
        #expect(try await fixture.revocation(fixture.access(second)) == nil)
    }

    @Test(arguments: [("bob", "bob-x", true), ("bob-x", "bob", true), ("bob", "bobby", false), ("Bob", "bob-1", true), ("a", "b-a", false)])
    func namesOfSessionsStayApart(_ one: String, _ other: String, _ collide: Bool) {
        #expect(CallerName.collide(one, other) == collide)
    }

    @Test func theLastAdministratorIsKept() async throws {
        let fixture = try await CallerFixture()
        let admin = try await fixture.user("root", BuiltInPolicy.administratorAccess.document)
        let (policies, account) = (fixture.policies, CallerFixture.account)
        func refuses(_ change: @escaping @Sendable (CallerChanges) throws -> Void) async -> Bool {
            do {
                try await fixture.change { changes in
                    try LastAdministrator.kept(by: { try change(changes) }, account: account, policies: policies, in: changes.tx)
                }
                return false
            } catch {
                return (error as? APIError)?.code == "DeleteConflict"
            }
        }
        #expect(await refuses { _ = try $0.setKey(admin.accessKeyID, of: nil, isActive: false) })
        #expect(await refuses { try $0.deleteInline("own", of: .user("root")) })
        #expect(await refuses { try $0.put("own", document: CallerFixture.policy("Allow", "ssm:*"), on: .user("root")) })
        #expect(await refuses { try $0.put("no", document: CallerFixture.policy("Deny", "iam:*"), on: .user("root")) })
        let day = #"{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}"#
        #expect(await refuses { try $0.put("own", document: CallerFixture.policy("Allow", "*", condition: day), on: .user("root")) })
        #expect(await !refuses { try $0.put("no", document: CallerFixture.policy("Deny", "ssm:*"), on: .user("root")) })
    }

    /// An action that is asked for somewhere is one that a policy may name.
    @Test func everyPermissionCanBeGiven() async throws {
        let fixture = try await CallerFixture()
        var table = OperationTable()
        CallerOperations(database: fixture.database, cipher: fixture.keys.cipher, policies: fixture.policies).register(in: &table)
        IdentityOperations(database: fixture.database, cipher: fixture.keys.cipher).register(in: &table)
        #expect(table.all.count >= 40)
        for entry in table.all { #expect(PolicyActions.all.contains(entry.permission.name), "\(entry.permission)") }
    }
}

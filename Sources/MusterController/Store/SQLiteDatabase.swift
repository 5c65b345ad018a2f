internal import Dispatch
internal import Foundation
internal import GRDB
internal import NIOConcurrencyHelpers

/// SQLite in WAL mode with `synchronous=FULL`, so that a commit survives a power cut.
///
/// GRDB sets `synchronous=NORMAL` while it sets WAL up, after `prepareDatabase` has run; hence the pragma is set after
/// opening, and read back from the writer. https://www.sqlite.org/pragma.html#pragma_synchronous
///
///     write ─┐
///     write ─┼─► pending ──► BEGIN  SAVEPOINT a RELEASE  SAVEPOINT b RELEASE …  COMMIT (one fsync) ──► resume all
///     write ─┘
///
/// While one group is being synced the next one gathers, so throughput grows with load and a lone write waits for nothing.
package final class SQLiteDatabase: SQLDatabase {
    /// More waiting changes than this are refused: the disk cannot keep up, and memory is no place for a queue.
    private static let maximumWaiting = 20_000
    private static let maximumGroup = 512

    private let pool: DatabasePool
    private let path: String
    private let gate = NIOLockedValueBox(Gate())

    private struct Gate {
        var pending: [any PendingWrite] = []
        var isDraining = false
        var isClosed = false
        var commits = 0
    }

    package init(path: String) throws {
        self.path = path
        var configuration = Configuration()
        configuration.label = "muster.store"
        configuration.foreignKeysEnabled = true
        configuration.busyMode = .timeout(5)
        configuration.maximumReaderCount = 4
        do {
            // SQLite gives its journal the mode of the database itself.
            try DataDirectory.makeFile(path)
            pool = try DatabasePool(path: path, configuration: configuration)
            try pool.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA synchronous=FULL")
            }
        } catch {
            throw SQLError.cannotOpen(path: path, reason: (error as? ControllerError).map { "\($0)" } ?? Self.words(error))
        }
        let found = try durability()
        guard found.synchronous == 2, found.journal == "wal" else {
            throw SQLError.notDurable(path: path, synchronous: found.synchronous, journal: found.journal)
        }
    }

    /// The two settings that durability rests on, as the writer's connection sees them.
    package func durability() throws -> (synchronous: Int64, journal: String) {
        try pool.writeWithoutTransaction { db in
            (
                try Int64.fetchOne(db, sql: "PRAGMA synchronous") ?? -1,
                try String.fetchOne(db, sql: "PRAGMA journal_mode") ?? ""
            )
        }
    }

    /// Walks the whole file; for `check`, not for every start.
    package func verifyIntegrity() throws {
        let answers = try pool.read { db in
            try String.fetchAll(db, sql: "PRAGMA integrity_check")
                + (try Row.fetchAll(db, sql: "PRAGMA foreign_key_check")).map { _ in "foreign key" }
        }
        guard answers == ["ok"] else {
            throw SQLError.damaged(path: path, reason: answers.prefix(3).joined(separator: "; "))
        }
    }

    /// Everything as of one moment into a new file, also while others write.
    package func copy(to path: String) throws {
        try DataDirectory.makeFile(path)
        do {
            try pool.writeWithoutTransaction { db in try db.execute(sql: "VACUUM INTO ?", arguments: [path]) }
        } catch {
            throw SQLError.cannotCopy(path: path, reason: Self.words(error))
        }
    }

    /// What SQLite says, without what a library puts around it.
    static func words(_ error: any Error) -> String {
        guard let error = error as? DatabaseError else { return String(describing: error) }
        switch error.resultCode {
        case .SQLITE_FULL: return "there is no room left on the disk"
        case .SQLITE_READONLY: return "it cannot be written to"
        case .SQLITE_CANTOPEN: return "the file cannot be opened"
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: return "the file is damaged, or no database"
        case .SQLITE_BUSY, .SQLITE_LOCKED: return "another program uses it"
        case .SQLITE_IOERR: return "the disk cannot be read or written"
        default: return error.message ?? "SQLite's code \(error.resultCode.rawValue)"
        }
    }

    /// Groups committed so far, and changes that wait for the next one.
    package var commits: Int { gate.withLockedValue { $0.commits } }
    package var waiting: Int { gate.withLockedValue { $0.pending.count } }

    package func close() throws {
        gate.withLockedValue { $0.isClosed = true }
        // The file alone is then the whole store, for whoever copies it by hand. While others use it, the last of them does this.
        try? pool.writeWithoutTransaction { db in _ = try Row.fetchAll(db, sql: "PRAGMA wal_checkpoint(TRUNCATE)") }
        try pool.close()
    }

    package func read<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T {
        try await pool.read { db in try body(SQLiteTransaction(db: db)) }
    }

    package func write<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            let write = Write(body: body, continuation: continuation)
            let admission = gate.withLockedValue { gate -> Admission in
                if gate.isClosed { return .refused(.closed) }
                if gate.pending.count >= Self.maximumWaiting { return .refused(.tooManyWaiting(gate.pending.count)) }
                gate.pending.append(write)
                defer { gate.isDraining = true }
                return gate.isDraining ? .joined : .first
            }
            switch admission {
            case .refused(let error): continuation.resume(throwing: error)
            case .joined: break
            case .first: pool.asyncWriteWithoutTransaction { db in self.drain(db) }
            }
        }
    }

    private enum Admission {
        case first
        case joined
        case refused(SQLError)
    }

    /// On the writer's queue, until nothing waits.
    private func drain(_ db: Database) {
        while true {
            let group = gate.withLockedValue { gate -> [any PendingWrite] in
                if gate.pending.isEmpty {
                    gate.isDraining = false
                    return []
                }
                let count = min(gate.pending.count, Self.maximumGroup)
                let group = Array(gate.pending.prefix(count))
                gate.pending.removeFirst(count)
                return group
            }
            if group.isEmpty { return }
            commit(group, db)
        }
    }

    private func commit(_ group: [any PendingWrite], _ db: Database) {
        do {
            try db.execute(sql: "BEGIN IMMEDIATE")
            for write in group {
                try db.execute(sql: "SAVEPOINT change")
                if write.perform(SQLiteTransaction(db: db)) {
                    try db.execute(sql: "RELEASE change")
                } else {
                    // A full disk or a failed read may have ended the whole transaction; then all of the group is lost.
                    guard db.isInsideTransaction else { throw SQLError.rolledBack(reason: write.failure) }
                    try db.execute(sql: "ROLLBACK TO change")
                    try db.execute(sql: "RELEASE change")
                }
            }
            try db.execute(sql: "COMMIT")
            gate.withLockedValue { $0.commits += 1 }
        } catch {
            if db.isInsideTransaction { try? db.execute(sql: "ROLLBACK") }
            let reason = (error as? SQLError) ?? .rolledBack(reason: Self.words(error))
            for write in group { write.fail(reason) }
            return
        }
        for write in group { write.finish() }
    }
}

/// A write that waits: performed inside its savepoint, answered after the commit of its group. Only the writer's queue
/// touches it once it has been queued.
private protocol PendingWrite: Sendable {
    func perform(_ transaction: SQLiteTransaction) -> Bool
    func finish()
    func fail(_ error: SQLError)
    var failure: String { get }
}

private final class Write<T: Sendable>: PendingWrite {
    private let body: @Sendable (any SQLTransaction) throws -> T
    private let continuation: CheckedContinuation<T, any Error>
    private let outcome = NIOLockedValueBox<Result<T, any Error>?>(nil)

    init(body: @escaping @Sendable (any SQLTransaction) throws -> T, continuation: CheckedContinuation<T, any Error>) {
        self.body = body
        self.continuation = continuation
    }

    func perform(_ transaction: SQLiteTransaction) -> Bool {
        let result = Result { try body(transaction) }
        outcome.withLockedValue { $0 = result }
        if case .success = result { return true }
        return false
    }

    func finish() {
        if let result = outcome.withLockedValue({ $0 }) { continuation.resume(with: result) } else { fail(.closed) }
    }

    func fail(_ error: SQLError) {
        // An error of the change itself says more than the group's.
        if case .failure(let own)? = outcome.withLockedValue({ $0 }) {
            continuation.resume(throwing: own)
        } else {
            continuation.resume(throwing: error)
        }
    }

    var failure: String {
        if case .failure(let own)? = outcome.withLockedValue({ $0 }) { return SQLiteDatabase.words(own) }
        return "unknown"
    }
}

private struct SQLiteTransaction: SQLTransaction {
    let db: Database

    var changes: Int { db.changesCount }

    func execute(_ sql: String, _ arguments: [SQLValue]) throws {
        try db.cachedStatement(sql: Self.numbered(sql)).execute(arguments: Self.bind(arguments))
    }

    func query(_ sql: String, _ arguments: [SQLValue]) throws -> [SQLRow] {
        let statement = try db.cachedStatement(sql: Self.numbered(sql))
        let columns = statement.columnNames
        let rows = try Row.fetchCursor(statement, arguments: Self.bind(arguments))
        var found: [SQLRow] = []
        while let row = try rows.next() {
            found.append(SQLRow(columns, columns.indices.map { Self.value(row[$0]) }))
        }
        return found
    }

    /// SQLite numbers `$n` in order of appearance, and `?n` by n. A dollar before a digit is always a placeholder here: what comes
    /// from outside is bound, never written into a statement.
    private static func numbered(_ sql: String) -> String {
        var sql = sql
        return sql.withUTF8 { text in
            String(unsafeUninitializedCapacity: text.count) { target in
                for index in text.indices {
                    let isPlaceholder =
                        text[index] == UInt8(ascii: "$") && index + 1 < text.count
                        && (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(text[index + 1])
                    target.initializeElement(at: index, to: isPlaceholder ? UInt8(ascii: "?") : text[index])
                }
                return text.count
            }
        }
    }

    private static func bind(_ arguments: [SQLValue]) -> StatementArguments {
        // Of a sequence of one type GRDB takes the values by a key path, which costs more than all else of a small statement.
        StatementArguments(arguments.map { databaseValue($0) as (any DatabaseValueConvertible)? })
    }

    private static func databaseValue(_ value: SQLValue) -> DatabaseValue {
        switch value {
        case .null: .null
        case .integer(let integer): integer.databaseValue
        case .real(let real): real.databaseValue
        // Text is read back up to its first NUL, and scripts print such bytes; a BLOB comes back whole.
        case .text(let text): text.utf8.contains(0) ? Data(text.utf8).databaseValue : text.databaseValue
        case .blob(let bytes): Data(bytes).databaseValue
        }
    }

    private static func value(_ value: DatabaseValue) -> SQLValue {
        switch value.storage {
        case .null: .null
        case .int64(let integer): .integer(integer)
        case .double(let real): .real(real)
        case .string(let text): .text(text)
        case .blob(let data): .blob(Array(data))
        }
    }
}

/// One value in or out of a statement. The subset that SQLite and PostgreSQL have in common.
package enum SQLValue: Sendable, Hashable {
    case null
    case integer(Int64)
    case real(Double)
    case text(String)
    case blob([UInt8])
}

extension SQLValue {
    package static func text(_ value: String?) -> SQLValue { value.map { .text($0) } ?? .null }
    package static func integer(_ value: Int64?) -> SQLValue { value.map { .integer($0) } ?? .null }
    package static func integer(_ value: Int) -> SQLValue { .integer(Int64(value)) }
    package static func bool(_ value: Bool) -> SQLValue { .integer(value ? 1 : 0) }
}

/// One row of an answer, by column name.
package struct SQLRow: Sendable {
    /// Shared by all rows of an answer. There are few, so looking through them is quicker than a table would be.
    private let columns: [String]
    private let values: [SQLValue]

    package init(_ columns: [String], _ values: [SQLValue]) {
        self.columns = columns
        self.values = values
    }

    package func value(_ column: String) throws -> SQLValue {
        guard let index = columns.firstIndex(of: column), index < values.count else { throw SQLError.noColumn(column) }
        return values[index]
    }

    package func text(_ column: String) throws -> String {
        switch try value(column) {
        case .text(let text): return text
        // Text with a NUL byte in it, see `SQLiteTransaction`.
        case .blob(let bytes): return String(decoding: bytes, as: UTF8.self)
        default: throw SQLError.wrongType(column, "text")
        }
    }

    package func integer(_ column: String) throws -> Int64 {
        guard case .integer(let integer) = try value(column) else { throw SQLError.wrongType(column, "integer") }
        return integer
    }

    package func bool(_ column: String) throws -> Bool {
        try integer(column) != 0
    }

    package func blob(_ column: String) throws -> [UInt8] {
        switch try value(column) {
        case .blob(let bytes): return bytes
        case .text(let text): return Array(text.utf8)
        default: throw SQLError.wrongType(column, "blob")
        }
    }

    package func optionalText(_ column: String) throws -> String? {
        if case .null = try value(column) { return nil }
        return try text(column)
    }

    package func optionalInteger(_ column: String) throws -> Int64? {
        switch try value(column) {
        case .null: return nil
        case .integer(let integer): return integer
        default: throw SQLError.wrongType(column, "integer")
        }
    }

    package func optionalBlob(_ column: String) throws -> [UInt8]? {
        if case .null = try value(column) { return nil }
        return try blob(column)
    }
}

/// Statements inside one transaction. Placeholders are `$1`, `$2`, …; a number may be used more than once.
package protocol SQLTransaction {
    func execute(_ sql: String, _ arguments: [SQLValue]) throws
    func query(_ sql: String, _ arguments: [SQLValue]) throws -> [SQLRow]
    /// Rows that the last `execute` inserted, changed or deleted.
    var changes: Int { get }
}

extension SQLTransaction {
    package func execute(_ sql: String) throws { try execute(sql, []) }
    package func query(_ sql: String) throws -> [SQLRow] { try query(sql, []) }

    package func first(_ sql: String, _ arguments: [SQLValue] = []) throws -> SQLRow? {
        try query(sql, arguments).first
    }
}

/// The controller's store.
///
/// `write` returns after its changes are durable. Writes that wait at the same moment share one commit; each has a
/// savepoint of its own, so one that throws takes back only itself.
package protocol SQLDatabase: Sendable {
    func read<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T
    func write<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T
}

package enum SQLError: Error, Sendable, CustomStringConvertible {
    case noColumn(String)
    case wrongType(String, String)
    case tooManyWaiting(Int)
    case cannotOpen(path: String, reason: String)
    case cannotCopy(path: String, reason: String)
    case notDurable(path: String, synchronous: Int64, journal: String)
    case rolledBack(reason: String)
    case closed
    case damaged(path: String, reason: String)
    case newerSchema(found: Int64, known: Int64)

    package var description: String {
        switch self {
        case .noColumn(let column):
            "A statement's answer has no column \(column)."
        case .wrongType(let column, let type):
            "Column \(column) does not hold a value of type \(type)."
        case .tooManyWaiting(let count):
            "\(count) changes already wait for the database; this one was not made. Try again later."
        case .cannotOpen(let path, let reason):
            "Cannot open the database \(path): \(reason). Check that the file belongs to the user that runs the controller and that the disk has room."
        case .cannotCopy(let path, let reason):
            "Cannot copy the store to \(path): \(reason). Make room, or name another folder."
        case .notDurable(let path, let synchronous, let journal):
            "The database \(path) would lose commits at a power cut (synchronous=\(synchronous), journal_mode=\(journal)); 2 and wal are needed."
        case .rolledBack(let reason):
            "The database took back a group of changes: \(reason)."
        case .closed:
            "The database is closed, because the controller is stopping."
        case .damaged(let path, let reason):
            "The database \(path) is damaged: \(reason). Restore it from a backup."
        case .newerSchema(let found, let known):
            "The database was written by a newer controller (schema \(found), this program knows \(known)). Install that version again."
        }
    }
}

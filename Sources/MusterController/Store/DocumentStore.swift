package import MusterDocuments
package import MusterWire

/// One version of a document, of an operator or built in.
package struct DocumentRecord: Sendable {
    package let name: String
    package let type: String
    package let isBuiltIn: Bool
    package let version: Int64
    package let versionName: String?
    package let displayName: String?
    /// Exactly as given, shown and hashed.
    package let content: String
    package let hash: String
    package let createdAt: Timestamp
    package let defaultVersion: Int64
    package let latestVersion: Int64
}

/// A Session document as StartSession uses it.
package struct SessionDocumentRecord: Sendable {
    package let name: String
    package let version: Int64
    package let document: SessionDocument
}

/// Operators' own documents, with the built-in ones behind them: an operator's `SSM-SessionManagerRunShell` takes the place of the built-in.
package enum DocumentStore {
    package static let tagType = "Document"

    package enum Selector: Sendable, Equatable {
        case standard, latest
        case number(Int64)
        case named(String)

        /// Of the members DocumentVersion and VersionName. With both, the version has to have that name.
        init(_ version: String?) throws(APIError) {
            switch version {
            case nil, "$DEFAULT"?: self = .standard
            case "$LATEST"?: self = .latest
            case let number?:
                guard let value = Int64(number) else { throw .invalidDocumentVersion() }
                self = .number(value)
            }
        }
    }

    /// Of an ARN the part after `document/` counts.
    package static func plainName(_ given: String) -> String {
        let parts = given.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        return given.hasPrefix("arn:") && parts.count == 2 && parts[0].hasSuffix(":document") ? String(parts[1]) : given
    }

    // MARK: Looking up

    /// For StartSession: a document of type Session in its default version, or the one that is asked for.
    package static func session(
        named given: String, version: String? = nil, in tx: any SQLTransaction
    ) throws -> SessionDocumentRecord {
        let record = try record(given, Selector(version), in: tx)
        guard record.type == "Session" else {
            throw APIError.invalidDocument("Document \(record.name) is of type \(record.type); a session needs one of type Session.")
        }
        do {
            let document = try SessionDocument.decode(json: Array(record.content.utf8))
            return SessionDocumentRecord(name: record.name, version: record.version, document: document)
        } catch {
            // It was checked when it was made: by an earlier version of this program, which allowed more.
            throw APIError.invalidDocument("Document \(record.name) cannot be used: \(error)")
        }
    }

    package static func record(_ given: String, _ selector: Selector, in tx: any SQLTransaction) throws -> DocumentRecord {
        let name = plainName(given)
        guard let found = try own(name, selector, in: tx) ?? builtIn(name) else {
            throw APIError.invalidDocument("Document with name \(name) does not exist.")
        }
        if found.isBuiltIn {
            guard [.standard, .latest, .number(1)].contains(selector) else { throw APIError.invalidDocumentVersion() }
        }
        return found
    }

    /// Nothing if there is no document of that name.
    package static func own(_ name: String, _ selector: Selector, in tx: any SQLTransaction) throws -> DocumentRecord? {
        guard try exists(name, in: tx) else { return nil }
        let condition: (String, [SQLValue]) =
            switch selector {
            case .standard: ("v.version = d.default_version", [])
            case .latest: ("v.version = (SELECT MAX(version) FROM document_versions WHERE name = $1)", [])
            case .number(let number): ("v.version = $2", [.integer(number)])
            case .named(let name): ("v.version_name = $2", [.text(name)])
            }
        guard let row = try tx.first("\(columns) WHERE v.name = $1 AND \(condition.0)", [.text(name)] + condition.1) else {
            throw APIError.invalidDocumentVersion()
        }
        return try record(row)
    }

    package static func exists(_ name: String, in tx: any SQLTransaction) throws -> Bool {
        try tx.first("SELECT name FROM documents WHERE name = $1", [.text(name)]) != nil
    }

    package static func count(in tx: any SQLTransaction) throws -> Int64 {
        try tx.first("SELECT COUNT(*) AS n FROM documents")?.integer("n") ?? 0
    }

    /// Every document in its default version, by name.
    package static func all(in tx: any SQLTransaction) throws -> [DocumentRecord] {
        let own = try tx.query("\(columns) WHERE v.version = d.default_version").map(record)
        let names = Set(own.map(\.name))
        let builtIn = (BuiltInDocuments.all.map(\.name) + BuiltInSessionDocument.all.map(\.name))
            .filter { !names.contains($0) }.compactMap(Self.builtIn)
        return (own + builtIn).sorted { $0.name < $1.name }
    }

    /// Newest first; without contents.
    package static func versions(_ name: String, in tx: any SQLTransaction) throws -> [DocumentRecord] {
        try tx.query("\(columns) WHERE v.name = $1 ORDER BY v.version DESC", [.text(name)]).map(record)
    }

    private static let columns = """
        SELECT v.name, d.document_type, d.default_version, v.version, v.version_name, v.display_name, v.content, v.hash, v.created_at,
            (SELECT MAX(version) FROM document_versions l WHERE l.name = d.name) AS latest_version
        FROM document_versions v JOIN documents d ON d.name = v.name
        """

    private static func record(_ row: SQLRow) throws -> DocumentRecord {
        DocumentRecord(
            name: try row.text("name"), type: try row.text("document_type"), isBuiltIn: false, version: try row.integer("version"),
            versionName: try row.optionalText("version_name"), displayName: try row.optionalText("display_name"),
            content: try row.text("content"), hash: try row.text("hash"),
            createdAt: Timestamp(milliseconds: try row.integer("created_at")), defaultVersion: try row.integer("default_version"),
            latestVersion: try row.integer("latest_version"))
    }

    private static func builtIn(_ name: String) -> DocumentRecord? {
        func record(_ type: String, _ content: String, _ createdDate: Int64) -> DocumentRecord {
            DocumentRecord(
                name: name, type: type, isBuiltIn: true, version: 1, versionName: nil, displayName: nil, content: content,
                hash: DocumentRules.hash(content), createdAt: Timestamp(milliseconds: createdDate * 1000), defaultVersion: 1,
                latestVersion: 1)
        }
        if let document = BuiltInDocuments.named(name) { return record("Command", document.content, document.createdDate) }
        if let document = BuiltInSessionDocument.named(name) { return record("Session", document.content, document.createdDate) }
        return nil
    }

    // MARK: Changing

    package static func insert(_ name: String, type: String, now: Timestamp, in tx: any SQLTransaction) throws {
        try tx.execute(
            "INSERT INTO documents (name, document_type, default_version, last_version, created_at) VALUES ($1, $2, 1, 0, $3)",
            [.text(name), .text(type), .integer(now.milliseconds)])
    }

    /// The next version. The document has a row.
    package static func append(
        _ name: String, versionName: String?, displayName: String?, content: String, by caller: String, now: Timestamp,
        in tx: any SQLTransaction
    ) throws {
        try tx.execute("UPDATE documents SET last_version = last_version + 1 WHERE name = $1", [.text(name)])
        try tx.execute(
            """
            INSERT INTO document_versions (name, version, version_name, display_name, content, hash, created_at, created_by)
            SELECT name, last_version, $2, $3, $4, $5, $6, $7 FROM documents WHERE name = $1
            """,
            [
                .text(name), .text(versionName), .text(displayName), .text(content), .text(DocumentRules.hash(content)),
                .integer(now.milliseconds), .text(caller),
            ])
    }

    package static func setDefault(_ name: String, _ version: Int64, in tx: any SQLTransaction) throws {
        try tx.execute("UPDATE documents SET default_version = $2 WHERE name = $1", [.text(name), .integer(version)])
    }

    package static func remove(_ name: String, in tx: any SQLTransaction) throws {
        try tx.execute("DELETE FROM document_versions WHERE name = $1", [.text(name)])
        try tx.execute("DELETE FROM documents WHERE name = $1", [.text(name)])
        try TagStore.removeAll(of: name, type: tagType, in: tx)
    }

    package static func remove(_ name: String, version: Int64, in tx: any SQLTransaction) throws {
        try tx.execute("DELETE FROM document_versions WHERE name = $1 AND version = $2", [.text(name), .integer(version)])
    }
}

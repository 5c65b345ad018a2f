package import MusterDocuments
package import MusterWire

/// A Session document as StartSession uses it.
package struct SessionDocumentRecord: Sendable {
    package let name: String
    package let version: Int64
    package let document: SessionDocument
}

package enum DocumentStore {
    /// Of an ARN the part after `document/` counts.
    package static func plainName(_ given: String) -> String {
        let parts = given.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        return given.hasPrefix("arn:") && parts.count == 2 && parts[0].hasSuffix(":document") ? String(parts[1]) : given
    }

    /// For StartSession: a document of type Session in its default version, or the one that is asked for.
    package static func session(
        named given: String, version: String? = nil, in tx: any SQLTransaction
    ) throws -> SessionDocumentRecord {
        let name = plainName(given)
        guard let found = BuiltInSessionDocument.named(name) else {
            throw APIError.invalidDocument("Document with name \(name) does not exist.")
        }
        return SessionDocumentRecord(name: found.name, version: 1, document: found.document)
    }
}

/// Why a document, or the parameters given for it, cannot be used.
///
/// The text never holds a parameter's value: values may be secrets.
package struct DocumentError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Kind: Sendable, Hashable {
        case content
        case schemaVersion
        case size
        case parameters
    }

    package let kind: Kind
    /// Where in the document, for example `mainSteps[0].inputs.runCommand`; empty for the whole.
    package let path: String
    package let reason: String

    package init(_ kind: Kind, at path: String = "", _ reason: String) {
        self.kind = kind
        self.path = path
        self.reason = reason
    }

    package var description: String { path.isEmpty ? reason : "\(path): \(reason)" }

    /// The Systems Manager error that an operator sees for this.
    package var code: String {
        switch kind {
        case .content: "InvalidDocumentContent"
        case .schemaVersion: "InvalidDocumentSchemaVersion"
        case .size: "MaxDocumentSizeExceeded"
        case .parameters: "InvalidParameters"
        }
    }
}

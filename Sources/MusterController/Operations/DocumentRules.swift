import MusterCrypto
import MusterDocuments
import MusterWire

/// What SSM asks of a document that somebody wants to keep. [value]
enum DocumentRules {
    static let maximumDocuments = 500
    static let maximumVersions = 1000
    private static let reserved = ["aws", "amazon", "amzn"]

    static func hash(_ content: String) -> String { Hex.encode(SHA256.hash(content)) }

    /// AWSEC2, AWSConfigRemediation and AWSSupport begin with the first as well.
    static func checkNew(_ name: String) throws(APIError) {
        let lower = name.lowercased()
        guard !reserved.contains(where: lower.hasPrefix) else {
            throw .validation(
                "'\(name)' cannot be the name of a document of your own: names beginning with aws, amazon or amzn are reserved.")
        }
    }

    static func checkFormat(_ format: String?, _ operation: String) throws(APIError) {
        guard let format, format != "JSON" else { return }
        throw .validation("\(operation) does not serve DocumentFormat \(format) yet: use JSON.")
    }

    /// Only sessions' documents can be kept so far.
    static func checkType(_ type: String?) throws(APIError) {
        let type = type ?? "Command"
        guard type == "Session" else {
            throw .validation("CreateDocument does not serve DocumentType \(type) yet: Session is the only one.")
        }
    }

    static func decode(_ content: String) throws(APIError) -> SessionDocument {
        do {
            return try SessionDocument.decode(json: Array(content.utf8))
        } catch {
            throw APIError(code: error.code, message: error.description)
        }
    }
}

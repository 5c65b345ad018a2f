import MusterDocuments
import MusterWire

/// A session document with the caller's parameters, checked and resolved. [value]
struct SessionOrder {
    let name: String
    let content: String
    let sessionType: String
    let parameters: [String: JSONValue]
    let idleMinutes: Int
    let maximumMinutes: Int?
    let inputRecorded: Bool
    let recordingRequired: Bool
    let properties: [String: String]

    init(document name: String, parameters: [String: [String]], in tx: any SQLTransaction) throws {
        guard name == "SSM-SessionManagerRunShell" else { throw APIError.invalidDocument("Document with name \(name) does not exist.") }
        self.name = name
        content = #"{"schemaVersion":"1.0","description":"","sessionType":"Standard_Stream","inputs":{}}"#
        sessionType = "Standard_Stream"
        self.parameters = [:]
        idleMinutes = 20
        maximumMinutes = nil
        inputRecorded = false
        recordingRequired = true
        properties = [:]
    }

    func runAsUser(on node: NodeID, in tx: any SQLTransaction) throws -> String { "" }
}

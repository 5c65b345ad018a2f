import MusterClient
import MusterWire

/// Whether the default shell's document lets tags of users say whom sessions run as, and the change that makes it so. [value]
struct RunAsPreference: Sendable {
    private var content: [String: JSONValue]

    static func load(_ api: APIClient) async throws -> RunAsPreference {
        let document = try await api.call(GetDocument.self, .init(name: Grant.shellDocument))
        guard case .object(let content) = try? JSONCoding.decode(JSONValue.self, from: Array(document.content.utf8)) else {
            throw CommandLineError("The document \(Grant.shellDocument) is not the JSON that `muster` can change.")
        }
        return RunAsPreference(content: content)
    }

    init(content: [String: JSONValue]) { self.content = content }

    private var inputs: [String: JSONValue] {
        if case .object(let inputs) = content["inputs"] { inputs } else { [:] }
    }

    var isOn: Bool { inputs["runAsEnabled"] == .bool(true) || inputs["runAsEnabled"] == .string("true") }

    /// Whom those run as who have no tag.
    var defaultUser: String? {
        if case .string(let user) = inputs["runAsDefaultUser"], !user.isEmpty { user } else { nil }
    }

    /// All else stays as it is.
    var turnedOn: [String: JSONValue] {
        var content = content
        content["inputs"] = .object(inputs.merging(["runAsEnabled": .bool(true)]) { $1 })
        return content
    }

    func turnOn(_ api: APIClient) async throws {
        let text = String(decoding: try JSONCoding.encode(JSONValue.object(turnedOn)), as: UTF8.self)
        let made = try await api.call(UpdateDocument.self, .init(content: text, name: Grant.shellDocument, documentVersion: "$LATEST"))
        _ = try await api.call(
            UpdateDocumentDefaultVersion.self,
            .init(name: Grant.shellDocument, documentVersion: made.documentDescription.documentVersion))
    }
}

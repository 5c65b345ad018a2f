/// A document that comes with Muster. Owner Amazon and version 1, as the clients of Systems Manager expect to see it.
package struct BuiltInDocument: Sendable, Hashable {
    package let name: String
    package let document: Document
    /// Exactly as shown and hashed.
    package let content: String
    /// Seconds since 1970.
    package let createdDate: Int64

    package var description: String { document.description }
    package var platformTypes: [Platform] { document.platformTypes }
}

package enum BuiltInDocuments {
    package static let all: [BuiltInDocument] = [
        load("AWS-RunShellScript", PackageResources.AWS_RunShellScript_json, createdDate: 1_767_225_600)
    ].compactMap { $0 }

    package static func named(_ name: String) -> BuiltInDocument? { all.first { $0.name == name } }

    /// nil never happens: a test holds every file against the decoder.
    private static func load(_ name: String, _ json: [UInt8], createdDate: Int64) -> BuiltInDocument? {
        guard let document = try? DocumentDecoder.decode(json: json) else { return nil }
        return BuiltInDocument(
            name: name, document: document, content: String(decoding: json, as: UTF8.self), createdDate: createdDate)
    }
}

/// A Session document that comes with Muster.
package struct BuiltInSessionDocument: Sendable, Hashable {
    package let name: String
    package let document: SessionDocument
    /// Exactly as shown and hashed.
    package let content: String
    /// Seconds since 1970.
    package let createdDate: Int64

    /// What StartSession uses when it names none. Operators may put their own in its place.
    package static let preferences = "SSM-SessionManagerRunShell"

    package static let all: [BuiltInSessionDocument] = [
        load(preferences, PackageResources.SSM_SessionManagerRunShell_json),
        load("AWS-StartSSHSession", PackageResources.AWS_StartSSHSession_json),
        load("AWS-StartPortForwardingSession", PackageResources.AWS_StartPortForwardingSession_json),
        load("AWS-StartPortForwardingSessionToRemoteHost", PackageResources.AWS_StartPortForwardingSessionToRemoteHost_json),
        load("AWS-StartPortForwardingSessionToSocket", PackageResources.AWS_StartPortForwardingSessionToSocket_json),
        load("AWS-StartInteractiveCommand", PackageResources.AWS_StartInteractiveCommand_json),
        load("AWS-StartNonInteractiveCommand", PackageResources.AWS_StartNonInteractiveCommand_json),
        load("Muster-CopyFiles", PackageResources.Muster_CopyFiles_json),
    ].compactMap { $0 }

    package static func named(_ name: String) -> BuiltInSessionDocument? { all.first { $0.name == name } }

    /// nil never happens: a test holds every file against the decoder.
    private static func load(_ name: String, _ json: [UInt8]) -> BuiltInSessionDocument? {
        guard let document = try? SessionDocument.decode(json: json) else { return nil }
        return BuiltInSessionDocument(
            name: name, document: document, content: String(decoding: json, as: UTF8.self), createdDate: 1_767_225_600)
    }
}

package import MusterWire

/// The `sessions` folder of the state directory (0700):
///
///     host.sock    where the session host listens (0600)
///     open/ID      a session that was begun and whose end the controller has not acknowledged
///
/// The notes are what an agent reports as failed when the host, and with it the sessions, is lost. They are not synced: a power loss ends
/// the sessions as well, and the controller has its own deadline for that.
package struct SessionFolder: Sendable {
    private let folder: Folder
    private let notes: Folder

    package init(stateDirectory: String) throws(FileError) {
        folder = try Folder.openPrivate(stateDirectory + "/sessions")
        notes = try Folder.openPrivate(stateDirectory + "/sessions/open")
    }

    package func note(_ session: SessionID) throws(FileError) {
        guard try !notes.contains(session.rawValue) else { return }
        _ = try notes.createFile(session.rawValue)
    }

    package func settled(_ session: SessionID) throws(FileError) {
        try notes.removeFile(session.rawValue)
    }

    package func open() throws(FileError) -> [SessionID] {
        try notes.names().compactMap { SessionID($0) }
    }

    /// Short enough for any socket, however deep the state directory is (unix(7): 107 bytes).
    package var socketPath: String { "/proc/self/fd/\(folder.number)/host.sock" }

    package func removeSocket() throws(FileError) { try folder.removeFile("host.sock") }
}

import Glibc
package import MusterCrypto
import MusterWire

/// The `identity` folder of the state directory (0700, files 0600):
///
///     identity.json       the key, its certificate and the authorities; replaced in one step
///     pending.json        a key that has been asked a certificate for and not got one yet
///     connection-number   of the last connection; on disk before that connection is opened
///     lock                held by whoever changes the identity
///
/// Whatever a caller is told to be stored is on the disk, folder entry included.
package final class IdentityStore: Sendable {
    package let stateDirectory: String
    private let state: Folder
    private let folder: Folder
    private static let maxFileBytes = 256 << 10

    package init(stateDirectory: String) throws(FileError) {
        self.stateDirectory = stateDirectory
        state = try Folder.openPrivate(stateDirectory)
        folder = try Folder.openPrivate(state.path(of: "identity"))
        try state.sync()
    }

    /// Nil when this host was never registered.
    package func load() throws -> Identity? {
        guard let bytes = try folder.read("identity.json", atMost: Self.maxFileBytes) else { return nil }
        do {
            return try JSONCoding.decode(IdentityFile.self, from: bytes).identity()
        } catch {
            throw AgentError(
                "Cannot use the identity in \(folder.path(of: "identity.json")): \(error is DecodingError ? JSONCoding.explain(error) : "\(error)") "
                    + "Restore the file, or register this host anew with register --force."
            )
        }
    }

    package func save(_ identity: Identity) throws {
        try folder.replaceFile("identity.json", containing: JSONCoding.encode(IdentityFile(identity)), sync: true)
    }

    // MARK: Enrolment

    private struct Pending: Codable {
        var activation: String
        var controller: String
        var privateKey: String
    }

    /// The key to ask a certificate for: the one of an earlier try with the same activation, whose answer may have been lost,
    /// or a new one. It is stored when this returns.
    package func pendingKey(activation: String, controller: String) throws -> PrivateKey {
        if let bytes = try folder.read("pending.json", atMost: Self.maxFileBytes),
            let pending = try? JSONCoding.decode(Pending.self, from: bytes),
            pending.activation == activation, pending.controller == controller,
            let key = try? PrivateKey(pem: pending.privateKey)
        {
            return key
        }
        let key = try PrivateKey.generate()
        let pending = Pending(activation: activation, controller: controller, privateKey: try key.pem())
        try folder.replaceFile("pending.json", containing: JSONCoding.encode(pending), sync: true)
        return key
    }

    /// The identity first, then the key that led to it: a crash between the two leaves a pending key that nobody needs.
    package func enrolled(_ identity: Identity) throws {
        try save(identity)
        try folder.removeFile("connection-number")
        try folder.removeFile("pending.json")
        try folder.sync()
    }

    // MARK: Connections

    /// One more than ever before. Two holders of one identity are told apart by it, so a number is never used twice.
    package func nextConnectionNumber() throws -> UInt64 {
        let name = "connection-number"
        var last: UInt64 = 0
        if let bytes = try folder.read(name, atMost: 64) {
            let text = String(decoding: bytes, as: UTF8.self).filter { !$0.isNewline }
            guard let number = UInt64(text), number < UInt64(Int64.max) else {
                throw AgentError(
                    "Cannot use \(folder.path(of: name)): it does not hold a number. Register this host anew with register --force.")
            }
            last = number
        }
        try folder.replaceFile(name, containing: Array("\(last + 1)\n".utf8), sync: true)
        return last + 1
    }

    // MARK: Locks

    /// Held until the descriptor is gone, also by a killed process (man page flock(2)). It closes on exec.
    package func lock(_ purpose: Lock) throws -> FileDescriptor {
        let (folder, name) = purpose == .running ? (state, "agent.lock") : (self.folder, "lock")
        let file = try folder.openFile(name, create: true)
        while flock(file.number, LOCK_EX | LOCK_NB) != 0 {
            if errno == EINTR { continue }
            guard errno == EWOULDBLOCK else { throw FileError("lock", folder.path(of: name), errno) }
            throw AgentError(
                purpose == .running
                    ? "Another agent is running with the state in \(stateDirectory). Stop it, or pass another --state-dir."
                    : "Another registration of the host in \(stateDirectory) is under way. Wait for it to end."
            )
        }
        return file
    }

    package enum Lock: Sendable {
        case running
        case registering
    }
}

import Glibc
package import MusterCrypto
import MusterWire

/// The `identity` folder of the state directory (0700, files 0600):
///
///     identity.json       the key, its certificate and the authorities; replaced in one step (ReservedRecord)
///     pending.json        a key that has been asked a certificate for and not got one yet
///     connection-number   of the last connection; on disk before that connection is opened (ReservedRecord)
///     lock                held by whoever changes the identity
///
/// Whatever a caller is told to be stored is on the disk, folder entry included. What a connection and a renewal have to write has its
/// place there from the registration on: a full disk does not keep a node from its controller.
package final class IdentityStore: Sendable {
    package let stateDirectory: String
    private let state: Folder
    private let folder: Folder
    private let record: ReservedRecord
    private let number: ReservedRecord
    private static let maxFileBytes = 256 << 10
    /// An identity has about five kilobytes; one with several authorities, while the controller's is rolled, more.
    private static let identityBytes = 32 << 10
    private static let numberBytes = 64

    package init(stateDirectory: String) throws(FileError) {
        self.stateDirectory = stateDirectory
        state = try Folder.openPrivate(stateDirectory)
        folder = try Folder.openPrivate(state.path(of: "identity"))
        record = ReservedRecord("identity.json", in: folder, capacity: Self.identityBytes)
        number = ReservedRecord("connection-number", in: folder, capacity: Self.numberBytes)
        try state.sync()
    }

    /// Makes what every start, connection and renewal needs, while there is space.
    package func reserve() throws(FileError) {
        try record.reserve()
        try number.reserve()
        _ = try state.openFile("agent.lock", create: true)
    }

    /// Nil when this host was never registered.
    package func load() throws -> Identity? {
        guard let bytes = try record.read(atMost: Self.maxFileBytes) else { return nil }
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
        try record.replace(JSONCoding.encode(IdentityFile(identity)))
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
        try number.replace([])
        try folder.removeFile("pending.json")
        try folder.sync()
    }

    // MARK: Connections

    /// One more than ever before. Two holders of one identity are told apart by it, so a number is never used twice.
    package func nextConnectionNumber() throws -> UInt64 {
        var last: UInt64 = 0
        if let bytes = try number.read(atMost: Self.numberBytes) {
            guard let number = UInt64(String(decoding: bytes, as: UTF8.self)), number < UInt64(Int64.max) else {
                throw AgentError(
                    "Cannot use \(folder.path(of: "connection-number")): it does not hold a number. Register this host anew with register --force."
                )
            }
            last = number
        }
        try number.replace(Array("\(last + 1)".utf8))
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

internal import CLinux
internal import Glibc

/// What a start needs of configuration and machine: `check` and `serve` ask the same, before anything runs.
package struct StartCheck: Sendable {
    private let configuration: ControllerConfiguration

    package init(_ configuration: ControllerConfiguration) {
        self.configuration = configuration
    }

    struct Places: Sendable {
        let objects: ObjectStore?
        let targets: [any AuditTarget]
    }

    /// Everything but the store and the addresses.
    func places() throws -> Places {
        try configuration.validate()
        let objects = try ObjectStore(configuration)
        let targets = try AuditTargets.make(configuration, objects: objects)
        if let folder = configuration.auditFolder { try Self.verifyFolder(folder) }
        return Places(objects: objects, targets: targets)
    }

    /// The account is part of every ARN that people have stored.
    static func verifyAccount(_ account: String, in tx: any SQLTransaction) throws {
        guard let former = try MetaStore.value(.account, in: tx), former != account else { return }
        throw ControllerError.badSetting(
            "This store belongs to account \(former), the configuration says \(account). Set 'account' to \(former).")
    }

    /// The last folder of the path may be made; those above it are somebody's mount, and have to be there.
    private static func verifyFolder(_ path: String) throws {
        var status = stat()
        let parent = path.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 }
        guard lstat(path, &status) == 0 || (errno == ENOENT && lstat(parent.isEmpty ? "/" : parent, &status) == 0) else {
            throw ControllerError.badSetting(
                "'auditFolder' is \(path), and there is no folder \(parent). Make it, or mount what belongs there.")
        }
        guard stat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw ControllerError.badSetting("'auditFolder' is \(path), which is no folder. Name another.")
        }
        guard status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw ControllerError.badSetting("'auditFolder' is \(path), which has to belong to the controller's user with mode 0700.")
        }
    }

    /// That every address is one of this machine and free. A listener that fails later costs connections; one that fails here, nothing.
    package func verifyAddresses() throws {
        for listener in configuration.listeners { try Self.probe(listener) }
    }

    private static func probe(_ listener: ControllerConfiguration.Listener) throws {
        let name = listener.address.contains(":") ? "[\(listener.address)]:\(listener.port)" : "\(listener.address):\(listener.port)"
        var hints = addrinfo()
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(listener.address, String(listener.port), &hints, &found) == 0, let first = found else {
            throw ControllerError.cannotListen(
                address: name, reason: "\"\(listener.address)\" is no address, and no name that can be resolved")
        }
        defer { freeaddrinfo(found) }
        let number = socket(first.pointee.ai_family, Int32(SOCK_STREAM.rawValue), 0)
        guard number >= 0 else { throw ControllerError.cannotListen(address: name, reason: PlainWords.system(errno)) }
        defer { close(number) }
        var yes: Int32 = 1
        setsockopt(number, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        guard bind(number, first.pointee.ai_addr, first.pointee.ai_addrlen) == 0, listen(number, 1) == 0 else {
            throw ControllerError.cannotListen(address: name, reason: PlainWords.system(errno))
        }
    }
}

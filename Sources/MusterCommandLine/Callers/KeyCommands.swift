import MusterClient
import MusterWire

/// `muster key`: access keys over the network.
package struct KeyCommands: Sendable {
    let caller: Operator
    let directory: CallerDirectory
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        self.caller = caller
        directory = CallerDirectory(api: caller.api)
        self.printer = printer
    }

    package func create(_ user: String) async throws -> Int32 {
        let key = try await make(for: user)
        if printer.format == .table {
            show(key)
        } else {
            var table = Table(["USER", "ACCESS KEY", "SECRET", "LOGIN"])
            table.add([key.user, key.id, key.secret, key.login])
            try printer.structured(key, table)
        }
        return 0
    }

    func make(for user: String) async throws -> NewKey {
        let login = try await loginLine()
        let key = try await directory.createKey(of: user)
        return NewKey(user: user, id: key.id, secret: key.secret, login: "\(login) --access-key-id \(key.id)")
    }

    func show(_ key: NewKey) {
        printer.note("The key of \(key.user); the secret is shown this once:")
        printer.out("aws_access_key_id = \(key.id)\naws_secret_access_key = \(key.secret)")
        printer.note("\(key.user) types this, and the secret when it is asked for:\n\n  \(key.login)\n")
    }

    /// What leads somebody else to this controller. The secret is not part of it: arguments can be seen by others.
    private func loginLine() async throws -> String {
        var line = "muster login --endpoint \(caller.profile.endpoint)"
        // A certificate that the system's authorities vouch for needs no pin.
        if caller.profile.caBundle != nil {
            do {
                line += " --pin \(try await caller.pin())"
            } catch let error as APIError where error.code == "AccessDeniedException" {
                line += " --ca FILE"
            }
        }
        if caller.profile.region != "us-east-1" { line += " --region \(caller.profile.region)" }
        return line
    }

    package func set(_ id: String, isActive: Bool) async throws -> Int32 {
        let owner = try await directory.owner(ofKey: id)
        try await directory.setKey(id, of: owner, isActive: isActive)
        printer.note(
            isActive ? "The key \(id) of \(owner) counts again." : "The key \(id) of \(owner) no longer counts; its sessions end.")
        return 0
    }

    package func delete(_ id: String) async throws -> Int32 {
        let owner = try await directory.owner(ofKey: id)
        try await directory.deleteKey(id, of: owner)
        printer.note("Deleted the key \(id) of \(owner); its sessions end.")
        return 0
    }
}

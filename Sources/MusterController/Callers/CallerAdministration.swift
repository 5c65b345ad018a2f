internal import MusterCrypto
internal import MusterWire

/// `muster-controller user|group|key|policy`: the local administrator on the store, also while the controller runs, which reads it anew at
/// every call. Nobody is locked out of this; each change leaves its event in its own transaction.
package struct CallerAdministration: Sendable {
    private let directory: DataDirectory
    private let account: String
    private let configuration: ControllerConfiguration

    package init(configuration: ControllerConfiguration) {
        self.configuration = configuration
        directory = DataDirectory(configuration.dataDirectory)
        account = configuration.account
    }

    /// The words to print.
    package func run(_ order: CallerOrder) async throws -> String {
        guard directory.exists(.certificate), directory.exists(.database) else { throw ControllerError.notInitialised(directory.path) }
        try directory.verifyFiles()
        let cipher = try Controller.cipher(in: directory)
        let database = try SQLiteDatabase(path: directory.path(of: .database))
        defer { try? database.close() }
        guard try await Migrations.isCurrent(database) else {
            throw ControllerError.badSetting(
                "The store in \(directory.path) is of another version of the controller. Start this version once, then try again.")
        }
        let account = account
        do {
            guard order.changes else {
                return try await database.read { tx in
                    try order.perform(CallerChanges(now: .now(), account: account, tx: tx), cipher).words
                }
            }
            let login = try await database.read { tx in try MetaStore.value(.names, in: tx) }.map(login) ?? ""
            return try await database.write { tx in
                let now = Timestamp.now()
                let (words, event) = try order.perform(CallerChanges(now: now, account: account, tx: tx), cipher)
                guard let event else { return words }
                try MetaStore.advance(.accessRevision, in: tx)
                try AuditLog.append(
                    LocalCaller.event(
                        event.operation, resource: event.subject.arn(account: account), program: "muster-controller", now: now,
                        details: event.details), in: tx)
                guard let key = event.details["accessKeyId"], case .createKey = order else { return words }
                return words + "\n# Its owner types this, and the secret when it is asked for:\n# \(login) --access-key-id \(key)"
            }
        } catch let error as APIError {
            throw ControllerError.badSetting(error.message)
        }
    }

    /// What leads a person to this controller.
    private func login(names: String) -> String {
        var line = "muster login --endpoint \(configuration.operatorEndpoint(named: names.split(separator: " ").first.map(String.init)))"
        let listener = configuration.listeners.first { $0.serves.contains("operators") }
        // A certificate of another authority needs no pin of ours.
        if listener?.certificate == nil, let text = try? directory.text(.certificate),
            let authority = try? Certificate.chain(pem: text).first
        {
            line += " --pin \(AuthoritySet.pin(authority))"
        }
        return line
    }
}

extension ControllerConfiguration {
    /// Where operators reach the controller under one of its names.
    func operatorEndpoint(named name: String?) -> String {
        let listener = listeners.first { $0.serves.contains("operators") } ?? listeners.first
        let name = name ?? "localhost"
        return "https://\(name.contains(":") ? "[\(name)]" : name):\(listener?.port ?? 8443)"
    }
}

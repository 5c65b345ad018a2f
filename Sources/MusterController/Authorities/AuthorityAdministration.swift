internal import FoundationEssentials
internal import Glibc
internal import MusterCrypto
package import MusterWire

/// `muster-controller ca`: rolls the certificate authority, on the data directory, also while the controller runs.
///
/// The store decides. A key is on the disk before the store names its authority, and goes only after the store has retired it; the
/// bundle is written last, from the store. So a command that was cut short is either done or not: a key without an authority is
/// overwritten by the next `prepare`, and what is left of a retired one, or a bundle from before, is put right by every next command.
package struct AuthorityAdministration: Sendable {
    private let directory: DataDirectory

    package init(configuration: ControllerConfiguration) {
        directory = DataDirectory(configuration.dataDirectory)
    }

    package struct Outcome: Sendable {
        package let roll: AuthorityRoll
        package let records: [AuthorityRecord]
        package let members: [AuthorityRoll.Member]
        /// Without whom the step was taken.
        package var forced = AuthorityRoll.Missing()
        /// Join lines of these pin an authority that is about to go, or has gone.
        package let activations: [ActivationID]
        /// Bundles that are up to date.
        package let bundles: [String]
    }

    package func status(now: Timestamp = .now()) async throws -> Outcome {
        try await administer(now) { _ in AuthorityRoll.Missing() }
    }

    package func prepare(now: Timestamp = .now()) async throws -> Outcome {
        try await administer(now) { database in
            let (records, roll) = try await Self.read(database)
            let number = try roll.prepare()
            guard let current = records.first(where: { $0.state == .issuing }) else { throw AuthorityRoll.Refusal.notPrepared }
            let issuing = CertificateAuthority(
                certificate: current.certificate, key: try PrivateKey(pem: try directory.key(ofAuthority: current.number)))
            let key = try PrivateKey.generate()
            let seconds = now.milliseconds / 1000
            let next = try CertificateAuthority.create(
                commonName: current.certificate.commonName ?? "", notBefore: seconds - 300,
                notAfter: seconds + ControllerSetup.authorityYears * 365 * 86_400, key: key)
            let record = AuthorityRecord(
                number: number, state: .next, certificate: next.certificate, bridge: try issuing.bridge(to: next.certificate),
                preparedAt: now)
            try directory.writeKey(try key.pem(), ofAuthority: number)
            try await database.write { tx in
                guard try AuthorityStore.roll(AuthorityStore.all(in: tx)) == roll else {
                    throw AuthorityRoll.Refusal.alreadyPrepared(next: number)
                }
                try AuthorityStore.insert(record, in: tx)
                try AuditLog.append(Self.event("PrepareCertificateAuthority", record, now), in: tx)
            }
            return AuthorityRoll.Missing()
        }
    }

    package func `switch`(isForced: Bool = false, now: Timestamp = .now()) async throws -> Outcome {
        try await administer(now) { database in
            // A key that is lost or another's is found out before everything depends on it.
            for record in try await Self.read(database).records where record.state == .next {
                let key = try PrivateKey(pem: try directory.key(ofAuthority: record.number))
                guard CertificateAuthority(certificate: record.certificate, key: key).holdsItsKey else {
                    throw ControllerError.badSetting(
                        "\(directory.keyPath(ofAuthority: record.number)) is not the key of certificate authority \(record.number).")
                }
            }
            return try await database.write { tx in
                let records = try AuthorityStore.all(in: tx)
                let step = try AuthorityStore.roll(records).switch(try AuthorityStore.members(in: tx), isForced: isForced)
                try AuthorityStore.switch(to: step.issuing, from: step.former, now: now, in: tx)
                for record in records where record.number == step.issuing {
                    try AuditLog.append(Self.event("SwitchCertificateAuthority", record, now, without: step.missing), in: tx)
                }
                return step.missing
            }
        }
    }

    package func retire(isForced: Bool = false, now: Timestamp = .now()) async throws -> Outcome {
        try await administer(now) { database in
            try await database.write { tx in
                let records = try AuthorityStore.all(in: tx)
                let step = try AuthorityStore.roll(records).retire(try AuthorityStore.members(in: tx), isForced: isForced)
                try AuthorityStore.retire(step.former, now: now, in: tx)
                for record in records where record.number == step.former {
                    try AuditLog.append(Self.event("RetireCertificateAuthority", record, now, without: step.missing), in: tx)
                }
                return step.missing
            }
        }
    }

    // MARK: Around each

    private func administer(
        _ now: Timestamp, _ body: (any SQLDatabase) async throws -> AuthorityRoll.Missing
    ) async throws -> Outcome {
        guard directory.exists(.certificate), directory.exists(.database) else { throw ControllerError.notInitialised(directory.path) }
        try directory.verifyFiles()
        let lock = try directory.acquireLock(.authorityLock)
        defer { withExtendedLifetime(lock) {} }
        let database = try SQLiteDatabase(path: directory.path(of: .database))
        defer { try? database.close() }
        guard try await Migrations.isCurrent(database) else {
            throw ControllerError.badSetting(
                "The store in \(directory.path) is of another version of the controller. Start this version once, then try again.")
        }
        try await Authorities.enter(from: directory, database, now: now)
        let forced: AuthorityRoll.Missing
        do {
            forced = try await body(database)
        } catch {
            _ = try? await tidy(database)
            throw error
        }
        let bundles = try await tidy(database)
        let (records, roll) = try await Self.read(database)
        let (members, activations) = try await database.read { tx in
            var activations: [ActivationID] = []
            if let switched = records.first(where: { $0.state == .issuing && $0.number > 1 })?.switchedAt {
                activations = try AuthorityStore.activations(before: switched, now: now, in: tx)
            }
            return (try AuthorityStore.members(in: tx), activations)
        }
        return Outcome(roll: roll, records: records, members: members, forced: forced, activations: activations, bundles: bundles)
    }

    private static func read(_ database: any SQLDatabase) async throws -> (records: [AuthorityRecord], roll: AuthorityRoll) {
        let records = try await database.read { tx in try AuthorityStore.all(in: tx) }
        return (records, try AuthorityStore.roll(records))
    }

    /// Makes the files what the store says. Twice is the same as once.
    private func tidy(_ database: any SQLDatabase) async throws -> [String] {
        let records = try await database.read { tx in try AuthorityStore.all(in: tx) }
        let keys = try directory.authorityKeys()
        for record in records where record.state == .retired && keys.contains(record.number) {
            try directory.removeKey(ofAuthority: record.number)
        }
        let order: [AuthorityState] = [.issuing, .next, .former]
        let bundle = order.flatMap { state in records.filter { $0.state == state }.map { $0.certificate.pem() } }.joined()
        var paths = [directory.path(of: .certificate)]
        let profile = try await database.read { tx in try MetaStore.value(.profileDirectory, in: tx) }
        let known = Set(records.map { $0.certificate.der })
        let copy = (profile ?? directory.path + "/profile") + "/ca.pem"
        if Self.isOurs(copy, known) { paths.append(copy) }
        for path in paths where try DataDirectory.text(at: path) != bundle { try DataDirectory.write(bundle, to: path) }
        return paths
    }

    /// A bundle that somebody has added to is left alone.
    private static func isOurs(_ path: String, _ known: Set<[UInt8]>) -> Bool {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid(),
            let text = try? DataDirectory.text(at: path), let chain = try? Certificate.chain(pem: text)
        else { return false }
        return chain.allSatisfy { known.contains($0.der) }
    }

    private static func event(
        _ operation: String, _ record: AuthorityRecord, _ now: Timestamp, without missing: AuthorityRoll.Missing = .init()
    ) -> AuditEvent {
        var details = ["authority": String(record.number)]
        if !missing.isEmpty {
            details["forced"] = "true"
            details["nodesWithoutAuthority"] = String(missing.unaware.count)
            details["nodesNotRenewed"] = String(missing.unrenewed.count)
        }
        return LocalCaller.event(
            operation, resource: AuthoritySet.pin(record.certificate), program: "muster-controller ca", now: now, details: details)
    }
}

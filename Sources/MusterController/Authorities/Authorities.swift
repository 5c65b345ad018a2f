package import Logging
internal import MusterCrypto
package import MusterWire
internal import NIOConcurrencyHelpers
internal import ServiceLifecycle

/// The certificate authorities in use now. [service]
///
/// `muster-controller ca` changes them in the store while the controller runs; `run` looks at the store's revision every second and
/// tells those who use them. What must not wait for that asks the store itself: `NodeAdmission`, and whoever issues.
package final class Authorities: Service {
    private static let everySeconds = 1

    private let directory: DataDirectory
    private let database: any SQLDatabase
    private let logger: Logger
    private let state: NIOLockedValueBox<AuthoritySet>
    private let loaded: Int64
    private let observers = NIOLockedValueBox<[@Sendable (AuthoritySet) async throws -> Void]>([])

    package init(directory: DataDirectory, database: any SQLDatabase, now: Timestamp = .now(), logger: Logger) async throws {
        self.directory = directory
        self.database = database
        self.logger = logger
        try await Self.enter(from: directory, database, now: now)
        let set = try await Self.load(directory, database)
        loaded = set.revision
        state = NIOLockedValueBox(set)
    }

    package var current: AuthoritySet { state.withLockedValue { $0 } }

    /// Called after every change, once. One that throws is called again a second later, and so are those after it.
    package func onChange(_ observer: @escaping @Sendable (AuthoritySet) async throws -> Void) {
        observers.withLockedValue { $0.append(observer) }
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            var told = self.loaded
            var lastFailure: String?
            while !Task.isCancelled {
                do {
                    try await self.reload()
                    let set = self.current
                    if set.revision != told {
                        for observer in self.observers.withLockedValue({ $0 }) { try await observer(set) }
                        told = set.revision
                        self.logger.notice(
                            "certificate authorities changed",
                            metadata: [
                                "issuing": "\(set.number)", "trusted": "\(set.trustedNumbers.map(String.init).joined(separator: " "))",
                            ])
                    }
                    lastFailure = nil
                } catch {
                    guard !Task.isCancelled else { return }
                    let failure = "\(error)"
                    if failure != lastFailure {
                        self.logger.error("certificate authorities not read anew; the ones before stay", metadata: ["error": "\(failure)"])
                    }
                    lastFailure = failure
                }
                try? await Task.sleep(for: .seconds(Self.everySeconds))
            }
        }
    }

    /// Makes `current` what the store has.
    package func reload() async throws {
        let stored = try await database.read { tx in try AuthorityStore.revision(in: tx) }
        guard stored != current.revision else { return }
        let set = try await Self.load(directory, database)
        state.withLockedValue { state in
            if set.revision > state.revision { state = set }
        }
    }

    // MARK: Loading

    /// A store from before the first roll has no rows: its one authority is the two files that `init` wrote.
    package static func enter(from directory: DataDirectory, _ database: any SQLDatabase, now: Timestamp) async throws {
        guard try await database.read({ tx in try AuthorityStore.all(in: tx) }).isEmpty else { return }
        let first = try CertificateAuthority(
            certificate: Certificate(pem: try directory.text(.certificate)), key: PrivateKey(pem: try directory.key(ofAuthority: 1)))
        guard first.holdsItsKey else {
            throw ControllerError.badSetting("\(directory.path(of: .key)) is not the key of \(directory.path(of: .certificate)).")
        }
        let record = AuthorityRecord(number: 1, state: .issuing, certificate: first.certificate, preparedAt: now, switchedAt: now)
        try await database.write { tx in
            if try AuthorityStore.all(in: tx).isEmpty { try AuthorityStore.insert(record, in: tx) }
        }
    }

    package static func load(_ directory: DataDirectory, _ database: any SQLDatabase) async throws -> AuthoritySet {
        let (revision, records) = try await database.read { tx in (try AuthorityStore.revision(in: tx), try AuthorityStore.all(in: tx)) }
        func member(_ state: AuthorityState) -> AuthoritySet.Member? {
            records.first { $0.state == state }.map { AuthoritySet.Member(number: $0.number, certificate: $0.certificate) }
        }
        _ = try AuthorityStore.roll(records)
        guard let issuing = records.first(where: { $0.state == .issuing }) else {
            throw StoredValueError(table: "authorities", key: AuthorityState.issuing.rawValue)
        }
        let authority = CertificateAuthority(
            certificate: issuing.certificate, key: try PrivateKey(pem: try directory.key(ofAuthority: issuing.number)))
        guard authority.holdsItsKey else {
            throw ControllerError.badSetting(
                "\(directory.keyPath(ofAuthority: issuing.number)) is not the key of certificate authority \(issuing.number). "
                    + "Restore it from the backup that the database is from.")
        }
        let former = member(.former)
        return AuthoritySet(
            revision: revision, number: issuing.number, issuing: authority, next: member(.next), former: former,
            bridge: former == nil ? nil : issuing.bridge)
    }
}

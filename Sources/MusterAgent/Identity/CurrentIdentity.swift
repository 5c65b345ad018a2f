package import Logging
package import MusterClient
import MusterCrypto
package import MusterWire
import NIOConcurrencyHelpers

/// The identity that connections are opened with at this moment, and how to reach its controller. Renewal replaces it while
/// others use it.
package final class CurrentIdentity: Sendable {
    private struct State {
        var identity: Identity
        var trust: ControllerTrust
    }

    package let clock: ServerClock
    private let save: @Sendable (Identity) throws -> Void
    private let number: @Sendable () throws -> UInt64
    private let logger: Logger
    private let proxy: HTTPProxy?
    private let state: NIOLockedValueBox<State>
    private let ownAddress = NIOLockedValueBox<String?>(nil)

    package convenience init(_ identity: Identity, store: IdentityStore, clock: ServerClock, proxy: HTTPProxy? = nil, logger: Logger) {
        self.init(
            identity, save: { try store.save($0) }, nextConnectionNumber: { try store.nextConnectionNumber() }, clock: clock, proxy: proxy,
            logger: logger)
    }

    /// - Parameters:
    ///   - save: what it has taken is durable when it returns.
    ///   - nextConnectionNumber: one more than ever before.
    ///   - proxy: the way to the controller, for every connection with this identity.
    package init(
        _ identity: Identity, save: @escaping @Sendable (Identity) throws -> Void,
        nextConnectionNumber: @escaping @Sendable () throws -> UInt64, clock: ServerClock, proxy: HTTPProxy? = nil, logger: Logger
    ) {
        var identity = identity
        identity.controller.proxy = proxy
        self.proxy = proxy
        self.clock = clock
        self.save = save
        self.number = nextConnectionNumber
        self.logger = logger
        state = NIOLockedValueBox(State(identity: identity, trust: Self.trust(identity, clock: clock, logger: logger)))
    }

    package var identity: Identity { state.withLockedValue { $0.identity } }

    /// This host's address on its way to the controller; nil before the first connection.
    package var localAddress: String? {
        get { ownAddress.withLockedValue { $0 } }
        set { ownAddress.withLockedValue { $0 = newValue ?? $0 } }
    }

    /// With the client certificate.
    package var trust: ControllerTrust { state.withLockedValue { $0.trust } }

    /// Without it: for a node whose certificate is not accepted any more.
    package func anonymousTrust() -> ControllerTrust {
        let identity = self.identity
        return ControllerTrust(
            authorities: identity.authorities, identity: nil, knownTime: identity.knownTime, clock: clock, logger: logger)
    }

    /// On the disk first; then new connections use it.
    package func replace(with identity: Identity) throws {
        try save(identity)
        var identity = identity
        identity.controller.proxy = proxy
        let trust = Self.trust(identity, clock: clock, logger: logger)
        state.withLockedValue { $0 = State(identity: identity, trust: trust) }
    }

    /// Throws when the store that a message comes from is not one that this node has to believe. A new epoch is on the disk when it returns.
    package func hold(epoch presented: String, _ proof: StoreRestoration?) throws {
        let known = identity
        let epoch = try known.storeEpoch.following(presented, proof, trusted: known.authorities)
        guard epoch != known.storeEpoch else { return }
        try replace(with: known.following(epoch))
        logger.notice(
            "the controller's store was restored from a backup; its signature proves it",
            metadata: ["epoch": "\(epoch.name)", "former": "\(known.storeEpoch.name)", "at": "\(epoch.began.iso8601)"])
    }

    package func nextConnectionNumber() throws -> UInt64 {
        try number()
    }

    private static func trust(_ identity: Identity, clock: ServerClock, logger: Logger) -> ControllerTrust {
        ControllerTrust(
            authorities: identity.authorities, identity: (identity.chain, identity.key), knownTime: identity.knownTime, clock: clock,
            logger: logger)
    }
}

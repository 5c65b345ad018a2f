package import Logging
package import MusterClient
import MusterCrypto
import Synchronization

/// The identity that connections are opened with at this moment, and how to reach its controller. Renewal replaces it while
/// others use it.
package final class CurrentIdentity: Sendable {
    private struct State {
        var identity: Identity
        var trust: ControllerTrust
    }

    package let clock: ServerClock
    private let store: IdentityStore
    private let logger: Logger
    private let proxy: HTTPProxy?
    private let state: Mutex<State>

    /// - Parameter proxy: the way to the controller, for every connection with this identity.
    package init(_ identity: Identity, store: IdentityStore, clock: ServerClock, proxy: HTTPProxy? = nil, logger: Logger) {
        var identity = identity
        identity.controller.proxy = proxy
        self.proxy = proxy
        self.clock = clock
        self.store = store
        self.logger = logger
        state = Mutex(State(identity: identity, trust: Self.trust(identity, clock: clock, logger: logger)))
    }

    package var identity: Identity { state.withLock { $0.identity } }

    /// With the client certificate.
    package var trust: ControllerTrust { state.withLock { $0.trust } }

    /// Without it: for a node whose certificate is not accepted any more.
    package func anonymousTrust() -> ControllerTrust {
        let identity = self.identity
        return ControllerTrust(
            authorities: identity.authorities, identity: nil, knownTime: identity.knownTime, clock: clock, logger: logger)
    }

    /// On the disk first; then new connections use it.
    package func replace(with identity: Identity) throws {
        try store.save(identity)
        var identity = identity
        identity.controller.proxy = proxy
        let trust = Self.trust(identity, clock: clock, logger: logger)
        state.withLock { $0 = State(identity: identity, trust: trust) }
    }

    package func nextConnectionNumber() throws -> UInt64 {
        try store.nextConnectionNumber()
    }

    private static func trust(_ identity: Identity, clock: ServerClock, logger: Logger) -> ControllerTrust {
        ControllerTrust(
            authorities: identity.authorities, identity: (identity.chain, identity.key), knownTime: identity.knownTime, clock: clock,
            logger: logger)
    }
}

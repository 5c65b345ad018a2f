package import Logging
package import MusterCrypto
package import MusterTLS
package import MusterWire
import NIOConcurrencyHelpers

/// Whom an agent believes to be its controller, with what it proves itself, and by which clock certificates are judged.
///
/// The host's clock is the rule. Two things may take its place, both only for a certificate that ends at the authority we hold
/// or have pinned, for the right name, and whose key the other side has proven to have:
///
/// 1. The controller's own time, once it has told it and the host's clock differs by more than five minutes.
/// 2. Before that, when the certificate is outside its validity by the host's clock: the *earliest* time that this certificate
///    allows, but none before `knownTime`, the latest time that the controller is known to have reached. Time does not go back,
///    so what had expired by then stays refused; what may be accepted wrongly is a certificate that has expired since the last
///    contact, and that is the price for hosts without a clock of their own (see docs/decisions).
///
/// The authority and name checks do not tell us the certificate's dates, so the earliest time is searched for: each try is one
/// handshake that says "not yet valid", "expired" or nothing. In the usual case the first one, `knownTime`, is enough.
package final class ControllerTrust: Sendable {
    private let trust: TLSTrust
    private let identity: TLSIdentity?
    private let knownTime: Timestamp
    private let clock: ServerClock
    private let logger: Logger

    /// By the host's clock. Kept, because it holds the session that the next connection resumes.
    private let ordinary = NIOLockedValueBox<TLSContext?>(nil)

    /// For enrolment: the authority is known by its digest only.
    package init(pin: [UInt8], clock: ServerClock, logger: Logger) {
        trust = .pinned(pin)
        identity = nil
        // No controller has a certificate from before this program was written.
        knownTime = Timestamp(milliseconds: 1_767_225_600_000)
        self.clock = clock
        self.logger = logger
    }

    package init(
        authorities: [Certificate],
        identity: (chain: [Certificate], key: PrivateKey)?,
        knownTime: Timestamp,
        clock: ServerClock,
        logger: Logger
    ) {
        trust = .authorities(authorities)
        self.identity = identity.map { TLSIdentity(chain: $0.chain, key: $0.key) }
        self.knownTime = knownTime
        self.clock = clock
        self.logger = logger
    }

    /// Runs `body` with a context that judges certificates by the right clock, a second time if the first showed the clock wrong.
    package func attempt<Result: Sendable>(_ body: @Sendable (TLSContext) async throws -> Result) async throws -> Result {
        if let offset = clock.offsetMilliseconds, abs(offset) > 300_000 {
            return try await body(context(judgingAt: clock.now()))
        }
        let refusal: ClientError
        do {
            return try await body(ordinaryContext())
        } catch let error as ClientError {
            guard case .certificateTime = error.kind else { throw error }
            refusal = error
        }
        return try await searching(after: refusal, body)
    }

    private func searching<Result: Sendable>(
        after refusal: ClientError,
        _ body: @Sendable (TLSContext) async throws -> Result
    ) async throws -> Result {
        var search = ValidTimeSearch(from: knownTime)
        while let time = search.candidate {
            do {
                let result = try await body(context(judgingAt: time))
                logger.warning(
                    "the clock of this host is wrong; the controller's certificate was judged by another time",
                    metadata: ["judged-at": "\(time.iso8601)", "host-time": "\(Timestamp.now().iso8601)"])
                return result
            } catch let error as ClientError {
                guard case .certificateTime(let direction) = error.kind else { throw error }
                search.answered(direction)
            }
        }
        throw ClientError(refusal.kind, "\(refusal.description) Check the clock of this host and the certificate of the controller.")
    }

    private func ordinaryContext() throws(ClientError) -> TLSContext {
        if let context = ordinary.withLockedValue({ $0 }) { return context }
        let made = try context(judgingAt: nil)
        ordinary.withLockedValue { $0 = $0 ?? made }
        return made
    }

    private func context(judgingAt time: Timestamp?) throws(ClientError) -> TLSContext {
        var configuration = TLSConfiguration.client(trust: trust, identity: identity)
        configuration.verificationTime = time.map { $0.milliseconds / 1000 }
        do {
            return try TLSContext(configuration)
        } catch {
            throw ClientError(.configuration, "Cannot set up TLS: \(error)")
        }
    }
}

/// Finds a time within an unknown span of validity from answers "too early" and "too late": doubling steps forward, then halves.
/// Pure.
struct ValidTimeSearch {
    private var early: Int64
    private var late: Int64?
    private var step: Int64 = 86_400
    private var tries = 0
    private var next: Int64?

    init(from floor: Timestamp) {
        early = floor.milliseconds / 1000
        next = early
    }

    /// Nil when there is no such time.
    var candidate: Timestamp? { next.map { Timestamp(milliseconds: $0 * 1000) } }

    mutating func answered(_ direction: ClientError.CertificateTime) {
        guard let tried = next else { return }
        tries += 1
        switch direction {
        case .notYetValid: early = tried
        case .expired: late = tried
        }
        // 20 doublings of a day are beyond any certificate, and spans below an hour are not worth looking for.
        guard tries < 40, step < 1 << 40, late.map({ $0 - early > 3600 }) ?? true else {
            next = nil
            return
        }
        if let late {
            next = early + (late - early) / 2
        } else {
            next = early + step
            step *= 2
        }
    }
}

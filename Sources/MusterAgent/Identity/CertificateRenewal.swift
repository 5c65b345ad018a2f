package import Logging
import MusterClient
import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers
package import NIOCore
package import ServiceLifecycle

/// Gets the next certificate when half of this one's time is over, so that a controller may be away for the other half.
///
/// A certificate that has expired, or that the controller refuses, is renewed without it: the node's key signs a nonce of the
/// controller. The key stays the same; a new set of authorities in the answer takes the place of the stored one.
package final class CertificateRenewal: Service {
    private let current: CurrentIdentity
    private let group: any EventLoopGroup
    private let logger: Logger
    private let renewed: @Sendable () -> Void
    private let refused: Alarm
    private let isRequested = NIOLockedValueBox(false)

    private static let pause = Duration.seconds(60)

    /// - Parameters:
    ///   - refused: rings when the controller does not accept the certificate, whatever its dates say.
    ///   - renewed: called after each renewal, when the new identity is in use.
    package init(
        current: CurrentIdentity,
        group: any EventLoopGroup,
        logger: Logger,
        refused: Alarm,
        renewed: @escaping @Sendable () -> Void
    ) {
        self.current = current
        self.group = group
        self.logger = logger
        self.refused = refused
        self.renewed = renewed
    }

    /// Does not wait for half of the certificate's life to be over: somebody wants the node to have what the controller hands out now.
    package func renewNow() {
        isRequested.withLockedValue { $0 = true }
        refused.ring()
    }

    private func takeRequest() -> Bool {
        isRequested.withLockedValue { requested in
            defer { requested = false }
            return requested
        }
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await self.renewForEver()
        }
    }

    private func renewForEver() async {
        var isRefused = false
        var lastFailure: String?
        // Failures are tried again within a minute: a host that was off for long has nothing without a certificate.
        var backoff = Backoff(base: .seconds(5))
        // A fleet that enrolled together does not renew together.
        let spread = Double.random(in: 0...1)
        while !Task.isCancelled {
            let identity = current.identity
            let due = Self.renewalTime(notBefore: identity.leaf.notBefore, notAfter: identity.leaf.notAfter, spread: spread)
            let now = current.clock.now().milliseconds / 1000
            guard isRefused || now >= due else {
                // An hour at most, because clocks are set and what is known of the controller's changes.
                isRefused = await refused.wait(for: .seconds(min(due - now, 3600)))
                continue
            }
            // The proof by signature works whether the certificate is refused or somebody asked.
            let wasRequested = takeRequest()
            do {
                let renewal = try await renew(identity, isAccepted: !isRefused && now < identity.leaf.notAfter)
                try current.replace(with: renewal)
                logger.info(
                    "certificate renewed",
                    metadata: ["node": "\(renewal.node)", "until": "\(Timestamp(milliseconds: renewal.leaf.notAfter * 1000).iso8601)"])
                backoff.reset()
                lastFailure = nil
                renewed()
                // A controller that renews a certificate and refuses it all the same is not asked at the speed of the loop.
                if !wasRequested { try? await Task.sleep(for: Self.pause) }
                isRefused = false
            } catch {
                guard !Task.isCancelled else { return }
                let failure = "\(error)"
                if failure != lastFailure {
                    logger.warning("cannot renew the certificate; trying again", metadata: ["reason": "\(failure)"])
                    lastFailure = failure
                }
                // Another refusal comes with the next connection that is refused. Who asked by a signal does not ask again.
                let isDenied = error is APIError || (error as? ClientError)?.kind == .denied
                isRefused = await refused.wait(for: isDenied ? backoff.nextAtCap() : backoff.next()) || wasRequested
            }
        }
    }

    /// The middle of the certificate's life, up to a twentieth of it later.
    static func renewalTime(notBefore: Int64, notAfter: Int64, spread: Double) -> Int64 {
        let life = max(notAfter - notBefore, 0)
        return notBefore + life / 2 + Int64(Double(life) / 20 * min(max(spread, 0), 1))
    }

    private func renew(_ identity: Identity, isAccepted: Bool) async throws -> Identity {
        if isAccepted {
            do {
                return try await renewWithCertificate(identity)
            } catch let error as ClientError where error.kind == .denied {
                // The other side judges dates by its own clock.
            }
        }
        return try await renewWithChallenge(identity)
    }

    private func renewWithCertificate(_ identity: Identity) async throws -> Identity {
        let input = try request(for: identity)
        return try await withClient(current.trust, identity) { client in
            try Self.renewed(identity, by: await client.call(RenewManagedInstanceCertificate.self, input))
        }
    }

    private func renewWithChallenge(_ identity: Identity) async throws -> Identity {
        let request = try request(for: identity)
        return try await withClient(current.anonymousTrust(), identity) { client in
            var input = request
            let challenge = try await client.call(RequestCertificateChallenge.self, .init(instanceID: identity.node.rawValue))
            let proof = RenewManagedInstanceCertificate.proof(
                instanceID: identity.node, generation: identity.generation, nonce: challenge.nonce)
            input.nonce = challenge.nonce
            input.signature = Base64.encode(try identity.key.sign(proof))
            return try Self.renewed(identity, by: await client.call(RenewManagedInstanceCertificate.self, input))
        }
    }

    private func request(for identity: Identity) throws -> RenewManagedInstanceCertificate.Input {
        RenewManagedInstanceCertificate.Input(
            instanceID: identity.node.rawValue,
            certificateRequest: Base64.encode(try CertificateRequest(commonName: identity.node.rawValue, key: identity.key).der),
            generation: identity.generation
        )
    }

    private func withClient<Result: Sendable>(
        _ trust: ControllerTrust,
        _ identity: Identity,
        _ body: @Sendable (APIClient) async throws -> Result
    ) async throws -> Result {
        try await trust.attempt { [group, logger, clock = current.clock] tls in
            let client = APIClient(
                endpoint: identity.controller, credentials: nil, region: "", tls: tls, clock: clock, group: group, logger: logger)
            defer { client.shutdown() }
            return try await body(client)
        }
    }

    private static func renewed(_ identity: Identity, by answer: RenewManagedInstanceCertificate.Output) throws -> Identity {
        guard answer.instanceID == identity.node else {
            throw AgentError("The controller renewed the certificate of \(answer.instanceID) instead of that of \(identity.node).")
        }
        return try Identity(
            node: identity.node,
            generation: identity.generation,
            storeEpoch: identity.storeEpoch.following(
                answer.storeEpoch, answer.storeRestoration, trusted: identity.authorities),
            controller: identity.controller,
            key: identity.key,
            chain: Certificate.chain(pem: answer.certificate),
            authorities: answer.certificateAuthorities.map { try Certificate(pem: $0) },
            knownTime: max(identity.knownTime, answer.serverTime)
        )
    }
}

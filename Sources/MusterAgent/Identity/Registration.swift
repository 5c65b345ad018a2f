import CLinux
package import Logging
package import MusterClient
package import MusterCrypto
import MusterWire
package import NIOCore

/// Enrols this host: proves an activation to a controller whose authority is pinned, and gets an identity for its own key.
///
/// The key is on the disk before anyone is asked, and the same key with the same activation gets the same id: a lost answer or
/// a crash at any point costs nothing but another try.
package struct Registration: Sendable {
    package var controller: Endpoint
    package var activationID: String
    /// A secret: it is never printed.
    package var activationCode: String
    /// SHA-256 of the DER of the controller's authority.
    package var pin: [UInt8]
    package var force: Bool

    /// - Parameters:
    ///   - pin: `sha256:HEX`, as the join line prints it.
    ///   - proxy: the way to the controller.
    package init(
        controller: String, activationID: String, activationCode: String, pin: String, force: Bool = false,
        proxy: (Endpoint) throws -> HTTPProxy? = { _ in nil }
    ) throws {
        self.controller = try Endpoint(url: controller)
        self.controller.proxy = try proxy(self.controller)
        self.activationID = activationID
        self.activationCode = activationCode
        self.pin = try Self.digest(pin)
        self.force = force
    }

    package enum Outcome: Sendable {
        /// `former` is what the host was before, and what its former controller goes on listing.
        case registered(Identity, former: Identity?)
        /// Nothing was changed.
        case alreadyRegistered(Identity, here: Bool)
    }

    package func run(store: IdentityStore, group: any EventLoopGroup, logger: Logger) async throws -> Outcome {
        // The activation code and the new key are in this memory.
        _ = (muster_forbid_dumps(), muster_limit_dumps())
        let lock = try store.lock(.registering)
        defer { withExtendedLifetime(lock) {} }

        // With --force an unreadable identity is no obstacle: it is what --force is there for.
        let former = force ? try? store.load() : try store.load()
        if let former, !force {
            return .alreadyRegistered(former, here: former.controller == controller)
        }

        // Before anybody is asked: what cannot be stored is not to use up an activation, and a node must not be lost to a disk that fills.
        do {
            try store.reserve()
            try JobLedger.reserve(stateDirectory: store.stateDirectory)
            _ = try SessionFolder(stateDirectory: store.stateDirectory)
        } catch {
            throw AgentError("\(error) Nothing was asked of the controller, and the activation was not used.")
        }
        let key = try store.pendingKey(activation: activationID, controller: controller.description)
        let identity = try await enrol(key: key, group: group, logger: logger)
        try store.enrolled(identity)
        return .registered(identity, former: former)
    }

    /// The identity that the controller gives this key. The key has to be kept before: the same one gets the same identity again.
    package func enrol(key: PrivateKey, group: any EventLoopGroup, logger: Logger) async throws -> Identity {
        try identity(from: await ask(key: key, group: group, logger: logger), key: key)
    }

    private func ask(key: PrivateKey, group: any EventLoopGroup, logger: Logger) async throws -> RegisterManagedInstance.Output {
        let facts = HostFacts.current()
        let publicKey = try key.publicKey
        let input = RegisterManagedInstance.Input(
            activationID: activationID,
            activationCode: activationCode,
            fingerprint: Hex.encode(publicKey.fingerprint),
            publicKey: Base64.encode(publicKey.der),
            publicKeyType: "Ec",
            certificateRequest: Base64.encode(try CertificateRequest(commonName: "muster-agent", key: key).der),
            agentVersion: AgentVersion.current,
            computerName: facts.computerName,
            ipAddress: facts.ipAddress,
            platformName: facts.platformName,
            platformType: HostFacts.platformType,
            platformVersion: facts.platformVersion
        )
        let clock = ServerClock()
        let trust = ControllerTrust(pin: pin, clock: clock, logger: logger)
        return try await trust.attempt { [controller] tls in
            let client = APIClient(endpoint: controller, credentials: nil, region: "", tls: tls, clock: clock, group: group, logger: logger)
            defer { client.shutdown() }
            return try await client.call(RegisterManagedInstance.self, input)
        }
    }

    private func identity(from answer: RegisterManagedInstance.Output, key: PrivateKey) throws -> Identity {
        let authorities = try answer.certificateAuthorities.map { try Certificate(pem: $0) }
        guard authorities.contains(where: { equalInConstantTime($0.fingerprint, pin) }) else {
            throw AgentError(
                "The controller at \(controller) answered with authorities that do not hold the pinned one. Nothing was changed.")
        }
        return try Identity(
            node: answer.instanceID,
            generation: answer.generation,
            // The first one it meets, which the pinned authority vouches for.
            storeEpoch: StoreEpoch(
                name: answer.storeEpoch,
                began: (try? answer.storeRestoration?.decoded().time) ?? Timestamp(milliseconds: 0)),
            controller: controller,
            key: key,
            chain: Certificate.chain(pem: answer.certificate),
            authorities: authorities,
            knownTime: answer.serverTime
        )
    }

    static func digest(_ text: String) throws(AgentError) -> [UInt8] {
        let prefix = "sha256:"
        guard text.lowercased().hasPrefix(prefix), let pin = Hex.decode(text.dropFirst(prefix.count).lowercased()), pin.count == 32 else {
            throw AgentError("The pin has to be sha256: and the 64 hexadecimal digits that the controller prints beside the join line.")
        }
        return pin
    }
}

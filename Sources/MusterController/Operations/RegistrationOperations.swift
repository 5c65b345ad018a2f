package import Logging
import Metrics
import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers

/// How a host becomes a node and stays one: RegisterManagedInstance, RequestCertificateChallenge,
/// RenewManagedInstanceCertificate.
///
/// All three are reached without a client certificate; the proof is in the body: an activation code, or a signature by the
/// key that the node registered with.
package struct RegistrationOperations: Sendable {
    private let database: any SQLDatabase
    private let certificates: NodeCertificates
    private let store: StoreIdentity
    private let logger: Logger
    private let attempts: NIOLockedValueBox<AttemptLimiter>
    private let events = NIOLockedValueBox(AttemptLimiter(burst: 200, refillPerMinute: 20, capacity: 1))
    private let nonces: NIOLockedValueBox<RenewalNonces>

    package init(
        database: any SQLDatabase, certificates: NodeCertificates, store: StoreIdentity, attempts: AttemptLimiter = AttemptLimiter(),
        logger: Logger
    ) {
        self.database = database
        self.certificates = certificates
        self.store = store
        self.logger = logger
        self.attempts = NIOLockedValueBox(attempts)
        self.nonces = NIOLockedValueBox(RenewalNonces())
    }

    package func register(in table: inout OperationTable) {
        table.register(
            RegisterManagedInstance.self, permission: "ssm:RegisterManagedInstance", route: .enrolment, access: .certificate, changes: true,
            enrol)
        table.register(
            RequestCertificateChallenge.self, permission: "muster:RequestCertificateChallenge", route: .enrolment, access: .certificate,
            changes: false,
            challenge)
        table.register(
            RenewManagedInstanceCertificate.self, permission: "muster:RenewManagedInstanceCertificate", route: .enrolment,
            access: .certificate,
            changes: true, renew)
    }

    // MARK: Register

    @Sendable func enrol(
        _ input: RegisterManagedInstance.Input, _ context: OperationContext
    ) async throws -> RegisterManagedInstance.Output {
        let key = try Self.key(input)
        let activation = try await authenticate(input, context)
        let facts = Node.Facts(
            computerName: input.computerName, ipAddress: input.ipAddress, platformType: input.platformType,
            platformName: input.platformName, platformVersion: input.platformVersion, agentVersion: input.agentVersion)
        // A code that has proven itself once may be worth nothing by now: what its holder writes into the trail is bounded like what a guesser does.
        let isHeard = isHeard
        let (outcome, wasHeard) = try await database.write { tx in
            let outcome = try Self.take(activation, key, facts, context, in: tx)
            let isWritten = outcome.isNews || isHeard(context.now)
            // What is done is written down, or not done: a repeat comes again later.
            if case .node = outcome, !isWritten { throw APIError.throttling }
            if isWritten { try AuditLog.append(Self.audit(outcome, activation: activation, context), in: tx) }
            return (outcome, isWritten)
        }
        switch outcome {
        case .refused(let error):
            guard wasHeard else { throw UnprovenRefusal(error: error) }
            throw error
        case .node(let node, let isRepeat):
            logger.info(
                "node registered",
                metadata: [
                    "node": "\(node.id)", "activation": "\(activation)", "repeat": "\(isRepeat)",
                    "remote": "\(context.caller.sourceAddress)",
                ])
            let issued = try await issue(node.identity, key, context)
            return RegisterManagedInstance.Output(
                instanceID: node.id, certificate: issued.chain, certificateAuthorities: issued.trusted, generation: node.generation,
                serverTime: context.now, storeEpoch: store.epoch, storeRestoration: store.restoration)
        }
    }

    private enum Outcome: Sendable {
        case node(Node, isRepeat: Bool)
        case refused(APIError)

        /// Something has changed by it.
        var isNews: Bool { if case .node(_, isRepeat: false) = self { true } else { false } }
    }

    /// The key, from a request that proves possession of it. Nothing else in the request is used.
    private static func key(_ input: RegisterManagedInstance.Input) throws -> PublicKey {
        guard try input.publicKeyType.required("publicKeyType") == "Ec" else {
            throw APIError.invalidPublicKey("PublicKeyType has to be Ec: keys are on the curve P-256.")
        }
        guard let der = Base64.decode(try input.publicKey.required("publicKey")), let key = try? PublicKey(der: der) else {
            throw APIError.invalidPublicKey("PublicKey is not the base64 of a SubjectPublicKeyInfo in DER.")
        }
        guard try requestedKey(try input.certificateRequest.required("certificateRequest")) == key else {
            throw APIError.invalidPublicKey("CertificateRequest is for another key than PublicKey.")
        }
        return key
    }

    private static func requestedKey(_ text: String) throws -> PublicKey {
        guard let der = Base64.decode(text), let request = try? CertificateRequest(der: der) else {
            throw APIError.invalidPublicKey(
                "CertificateRequest is not the base64 of a PKCS #10 request in DER that is signed by its own key.")
        }
        return request.publicKey
    }

    /// The activation whose code was given. Unknown activation and wrong code look the same from outside.
    private func authenticate(_ input: RegisterManagedInstance.Input, _ context: OperationContext) async throws -> ActivationID {
        let text = try input.activationID.required("activationId")
        guard let id = ActivationID(text) else {
            throw APIError.invalidActivationID("'\(text.prefix(64))' is not the id of an activation.")
        }
        let digest = SHA256.hash(try input.activationCode.required("activationCode"))
        let activation = try await database.read { tx in try ActivationStore.activation(id, in: tx) }
        let source = context.caller.sourceAddress
        let attempt = AttemptLimiter.Key(source: source, activation: activation?.id)
        guard attempts.withLockedValue({ $0.allows(attempt, at: context.now) }) else { throw APIError.throttling }

        let expected = activation.flatMap { Hex.decode($0.codeDigest) } ?? [UInt8](repeating: 0, count: 32)
        guard equalInConstantTime(digest, expected), activation != nil else {
            attempts.withLockedValue { $0.failed(attempt, at: context.now) }
            Counter(label: "muster_registrations_refused_total").increment()
            logger.warning("registration refused", metadata: ["activation": "\(id)", "remote": "\(source)"])
            let refusal = APIError.invalidActivation("The activation does not exist or its code is another one.")
            guard isHeard(at: context.now) else { throw UnprovenRefusal(error: refusal) }
            let event = context.audit(
                RegisterManagedInstance.name, resource: id.description, outcome: .denied,
                details: ["reason": "unknown activation or wrong code"])
            try await database.write { tx in try AuditLog.append(event, in: tx) }
            throw refusal
        }
        return id
    }

    private static func take(
        _ id: ActivationID, _ key: PublicKey, _ facts: Node.Facts, _ context: OperationContext, in tx: any SQLTransaction
    ) throws -> Outcome {
        guard let activation = try ActivationStore.activation(id, in: tx), !activation.isDeleted else {
            return .refused(.invalidActivation("Activation \(id) has been deleted."))
        }
        if let node = try NodeStore.node(withKey: key.fingerprint, in: tx) {
            // The answer to the first try was lost: the same host gets the same id and no second slot.
            if node.activation == id, node.state == .registered { return .node(node, isRepeat: true) }
            if node.state == .quarantined { return .refused(NodeAdmission.Refusal.quarantined(node.id).apiError) }
            return .refused(
                .publicKeyAlreadyRegistered("This key belongs or belonged to another managed node. Make a new key and register again."))
        }
        guard !activation.isExpired(at: context.now) else {
            return .refused(.activationExpired("Activation \(id) expired at \(activation.expiresAt.iso8601)."))
        }
        guard try ActivationStore.takeSlot(of: id, in: tx) else {
            return .refused(
                .invalidActivation(
                    "Activation \(id) has registered \(activation.registrationLimit) of \(activation.registrationLimit) nodes."))
        }
        let node = Node(
            id: .random(), generation: 1, publicKey: key.der, activation: id, iamRole: activation.iamRole,
            name: activation.defaultInstanceName, facts: facts, registeredAt: context.now,
            sourceAddress: context.caller.sourceAddress)
        try NodeStore.insert(node, in: tx)
        try TagStore.set(activation.tags, of: node.id.description, type: TagStore.managedInstance, in: tx)
        return .node(node, isRepeat: false)
    }

    private static func audit(_ outcome: Outcome, activation: ActivationID, _ context: OperationContext) -> AuditEvent {
        switch outcome {
        case .node(let node, let isRepeat):
            context.audit(
                RegisterManagedInstance.name, resource: node.id.description,
                details: ["activationId": activation.description, "repeat": String(isRepeat)])
        case .refused(let error):
            context.audit(
                RegisterManagedInstance.name, resource: activation.description, outcome: .denied, details: ["errorCode": error.code])
        }
    }

    // MARK: Certificates

    /// Outside any transaction: signing takes longer than the store should be held, and a lost answer is asked for again.
    private func issue(
        _ identity: NodeIdentity, _ key: PublicKey, _ context: OperationContext
    ) async throws -> (chain: String, trusted: [String]) {
        for _ in 0..<3 {
            let issued = try certificates.issue(identity, for: key, at: context.now)
            let end = Timestamp(milliseconds: issued.leaf.notAfter * 1000)
            let authorities = issued.authorities
            let isCurrent = try await database.write { tx in
                // The authorities may have been changed while we signed: nothing goes out under those from before.
                guard try AuthorityStore.revision(in: tx) == authorities.revision else { return false }
                try NodeStore.setCertificateEnd(end, of: identity.node, in: tx)
                try AuthorityStore.gave(
                    issued.leaf, of: authorities.number, with: authorities.trustedNumbers, to: identity.node, in: tx)
                return true
            }
            if isCurrent { return (issued.chain, authorities.trusted.map { $0.pem() }) }
            try await certificates.reload()
        }
        // Somebody changes them faster than we sign; whoever asked comes again.
        throw APIError.internalServerError
    }

    /// Also for nodes that do not exist: who asks learns nothing.
    @Sendable func challenge(
        _ input: RequestCertificateChallenge.Input, _ context: OperationContext
    ) async throws -> RequestCertificateChallenge.Output {
        let node = try Self.node(input.instanceID)
        let nonce = nonces.withLockedValue { $0.make(for: node, at: context.now) }
        return RequestCertificateChallenge.Output(nonce: nonce, serverTime: context.now)
    }

    @Sendable func renew(
        _ input: RenewManagedInstanceCertificate.Input, _ context: OperationContext
    ) async throws -> RenewManagedInstanceCertificate.Output {
        let named = NodeIdentity(node: try Self.node(input.instanceID), generation: try input.generation.required("generation"))
        let key = try Self.requestedKey(try input.certificateRequest.required("certificateRequest"))
        let admitted = try await database.read { tx in try NodeAdmission.admit(named, in: tx) }
        do {
            let node = try admitted.get()
            guard equalInConstantTime(key.fingerprint, node.keyFingerprint) else { throw NodeAdmission.Refusal.otherKey(node.id) }
            try prove(input, node, context)
        } catch let refusal as NodeAdmission.Refusal {
            try await deny(named.node, refusal.description, context)
            // What is wrong is in the log; who cannot prove to be the node is told no more than that.
            throw APIError.accessDenied(
                "The certificate of node \(named.node) cannot be renewed with this proof. Register the host again if this persists.")
        }
        let event = context.audit(
            RenewManagedInstanceCertificate.name, resource: named.node.description,
            details: ["proof": context.node == nil ? "signature" : "certificate"])
        // Once more inside the change: the node may have been deregistered in between.
        let still = try await database.write { tx in
            let still = try NodeAdmission.admit(named, in: tx)
            if case .success = still { try AuditLog.append(event, in: tx) }
            return still
        }
        guard case .success(let node) = still else { throw APIError.accessDenied("Node \(named.node) is not registered any more.") }
        let issued = try await issue(node.identity, key, context)
        return RenewManagedInstanceCertificate.Output(
            instanceID: node.id, certificate: issued.chain, certificateAuthorities: issued.trusted, generation: node.generation,
            serverTime: context.now, storeEpoch: store.epoch, storeRestoration: store.restoration)
    }

    /// By the client certificate of this connection, or by a signature over one of our nonces.
    private func prove(_ input: RenewManagedInstanceCertificate.Input, _ node: Node, _ context: OperationContext) throws {
        if let presented = context.node {
            guard presented == node.identity else {
                throw NodeAdmission.Refusal.otherGeneration(node.id, presented: presented.generation, current: node.generation)
            }
            return
        }
        guard let nonce = input.nonce, let signature = input.signature.flatMap({ Base64.decode($0) }),
            nonces.withLockedValue({ $0.isValid(nonce, for: node.id, at: context.now) }),
            let registered = try? PublicKey(der: node.publicKey),
            registered.isValid(
                signature: signature,
                for: RenewManagedInstanceCertificate.proof(instanceID: node.id, generation: node.generation, nonce: nonce)),
            nonces.withLockedValue({ $0.use(nonce, for: node.id, at: context.now) })
        else { throw NodeAdmission.Refusal.notProven(node.id) }
    }

    private func deny(_ node: NodeID, _ reason: String, _ context: OperationContext) async throws {
        logger.warning(
            "certificate not renewed",
            metadata: ["node": "\(node)", "reason": "\(reason)", "remote": "\(context.caller.sourceAddress)"])
        // The server writes the denials of those whose certificate it has seen.
        guard context.node == nil else { return }
        let source = AttemptLimiter.Key(source: context.caller.sourceAddress, activation: nil)
        // Bounded, because anyone can cause these events.
        guard attempts.withLockedValue({ $0.allows(source, at: context.now) }) else { throw APIError.throttling }
        attempts.withLockedValue { $0.failed(source, at: context.now) }
        guard isHeard(at: context.now) else {
            throw UnprovenRefusal(error: .accessDenied("The certificate of node \(node) cannot be renewed with this proof."))
        }
        let event = context.audit(
            RenewManagedInstanceCertificate.name, resource: node.description, outcome: .denied, details: ["reason": reason])
        try await database.write { tx in try AuditLog.append(event, in: tx) }
    }

    /// Whether there is room for one more event of somebody who has proven nothing: so many are written in words, from wherever they come.
    private func isHeard(at now: Timestamp) -> Bool {
        let all = AttemptLimiter.Key(source: "all", activation: nil)
        return events.withLockedValue { events in
            guard events.allows(all, at: now) else { return false }
            events.failed(all, at: now)
            return true
        }
    }

    private static func node(_ text: String?) throws -> NodeID {
        let text = try text.required("instanceId")
        guard let node = NodeID(text) else { throw APIError.invalidInstanceID("'\(text.prefix(64))' is not the id of a managed node.") }
        return node
    }
}

/// A refusal to somebody who has proven nothing, for which the trail has no room in words: whoever answers counts it.
struct UnprovenRefusal: Error {
    let error: APIError
}

import FoundationEssentials
import Glibc
import Logging
import MusterCrypto
import MusterWire
import NIOConcurrencyHelpers

@testable import MusterController

/// Testing has a Tag as well.
typealias Tag = MusterWire.Tag

/// A store in a directory of its own, a clock that the test moves, and the operations over both.
final class EnrolmentFixture: Sendable {
    let directory: String
    let database: SQLiteDatabase
    let clock = ManualTime()
    let events = RecordedEvents()
    let authority: CertificateAuthority
    let registry: AgentRegistry
    let activations: ActivationOperations
    let registrations: RegistrationOperations
    let nodes: NodeOperations
    let tags: TagOperations
    let documents: DocumentOperations
    let documentChanges: DocumentChangeOperations

    init() async throws {
        directory = FileManager.default.temporaryDirectory.path + "/muster-nodes-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        database = try SQLiteDatabase(path: directory + "/store.sqlite")
        try await Migrations.run(on: database, now: clock.now.milliseconds)
        let seconds = clock.now.milliseconds / 1000
        authority = try CertificateAuthority.create(
            commonName: "test", notBefore: seconds - 86_400, notAfter: seconds + 365 * 86_400, key: .generate())
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let clock = self.clock
        let pageTokenKey = [UInt8](repeating: 7, count: 32)
        registry = AgentRegistry(database: database, now: { clock.now }, logger: logger)
        activations = ActivationOperations(
            database: database, pageTokenKey: pageTokenKey, cipher: try AuthenticatedCipher(key: [UInt8](repeating: 9, count: 32)))
        registrations = RegistrationOperations(
            database: database, certificates: NodeCertificates(authority: authority, hours: 24), store: StoreIdentity(epoch: "epoch"),
            logger: logger)
        nodes = NodeOperations(
            database: database, registry: registry, events: events, pageTokenKey: pageTokenKey, latestAgentVersion: "1.0.0.0",
            logger: logger)
        tags = TagOperations(database: database)
        documents = DocumentOperations(database: database, pageTokenKey: pageTokenKey)
        documentChanges = DocumentChangeOperations(database: database)
    }

    deinit {
        try? database.close()
        try? FileManager.default.removeItem(atPath: directory)
    }

    func context(retry: RetryKey? = nil, node: NodeIdentity? = nil, source: String = "192.0.2.1") -> OperationContext {
        let caller: Caller =
            if let node {
                .node(node, account: "000000000001", region: "local", sourceAddress: source, userAgent: "")
            } else {
                TestAccess.caller(source: source)
            }
        return OperationContext(
            caller: caller, requestID: "request", now: clock.now, region: "local", account: "000000000001", retry: retry, node: node,
            access: TestAccess.check(.administrator, "ssm:Any", caller))
    }

    func activation(limit: Int = 1, tags: [Tag] = [], name: String? = nil) async throws -> CreateActivation.Output {
        try await activations.create(
            CreateActivation.Input(iamRole: "role", defaultInstanceName: name, registrationLimit: limit, tags: tags), context())
    }

    func enrol(_ host: TestHost, _ activation: CreateActivation.Output, source: String = "192.0.2.1") async throws
        -> RegisterManagedInstance.Output
    {
        try await registrations.enrol(try host.registration(activation), context(source: source))
    }

    /// A node with its certificate, from an activation of its own.
    func node(_ host: TestHost? = nil, tags: [Tag] = [], name: String? = nil) async throws -> (
        identity: NodeIdentity, certificate: Certificate
    ) {
        let host = try host ?? TestHost()
        let answer = try await enrol(host, try await activation(tags: tags, name: name))
        let leaf = try Certificate.chain(pem: answer.certificate)[0]
        return (NodeIdentity(node: answer.instanceID, generation: answer.generation), leaf)
    }

    func stored(_ node: NodeID) async throws -> Node? {
        try await database.read { tx in try NodeStore.node(node, in: tx) }
    }

    func audit(_ operation: String) async throws -> [AuditLog.Entry] {
        try await database.read { tx in try AuditLog.newest(1000, in: tx) }.filter { $0.operation == operation }
    }

    /// A control channel in a task of its own; cancel it or end the peer.
    func connect(_ certificate: Certificate?, number: UInt64?, generation: Int? = 1) throws -> FakePeer {
        let peer = FakePeer(certificate: certificate)
        let hello = OpenControlChannel(
            requestID: "r", agentVersion: "1.0.0.0", connectionNumber: number, identityGeneration: generation)
        peer.say(.text(String(decoding: try JSONCoding.encode(hello), as: UTF8.self)))
        serve(peer)
        return peer
    }

    func serve(_ peer: FakePeer) {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let clock = self.clock
        let connection = AgentConnection(
            peer: peer.peer, certificate: peer.certificate, registry: registry, events: events, database: database, now: { clock.now },
            logger: logger)
        peer.task.withLockedValue { $0 = Task { await connection.run(peer.messages) } }
    }
}

final class ManualTime: Sendable {
    private let milliseconds = NIOLockedValueBox<Int64>(1_780_000_000_000)

    var now: Timestamp { Timestamp(milliseconds: milliseconds.withLockedValue { $0 }) }

    func advance(seconds: Int64) {
        milliseconds.withLockedValue { $0 += seconds * 1000 }
    }
}

/// A host that wants to be a node.
struct TestHost: Sendable {
    let key: PrivateKey
    let request: CertificateRequest

    init() throws {
        key = try PrivateKey.generate()
        request = try CertificateRequest(commonName: "anything", key: key)
    }

    func registration(_ activation: CreateActivation.Output) throws -> RegisterManagedInstance.Input {
        RegisterManagedInstance.Input(
            activationID: activation.activationID.description, activationCode: activation.activationCode,
            publicKey: Base64.encode(try key.publicKey.der), publicKeyType: "Ec", certificateRequest: Base64.encode(request.der),
            agentVersion: "1.0.0.0", computerName: "host", platformName: "Debian GNU/Linux", platformType: "Linux", platformVersion: "13")
    }
}

/// What the dispatcher would have been told.
final class RecordedEvents: AgentEvents {
    enum Event: Equatable {
        case connected(NodeID, Int)
        case disconnected(NodeID)
        case acknowledged(NodeID, String)
        case reply(NodeID, String)
        case deregistered(NodeID)
    }

    struct NotKept: Error {}

    private let events = NIOLockedValueBox<[Event]>([])
    private let keeps = NIOLockedValueBox(true)
    private let stream: AsyncStream<Event>
    private let continuation: AsyncStream<Event>.Continuation

    init() {
        (stream, continuation) = AsyncStream.makeStream()
    }

    var all: [Event] { events.withLockedValue { $0 } }

    func refuseReplies() { keeps.withLockedValue { $0 = false } }

    /// Waits for the event; those before it are passed over.
    func wait(for wanted: Event) async {
        for await event in stream where event == wanted { return }
    }

    private func record(_ event: Event) {
        events.withLockedValue { $0.append(event) }
        continuation.yield(event)
    }

    func nodeConnected(_ node: NodeID, generation: Int) async { record(.connected(node, generation)) }
    func nodeDisconnected(_ node: NodeID) async { record(.disconnected(node)) }
    func nodeDeregistered(_ node: NodeID) async { record(.deregistered(node)) }
    func jobAcknowledged(_ node: NodeID, _ acknowledgement: AgentJobAcknowledge) async {
        record(.acknowledged(node, acknowledgement.jobID))
    }
    func replyReceived(_ node: NodeID, _ reply: AgentJobReply, messageID: UUID) async throws {
        guard keeps.withLockedValue({ $0 }) else { throw NotKept() }
        record(.reply(node, reply.jobID))
    }
}

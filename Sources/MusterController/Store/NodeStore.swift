import MusterCrypto
package import MusterWire

/// A managed node as the store knows it. Whether it is connected is the registry's knowledge and not kept here.
package struct Node: Sendable, Equatable {
    package enum State: String, Sendable {
        case registered
        /// Gone for good: the id is never given again, and the key that belonged to it is spent.
        case deregistered
        /// Two holders of one identity were seen. Nothing is accepted from it or sent to it until it is deregistered.
        case quarantined
    }

    /// What the agent says about its host. It is shown, and decides nothing.
    package struct Facts: Sendable, Equatable {
        package var computerName: String?
        package var ipAddress: String?
        package var platformType: String?
        package var platformName: String?
        package var platformVersion: String?
        package var agentName: String?
        package var agentVersion: String?

        package init(
            computerName: String? = nil, ipAddress: String? = nil, platformType: String? = nil, platformName: String? = nil,
            platformVersion: String? = nil, agentName: String? = nil, agentVersion: String? = nil
        ) {
            self.computerName = computerName
            self.ipAddress = ipAddress
            self.platformType = platformType
            self.platformName = platformName
            self.platformVersion = platformVersion
            self.agentName = agentName
            self.agentVersion = agentVersion
        }

        /// What was not said this time stays as it was.
        package func updated(by news: Facts) -> Facts {
            Facts(
                computerName: news.computerName ?? computerName, ipAddress: news.ipAddress ?? ipAddress,
                platformType: news.platformType ?? platformType, platformName: news.platformName ?? platformName,
                platformVersion: news.platformVersion ?? platformVersion, agentName: news.agentName ?? agentName,
                agentVersion: news.agentVersion ?? agentVersion)
        }
    }

    package let id: NodeID
    package var generation: Int
    /// SubjectPublicKeyInfo, DER.
    package var publicKey: [UInt8]
    /// SHA-256 of `publicKey`.
    package var keyFingerprint: [UInt8]
    package var activation: ActivationID
    package var iamRole: String
    package var name: String?
    package var state: State
    package var facts: Facts
    package var registeredAt: Timestamp
    package var lastPingAt: Timestamp?
    package var connectionNumbers: ConnectionNumbers
    package var sourceAddress: String?

    package var identity: NodeIdentity { NodeIdentity(node: id, generation: generation) }

    package init(
        id: NodeID, generation: Int, publicKey: [UInt8], activation: ActivationID, iamRole: String, name: String?,
        facts: Facts, registeredAt: Timestamp, sourceAddress: String?
    ) {
        self.id = id
        self.generation = generation
        self.publicKey = publicKey
        self.keyFingerprint = SHA256.hash(publicKey)
        self.activation = activation
        self.iamRole = iamRole
        self.name = name
        self.state = .registered
        self.facts = facts
        self.registeredAt = registeredAt
        self.lastPingAt = nil
        self.connectionNumbers = ConnectionNumbers(last: 0)
        self.sourceAddress = sourceAddress
    }
}

extension Node {
    init(_ row: SQLRow) throws {
        let id = try row.text("node_id")
        guard let node = NodeID(id), let activation = ActivationID(try row.text("activation_id")),
            let state = State(rawValue: try row.text("state")), let key = Base64.decode(try row.text("public_key")),
            let fingerprint = Hex.decode(try row.text("key_fingerprint"))
        else { throw StoredValueError(table: "nodes", key: id) }
        self.id = node
        self.generation = Int(try row.integer("generation"))
        self.publicKey = key
        self.keyFingerprint = fingerprint
        self.activation = activation
        self.iamRole = try row.text("iam_role")
        self.name = try row.optionalText("name")
        self.state = state
        self.facts = Facts(
            computerName: try row.optionalText("computer_name"), ipAddress: try row.optionalText("ip_address"),
            platformType: try row.optionalText("platform_type"), platformName: try row.optionalText("platform_name"),
            platformVersion: try row.optionalText("platform_version"), agentName: try row.optionalText("agent_name"),
            agentVersion: try row.optionalText("agent_version"))
        self.registeredAt = Timestamp(milliseconds: try row.integer("registered_at"))
        self.lastPingAt = try row.optionalInteger("last_ping_at").map { Timestamp(milliseconds: $0) }
        self.connectionNumbers = ConnectionNumbers(last: UInt64(max(0, try row.integer("connection_number"))))
        self.sourceAddress = try row.optionalText("source_address")
    }
}

/// A row that this program cannot have written.
struct StoredValueError: Error, CustomStringConvertible {
    let table: String
    let key: String

    var description: String {
        "Cannot read row \(key) of table \(table): a value in it is malformed. Restore the store from a backup."
    }
}

package enum NodeStore {
    private static let columns = """
        node_id, generation, public_key, key_fingerprint, activation_id, iam_role, name, state, computer_name, ip_address, \
        platform_type, platform_name, platform_version, agent_name, agent_version, registered_at, last_ping_at, \
        connection_number, source_address
        """

    package static func node(_ id: NodeID, in tx: any SQLTransaction) throws -> Node? {
        try tx.first("SELECT \(columns) FROM nodes WHERE node_id = $1", [.text(id.description)]).map(Node.init)
    }

    package static func node(withKey fingerprint: [UInt8], in tx: any SQLTransaction) throws -> Node? {
        try tx.first("SELECT \(columns) FROM nodes WHERE key_fingerprint = $1", [.text(Hex.encode(fingerprint))]).map(Node.init)
    }

    /// Nodes that have not been deregistered, by id, after `position`.
    package static func page(after position: String, limit: Int, in tx: any SQLTransaction) throws -> [Node] {
        try tx.query(
            "SELECT \(columns) FROM nodes WHERE node_id > $1 AND state <> $2 ORDER BY node_id LIMIT $3",
            [.text(position), .text(Node.State.deregistered.rawValue), .integer(limit)]
        ).map(Node.init)
    }

    package static func insert(_ node: Node, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            INSERT INTO nodes (node_id, generation, public_key, key_fingerprint, activation_id, iam_role, name, state,
                computer_name, ip_address, platform_type, platform_name, platform_version, agent_name, agent_version,
                registered_at, source_address)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
            """,
            [
                .text(node.id.description), .integer(node.generation), .text(Base64.encode(node.publicKey)),
                .text(Hex.encode(node.keyFingerprint)), .text(node.activation.description), .text(node.iamRole),
                .text(node.name), .text(node.state.rawValue),
            ] + values(of: node.facts) + [.integer(node.registeredAt.milliseconds), .text(node.sourceAddress)])
    }

    package static func setState(_ state: Node.State, of id: NodeID, now: Timestamp, in tx: any SQLTransaction) throws {
        try tx.execute(
            "UPDATE nodes SET state = $1, deregistered_at = $2 WHERE node_id = $3",
            [.text(state.rawValue), .integer(state == .deregistered ? now.milliseconds : nil), .text(id.description)])
    }

    package static func setConnectionNumbers(_ numbers: ConnectionNumbers, of id: NodeID, in tx: any SQLTransaction) throws {
        try tx.execute(
            "UPDATE nodes SET connection_number = $1 WHERE node_id = $2",
            [.integer(Int64(clamping: numbers.last)), .text(id.description)])
    }

    package static func setFacts(_ facts: Node.Facts, of id: NodeID, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            UPDATE nodes SET computer_name = $1, ip_address = $2, platform_type = $3, platform_name = $4,
                platform_version = $5, agent_name = $6, agent_version = $7 WHERE node_id = $8
            """,
            values(of: facts) + [.text(id.description)])
    }

    package static func setRole(_ role: String, of id: NodeID, in tx: any SQLTransaction) throws {
        try tx.execute("UPDATE nodes SET iam_role = $1 WHERE node_id = $2", [.text(role), .text(id.description)])
    }

    package static func setCertificateEnd(_ end: Timestamp, of id: NodeID, in tx: any SQLTransaction) throws {
        try tx.execute(
            "UPDATE nodes SET certificate_not_after = $1 WHERE node_id = $2",
            [.integer(end.milliseconds), .text(id.description)])
    }

    /// A batch of heartbeats. It is an observation and no change to the node, so it has no audit event.
    package static func recordPings(_ pings: [NodeID: Timestamp], in tx: any SQLTransaction) throws {
        for (id, time) in pings {
            try tx.execute(
                "UPDATE nodes SET last_ping_at = $1 WHERE node_id = $2 AND (last_ping_at IS NULL OR last_ping_at < $1)",
                [.integer(time.milliseconds), .text(id.description)])
        }
    }

    private static func values(of facts: Node.Facts) -> [SQLValue] {
        [
            .text(facts.computerName), .text(facts.ipAddress), .text(facts.platformType), .text(facts.platformName),
            .text(facts.platformVersion), .text(facts.agentName), .text(facts.agentVersion),
        ]
    }
}

package import MusterCrypto
package import MusterWire

/// A certificate authority as the store knows it. Its key is a file of the data directory.
package struct AuthorityRecord: Sendable, Equatable {
    package let number: Int
    package var state: AuthorityState
    package let certificate: Certificate
    package let bridge: Certificate?
    package let preparedAt: Timestamp
    package var switchedAt: Timestamp?
    package var retiredAt: Timestamp?

    package init(
        number: Int, state: AuthorityState, certificate: Certificate, bridge: Certificate? = nil, preparedAt: Timestamp,
        switchedAt: Timestamp? = nil
    ) {
        self.number = number
        self.state = state
        self.certificate = certificate
        self.bridge = bridge
        self.preparedAt = preparedAt
        self.switchedAt = switchedAt
        self.retiredAt = nil
    }
}

extension AuthorityRecord {
    init(_ row: SQLRow) throws {
        number = Int(try row.integer("number"))
        guard let state = AuthorityState(rawValue: try row.text("state")) else {
            throw StoredValueError(table: "authorities", key: String(number))
        }
        self.state = state
        certificate = try Certificate(pem: try row.text("certificate"))
        bridge = try row.optionalText("bridge").map { try Certificate(pem: $0) }
        preparedAt = Timestamp(milliseconds: try row.integer("prepared_at"))
        switchedAt = try row.optionalInteger("switched_at").map { Timestamp(milliseconds: $0) }
        retiredAt = try row.optionalInteger("retired_at").map { Timestamp(milliseconds: $0) }
    }
}

/// The authorities, and which of them each node has. The rows decide; files follow.
package enum AuthorityStore {
    package static func revision(in tx: any SQLTransaction) throws -> Int64 {
        try MetaStore.value(.authorityRevision, in: tx).flatMap { Int64($0) } ?? 0
    }

    package static func all(in tx: any SQLTransaction) throws -> [AuthorityRecord] {
        try tx.query("SELECT * FROM authorities ORDER BY number").map(AuthorityRecord.init)
    }

    package static func roll(_ records: [AuthorityRecord]) throws -> AuthorityRoll {
        guard let roll = AuthorityRoll(Dictionary(records.map { ($0.number, $0.state) }) { $1 }) else {
            throw StoredValueError(table: "authorities", key: "state")
        }
        return roll
    }

    package static func insert(_ record: AuthorityRecord, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            INSERT INTO authorities (number, state, key_id, certificate, bridge, prepared_at, switched_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            [
                .integer(record.number), .text(record.state.rawValue), .text(record.certificate.subjectKeyIdentifier ?? ""),
                .text(record.certificate.pem()), .text(record.bridge?.pem()), .integer(record.preparedAt.milliseconds),
                .integer(record.switchedAt?.milliseconds),
            ])
        try changed(in: tx)
    }

    package static func `switch`(to issuing: Int, from former: Int, now: Timestamp, in tx: any SQLTransaction) throws {
        try tx.execute("UPDATE authorities SET state = 'former' WHERE number = $1", [.integer(former)])
        try tx.execute(
            "UPDATE authorities SET state = 'issuing', switched_at = $2 WHERE number = $1",
            [.integer(issuing), .integer(now.milliseconds)])
        try changed(in: tx)
    }

    package static func retire(_ former: Int, now: Timestamp, in tx: any SQLTransaction) throws {
        try tx.execute(
            "UPDATE authorities SET state = 'retired', retired_at = $2 WHERE number = $1",
            [.integer(former), .integer(now.milliseconds)])
        try changed(in: tx)
    }

    private static func changed(in tx: any SQLTransaction) throws {
        try MetaStore.set(.authorityRevision, to: String(try revision(in: tx) + 1), in: tx)
    }

    /// Whether the authority that signed it has been retired. TLS knows only those that were trusted when a connection began.
    package static func isRetired(issuerOf certificate: Certificate, in tx: any SQLTransaction) throws -> Bool {
        guard let key = certificate.authorityKeyIdentifier else { return false }
        return try tx.first("SELECT number FROM authorities WHERE key_id = $1 AND state = 'retired'", [.text(key)]) != nil
    }

    // MARK: Nodes

    package static func gave(
        _ certificate: Certificate, of issuer: Int, with authorities: [Int], to node: NodeID, in tx: any SQLTransaction
    ) throws {
        try tx.execute(
            """
            INSERT INTO node_certificates (node_id, given_serial, given_issuer, given_authorities, given_until)
            VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (node_id) DO UPDATE SET given_serial = $2, given_issuer = $3, given_authorities = $4, given_until = $5
            """,
            [
                .text(node.description), .text(certificate.serialNumber), .integer(issuer),
                .text(authorities.map(String.init).joined(separator: " ")), .integer(certificate.notAfter * 1000),
            ])
    }

    /// An agent writes a certificate and the authorities that came with it in one step, before it uses either: a connection under
    /// the certificate is the proof that it has stored them.
    package static func used(_ certificate: Certificate, by node: NodeID, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            UPDATE node_certificates SET used_serial = given_serial, used_issuer = given_issuer, used_authorities = given_authorities,
                used_until = given_until
            WHERE node_id = $1 AND given_serial = $2 AND (used_serial IS NULL OR used_serial <> $2)
            """,
            [.text(node.description), .text(certificate.serialNumber)])
    }

    /// Every registered node, by id.
    package static func members(in tx: any SQLTransaction) throws -> [AuthorityRoll.Member] {
        try tx.query(
            """
            SELECT n.node_id, n.name, n.last_ping_at, n.registered_at, c.used_issuer, c.used_authorities, c.used_until
            FROM nodes n LEFT JOIN node_certificates c ON c.node_id = n.node_id
            WHERE n.state = 'registered' ORDER BY n.node_id
            """
        ).map { row in
            let id = try row.text("node_id")
            guard let node = NodeID(id) else { throw StoredValueError(table: "nodes", key: id) }
            let numbers = try row.optionalText("used_authorities")?.split(separator: " ").compactMap { Int($0) } ?? []
            return AuthorityRoll.Member(
                node: node, name: try row.optionalText("name"),
                lastSeen: try row.optionalInteger("last_ping_at").map { Timestamp(milliseconds: $0) },
                authorities: Set(numbers), issuer: try row.optionalInteger("used_issuer").map { Int($0) },
                certificateEnd: try row.optionalInteger("used_until").map { Timestamp(milliseconds: $0) })
        }
    }

    /// Activations whose join lines pin an authority from before, and which could still be used.
    package static func activations(before switched: Timestamp, now: Timestamp, in tx: any SQLTransaction) throws -> [ActivationID] {
        try tx.query(
            """
            SELECT activation_id FROM activations
            WHERE created_at < $1 AND expires_at > $2 AND deleted = 0 AND registrations_count < registration_limit
            ORDER BY activation_id
            """, [.integer(switched.milliseconds), .integer(now.milliseconds)]
        ).compactMap { ActivationID(try $0.text("activation_id")) }
    }
}

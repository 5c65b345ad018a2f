package import MusterCrypto
import MusterWire

/// CreateActivation, DescribeActivations, DeleteActivation.
package struct ActivationOperations: Sendable {
    private static let longestDays: Int64 = 30
    private static let defaultHours: Int64 = 24

    private let database: any SQLDatabase
    private let paging: Paging
    /// Seals remembered answers, which hold a code.
    private let cipher: AuthenticatedCipher

    package init(database: any SQLDatabase, pageTokenKey: [UInt8], cipher: AuthenticatedCipher) {
        self.database = database
        self.paging = Paging(key: pageTokenKey)
        self.cipher = cipher
    }

    package func register(in table: inout OperationTable) {
        table.register(
            CreateActivation.self, permission: "ssm:CreateActivation", route: .operators,
            access: .on { input, _ in [AccessTarget("*", keys: RequestTags.keys(input.tags ?? []))] }, changes: true, create)
        table.register(
            DescribeActivations.self, permission: "ssm:DescribeActivations", route: .operators, access: .anything, changes: false, describe)
        table.register(
            DeleteActivation.self, permission: "ssm:DeleteActivation", route: .operators, access: .anything, changes: true, delete)
    }

    // MARK: Create

    @Sendable func create(_ input: CreateActivation.Input, _ context: OperationContext) async throws -> CreateActivation.Output {
        guard input.unserved.isEmpty else { throw APIError.notServed(input.unserved, operation: CreateActivation.name) }
        let now = context.now
        let expiresAt = input.expirationDate ?? now.adding(seconds: Self.defaultHours * 3600)
        guard expiresAt > now else { throw APIError.validation("ExpirationDate has to be in the future.") }
        guard expiresAt <= now.adding(seconds: Self.longestDays * 86_400) else {
            throw APIError.validation("ExpirationDate has to be at most \(Self.longestDays) days from now.")
        }
        let tags = try TagRules.dictionary(input.tags ?? [])
        guard tags.count <= TagRules.maximumPerResource else {
            throw APIError.invalidParameters("Tags are copied to every node, and a node has at most \(TagRules.maximumPerResource).")
        }
        let code = Self.makeCode()
        let activation = Activation(
            id: .random(), codeDigest: Hex.encode(SHA256.hash(code)), description: input.description,
            defaultInstanceName: input.defaultInstanceName, iamRole: try input.iamRole.required("iamRole"),
            registrationLimit: input.registrationLimit ?? 1, expiresAt: expiresAt, createdAt: now, tags: tags)
        return try await database.write { tx in
            if let key = context.retry, let answer = try remembered(key, now: now, in: tx) { return answer }
            let answer = CreateActivation.Output(activationID: activation.id, activationCode: code)
            try ActivationStore.insert(activation, in: tx)
            try AuditLog.append(
                context.audit(
                    CreateActivation.name, resource: activation.id.description,
                    details: ["registrationLimit": String(activation.registrationLimit), "expirationDate": expiresAt.iso8601]),
                in: tx)
            if let key = context.retry { try remember(answer, for: key, now: now, in: tx) }
            return answer
        }
    }

    /// 24 characters of 62: 142 bits. The stock agent sends nothing shorter than 20.
    static func makeCode() -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
        var code = ""
        while code.count < 24 {
            // Bytes from 248 on would make the first eight characters likelier.
            for byte in RandomBytes.make(32) where byte < 248 && code.count < 24 { code.append(alphabet[Int(byte) % 62]) }
        }
        return code
    }

    /// The store sees the code's digest only, so an answer that is kept for a retry is kept sealed.
    private func remember(
        _ answer: CreateActivation.Output, for key: RetryKey, now: Timestamp, in tx: any SQLTransaction
    ) throws {
        let sealed = try cipher.seal(try JSONCoding.encode(answer), authenticating: Self.bound(to: key))
        try IdempotencyStore.remember(Array(Base64.encode(sealed).utf8), for: key, now: now, in: tx)
    }

    private func remembered(_ key: RetryKey, now: Timestamp, in tx: any SQLTransaction) throws -> CreateActivation.Output? {
        guard let kept = try IdempotencyStore.answer(for: key, now: now, in: tx) else { return nil }
        guard let sealed = Base64.decode(String(decoding: kept, as: UTF8.self)) else {
            throw StoredValueError(table: "idempotent_answers", key: key.invocationID)
        }
        return try JSONCoding.decode(CreateActivation.Output.self, from: try cipher.open(sealed, authenticating: Self.bound(to: key)))
    }

    private static func bound(to key: RetryKey) -> [UInt8] {
        Array("\(CreateActivation.name)\n\(key.accessKeyID)\n\(key.invocationID)\n\(key.bodyDigest)".utf8)
    }

    // MARK: Describe

    @Sendable func describe(_ input: DescribeActivations.Input, _ context: OperationContext) async throws -> DescribeActivations.Output {
        let filters = input.filters ?? []
        let conditions = try filters.map { filter in
            (key: try filter.filterKey.required("filterKey"), values: Set(filter.filterValues ?? []))
        }
        let position = try paging.position(input.nextToken, operation: DescribeActivations.name, filters: filters)
        let limit = input.maxResults ?? 50
        let now = context.now
        let (page, next) = try await database.read { tx in
            try Paging.fill(
                from: position, limit: limit, key: { (activation: Activation) in activation.id.description },
                fetch: { position, count in try ActivationStore.page(after: position, limit: count, in: tx) },
                matches: { activation in
                    try conditions.allSatisfy { condition in
                        switch condition.key {
                        case "ActivationIds": condition.values.contains(activation.id.description)
                        case "DefaultInstanceName": condition.values.contains(activation.defaultInstanceName ?? "")
                        case "IamRole": condition.values.contains(activation.iamRole)
                        default: throw APIError.invalidFilter("'\(condition.key.prefix(128))' is not a filter key of DescribeActivations.")
                        }
                    }
                })
        }
        return DescribeActivations.Output(
            activationList: page.map { Self.shape($0, now: now) },
            nextToken: try paging.token(after: next, operation: DescribeActivations.name, filters: filters))
    }

    private static func shape(_ activation: Activation, now: Timestamp) -> MusterWire.Activation {
        MusterWire.Activation(
            activationID: activation.id, description: activation.description,
            defaultInstanceName: activation.defaultInstanceName, iamRole: activation.iamRole,
            registrationLimit: activation.registrationLimit, registrationsCount: activation.registrationsCount,
            expirationDate: activation.expiresAt, expired: activation.isExpired(at: now), createdDate: activation.createdAt,
            tags: activation.tags.sorted { $0.key < $1.key }.map { Tag(key: $0.key, value: $0.value) })
    }

    // MARK: Delete

    @Sendable func delete(_ input: DeleteActivation.Input, _ context: OperationContext) async throws -> DeleteActivation.Output {
        let text = try input.activationID.required("activationId")
        guard let id = ActivationID(text) else {
            throw APIError.invalidActivationID("'\(text.prefix(64))' is not the id of an activation.")
        }
        try await database.write { tx in
            guard let activation = try ActivationStore.activation(id, in: tx), !activation.isDeleted else {
                throw APIError.invalidActivation("Activation \(id) does not exist.")
            }
            try ActivationStore.delete(id, in: tx)
            try AuditLog.append(context.audit(DeleteActivation.name, resource: id.description), in: tx)
        }
        return DeleteActivation.Output()
    }
}

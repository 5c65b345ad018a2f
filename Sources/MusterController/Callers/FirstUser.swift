package import MusterCrypto
package import MusterWire

/// The administrator that `init` makes, locally and once.
package enum FirstUser {
    package static let name = "administrator"

    /// User, policy and key, or what of them is missing; a repeated init makes another key, because the former one was never shown.
    package static func create(now: Timestamp, cipher: AuthenticatedCipher, in tx: any SQLTransaction) throws -> Credentials {
        if try UserStore.user(name, in: tx) == nil {
            try UserStore.insert(User(name: name, id: CallerID.make(.user), createdAt: now), in: tx)
            try PolicyStore.attach(BuiltInPolicy.administratorAccess.name, to: .user(name), in: tx)
            try AuditLog.append(event("CreateUser", now), in: tx)
        }
        let credentials = try OperatorKeyStore.create(userName: name, now: now, cipher: cipher, in: tx)
        try AuditLog.append(event("CreateAccessKey", now), in: tx)
        return credentials
    }

    private static func event(_ operation: String, _ now: Timestamp) -> AuditEvent {
        AuditEvent(time: now, controllerDid: operation, resource: name, details: ["by": "muster-controller init"])
    }
}

internal import MusterCrypto
package import MusterWire

/// What opens the client's leg of one session: 256 random bits, shown once. The store has a digest only. [value]
package struct SessionToken: Sendable, Redacted {
    package static let maximumLength = 300
    package static let lifetimeSeconds: Int64 = 60

    package let text: String

    package static func make() -> SessionToken {
        SessionToken(unchecked: Hex.encode(RandomBytes.make(32)))
    }

    /// Nil for what cannot be one.
    package init?(_ text: String) {
        guard text.utf8.count == 64, text.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }) else { return nil }
        self.text = text
    }

    private init(unchecked text: String) {
        self.text = text
    }

    /// Session and role are part of it: a token of one is nothing at another.
    package func digest(for session: SessionID) -> [UInt8] {
        var message = Array("muster-session-token-1".utf8)
        for part in ["client", session.rawValue, text] {
            withUnsafeBytes(of: UInt64(part.utf8.count).bigEndian) { message.append(contentsOf: $0) }
            message.append(contentsOf: part.utf8)
        }
        return SHA256.hash(message)
    }
}

/// The one token of a session that counts, and who may use it. [value]
///
/// The first ClientId to come keeps the session for good: another process starts its stream at 0, and could only disturb it.
/// Until it expires a token opens as often as that client likes, because the stock plugin tries again with the same one.
package struct SessionGrant: Sendable, Equatable {
    package enum Refusal: String, Error, Sendable, Equatable {
        case wrong = "WrongSessionToken"
        case expired = "ExpiredSessionToken"
        case otherClient = "OtherSessionClient"
    }

    /// Whom the token was issued to: the caller of StartSession or ResumeSession. What is done with it is theirs.
    package struct Holder: Codable, Sendable, Equatable {
        package let accessKeyID: String
        package let userName: String
        package let arn: String

        package init(_ caller: Caller) {
            (accessKeyID, userName, arn) = (caller.accessKeyID, caller.userName, caller.arn)
        }
    }

    package private(set) var digest: [UInt8]
    package private(set) var expiresAt: Timestamp
    package private(set) var clientID: String?
    /// Nil of a token from before this was kept.
    package private(set) var holder: Holder?
    /// Whether this token has opened the session already.
    package private(set) var isUsed: Bool

    package init(digest: [UInt8], expiresAt: Timestamp, clientID: String?, holder: Holder? = nil, isUsed: Bool = false) {
        self.digest = digest
        self.expiresAt = expiresAt
        self.clientID = clientID
        self.holder = holder
        self.isUsed = isUsed
    }

    /// A new token; the one before is worth nothing any more.
    package mutating func issue(_ token: SessionToken, to caller: Caller, for session: SessionID, now: Timestamp) {
        digest = token.digest(for: session)
        expiresAt = now.adding(seconds: SessionToken.lifetimeSeconds)
        (holder, isUsed) = (Holder(caller), false)
    }

    /// Whether this opens the session. The digests are compared first and in constant time: who has no token learns nothing else.
    package mutating func open(_ token: SessionToken, of session: SessionID, clientID: String, now: Timestamp) throws(Refusal) {
        guard equalInConstantTime(token.digest(for: session), digest) else { throw .wrong }
        guard now < expiresAt else { throw .expired }
        if let known = self.clientID, known != clientID { throw .otherClient }
        self.clientID = clientID
        isUsed = true
    }
}

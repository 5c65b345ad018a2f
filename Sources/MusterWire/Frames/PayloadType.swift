/// What the payload of a stream frame is. Other frames carry 0 (AWS: anything), so nobody may dispatch on theirs.
package struct PayloadType: RawRepresentable, Sendable, Hashable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let none = PayloadType(rawValue: 0)
    package static let output = PayloadType(rawValue: 1)
    package static let error = PayloadType(rawValue: 2)
    package static let size = PayloadType(rawValue: 3)
    package static let parameter = PayloadType(rawValue: 4)
    package static let handshakeRequest = PayloadType(rawValue: 5)
    package static let handshakeResponse = PayloadType(rawValue: 6)
    package static let handshakeComplete = PayloadType(rawValue: 7)
    package static let encryptionChallengeRequest = PayloadType(rawValue: 8)
    package static let encryptionChallengeResponse = PayloadType(rawValue: 9)
    package static let flag = PayloadType(rawValue: 10)
    package static let standardError = PayloadType(rawValue: 11)
    package static let exitCode = PayloadType(rawValue: 12)
}

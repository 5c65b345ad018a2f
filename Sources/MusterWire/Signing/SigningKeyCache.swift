import MusterCrypto
import NIOConcurrencyHelpers

/// Derived signing keys, which hold for one key, day, region and service. Four HMACs saved on every call.
package final class SigningKeyCache: Sendable {
    private struct Slot: Hashable {
        let accessKeyID, date, region, service: String
        /// A key id given a new secret must not keep the old one's signatures valid.
        let secretDigest: [UInt8]
    }

    private let capacity: Int
    private let keys = NIOLockedValueBox<[Slot: [UInt8]]>([:])

    /// - Parameter capacity: only keys that exist reach the cache, so this many covers many operators; when it is full it starts anew.
    package init(capacity: Int = 1024) {
        self.capacity = max(1, capacity)
    }

    var count: Int { self.keys.withLockedValue { $0.count } }

    func key(accessKeyID: String, secret: String, date: String, region: String, service: String) -> [UInt8] {
        let slot = Slot(accessKeyID: accessKeyID, date: date, region: region, service: service, secretDigest: SHA256.hash(secret))
        if let key = self.keys.withLockedValue({ $0[slot] }) { return key }
        let key = SigV4.signingKey(secret: secret, date: date, region: region, service: service)
        self.keys.withLockedValue { keys in
            if keys.count >= self.capacity { keys.removeAll(keepingCapacity: true) }
            keys[slot] = key
        }
        return key
    }
}

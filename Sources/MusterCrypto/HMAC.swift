import COpenSSL

/// HMAC with SHA-256 (RFC 2104, FIPS 198-1).
package enum HMACSHA256 {
    package static func code(key: [UInt8], message: [UInt8]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: Digests.sha256Length) { code, count in
            // OpenSSL reads a null key as "the key of the last call"; an empty key still needs an address.
            let length = Int32(key.count)
            let key = key.isEmpty ? [0] : key
            let isDone = COpenSSL.HMAC(Digests.sha256, key, length, message, message.count, code.baseAddress, nil)
            precondition(isDone != nil, "OpenSSL cannot compute HMAC-SHA-256")
            count = Digests.sha256Length
        }
    }
}

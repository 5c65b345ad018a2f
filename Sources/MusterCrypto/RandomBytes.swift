import COpenSSL

/// Random bytes for keys, nonces, identifiers and serial numbers.
package enum RandomBytes {
    /// Stops the process when the generator fails: weak randomness must never leave this function.
    package static func make(_ count: Int) -> [UInt8] {
        guard let length = Int32(exactly: count), length >= 0 else { preconditionFailure("\(count) random bytes at once") }
        OpenSSLLibrary.prepare()
        return [UInt8](unsafeUninitializedCapacity: count) { bytes, initialized in
            precondition(length == 0 || RAND_bytes(bytes.baseAddress, length) == 1, "OpenSSL has no random bytes")
            initialized = count
        }
    }
}

import COpenSSL

/// Compares secrets without telling by its duration where they differ. Their lengths are not secret.
package func equalInConstantTime(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    a.count == b.count && CRYPTO_memcmp(a, b, a.count) == 0
}

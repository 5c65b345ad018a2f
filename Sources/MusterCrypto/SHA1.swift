import COpenSSL

/// SHA-1, only to compare a document with a digest that a caller has of it. It proves nothing against somebody who means harm.
package enum SHA1 {
    /// Nil where OpenSSL offers none, as under a policy that forbids it.
    package static func hash(_ bytes: [UInt8]) -> [UInt8]? {
        OpenSSLLibrary.prepare()
        guard let algorithm = EVP_MD_fetch(nil, "SHA1", nil) else {
            _ = OpenSSLErrors.drain()
            return nil
        }
        defer { EVP_MD_free(algorithm) }
        var digest = [UInt8](repeating: 0, count: 20)
        let isDone = bytes.withUnsafeBytes { EVP_Digest($0.baseAddress, $0.count, &digest, nil, algorithm, nil) }
        return isDone == 1 ? digest : nil
    }
}

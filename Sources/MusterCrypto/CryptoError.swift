import COpenSSL

/// A cryptographic operation that did not work: what was tried, and what OpenSSL said about it.
///
/// It never carries key material, only OpenSSL's constant reason texts.
package struct CryptoError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What was tried, as the end of the sentence "Cannot …".
    package let attempt: String
    package let reasons: [String]

    package init(_ attempt: String, reasons: [String]) {
        self.attempt = attempt
        self.reasons = reasons
    }

    /// Takes the reasons from OpenSSL's queue of this thread, at the call that failed: a later call would be blamed for them.
    static func drained(_ attempt: String) -> CryptoError {
        CryptoError(attempt, reasons: OpenSSLErrors.drain())
    }

    package var description: String {
        reasons.isEmpty ? "Cannot \(attempt)." : "Cannot \(attempt): \(reasons.joined(separator: "; "))."
    }
}

/// The error queue that OpenSSL keeps for each thread (man page ERR_get_error(3)).
package enum OpenSSLErrors {
    /// Empties the queue and returns its reason texts, oldest first.
    package static func drain() -> [String] {
        var reasons: [String] = []
        while true {
            let code = ERR_get_error()
            if code == 0 { return reasons }
            // The library's own word for the reason, else its name: "asn1 encoding routines".
            if let text = ERR_reason_error_string(code) ?? ERR_lib_error_string(code) {
                let reason = String(cString: text)
                if reasons.last != reason { reasons.append(reason) }
            } else {
                reasons.append("OpenSSL error \(code)")
            }
        }
    }

    package static func clear() {
        OpenSSLLibrary.prepare()
        ERR_clear_error()
    }
}

/// OpenSSL's own start, which has to come before any other call of it.
enum OpenSSLLibrary {
    private static let isPrepared: Bool = {
        // Otherwise exit(3) would free what event loops on other threads still use (man page OPENSSL_init_crypto(3)).
        OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_ATEXIT), nil) == 1
    }()

    static func prepare() {
        precondition(isPrepared, "OpenSSL cannot start on this host")
    }
}

import COpenSSL
import MusterCrypto

/// A TLS connection that could not be made, or that ended otherwise than by close_notify.
package struct TLSError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: Sendable {
        /// The certificates, keys or names given to us do not fit.
        case configuration
        case handshake
        /// The peer's certificate is not to be believed.
        case verification
        /// A record that cannot be decrypted, an alert, or anything else that is no TLS.
        case connection
        /// The peer's stream ended without close_notify: what was read may be cut short (RFC 8446 §6.1).
        case uncleanShutdown
        /// More was written before the end of the handshake than is held for it.
        case tooMuchPending
        case closed
    }

    package let code: Code
    /// What was tried, as the end of the sentence "Cannot …".
    package let attempt: String
    /// OpenSSL's reason texts, and ours.
    package let reasons: [String]

    init(_ code: Code, _ attempt: String, reasons: [String]) {
        self.code = code
        self.attempt = attempt
        self.reasons = reasons
    }

    /// With the reasons in OpenSSL's queue, at the call that failed.
    static func drained(_ code: Code, _ attempt: String) -> TLSError {
        TLSError(code, attempt, reasons: OpenSSLErrors.drain())
    }

    package var description: String {
        reasons.isEmpty ? "Cannot \(attempt)." : "Cannot \(attempt): \(reasons.joined(separator: "; "))."
    }
}

import MusterTLS
import NIOHTTP1

/// Why a call to the controller got no answer from it.
///
/// Answers that *are* errors of the API (`__type` and a message) are `APIError`s; everything before, below and beside
/// that is one of these.
package struct ClientError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Kind: Sendable, Hashable {
        /// An address, a profile or a file on this side is wrong: trying again changes nothing.
        case configuration
        /// No connection: refused, no route, unknown host.
        case unreachable
        /// The other side is not the one we trust, or TLS could not be agreed.
        case untrusted
        /// The other side's certificate is outside its validity by the clock used, and nothing else was found wrong.
        case certificateTime(CertificateTime)
        /// The other side does not accept *us*: a TLS alert about our certificate, or 401 or 403.
        case denied
        case timedOut
        /// The connection ended before the answer did.
        case closed
        case tooLarge
        /// Not the protocol we speak.
        case protocolViolation
        /// An HTTP answer other than the one the step needs.
        case refused(status: Int)
    }

    package enum CertificateTime: Sendable, Hashable {
        case notYetValid
        case expired
    }

    package let kind: Kind
    package let description: String
    /// It happened after TLS had been agreed: the network is there, what came on top of it did not work.
    package var isSecured = false
    /// A request was on its way when it happened: it may have been done.
    package var mayHaveArrived = false

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

extension ClientError {
    /// The other side is away for now, as while it restarts: who waits anyway asks again.
    package var isPassing: Bool { [.unreachable, .timedOut, .closed].contains(kind) }

    /// What an error of the channel means for the caller.
    init(_ error: any Error, on endpoint: Endpoint) {
        switch error {
        case let error as ClientError:
            self = error
        case let error as TLSError:
            self.init(Self.kind(of: error), "Cannot talk to \(endpoint): \(error)")
        case HTTPParserError.invalidEOFState:
            self.init(.closed, "\(endpoint) closed the connection in the middle of its answer.")
        case let error as HTTPParserError:
            self.init(.protocolViolation, "\(endpoint) does not answer with HTTP: \(error).")
        default:
            self.init(.closed, "The connection to \(endpoint) broke: \(describe(error)).")
        }
    }

    private static func kind(of error: TLSError) -> Kind {
        func says(_ words: String) -> Bool {
            error.reasons.contains { $0.lowercased().contains(words) }
        }
        switch error.code {
        case .verification:
            // The texts of X509_verify_cert_error_string(3).
            if says("not yet valid") { return .certificateTime(.notYetValid) }
            if says("has expired") || says("not valid at this time") { return .certificateTime(.expired) }
            return .untrusted
        case .handshake, .connection:
            // An alert about a certificate or about access, sent by the other side, is about us (RFC 8446 §6.2).
            let alerts = [
                "alert bad certificate", "alert certificate", "alert unknown ca", "alert access denied", "alert unsupported certificate",
            ]
            if alerts.contains(where: says) { return .denied }
            return error.code == .handshake && !says("the connection ended") ? .untrusted : .closed
        case .configuration:
            return .configuration
        case .uncleanShutdown, .tooMuchPending, .closed:
            return .closed
        }
    }
}

import MusterClient
import MusterWire

/// What went wrong, and what an operator can do about it. [value]
///
/// The controller's and OpenSSL's words are kept: people search for them.
package enum Advice {
    package static func words(for error: any Error) -> String {
        switch error {
        case let error as APIError: advised("\(error)", api(error))
        case let error as ClientError: advised(error.description, client(error))
        default: "\(error)"
        }
    }

    private static func advised(_ words: String, _ advice: String?) -> String {
        guard let advice else { return words }
        return (words.last.map { ".?!".contains($0) } == true ? words : words + ".") + " " + advice
    }

    private static func api(_ error: APIError) -> String? {
        switch error.code {
        case "UnrecognizedClientException", "InvalidClientTokenId":
            "The controller does not know this access key, or it was withdrawn. `muster login` sets another."
        case "InvalidSignatureException", "SignatureDoesNotMatch":
            error.message.hasPrefix("Signature expired") || error.message.hasPrefix("Signature not yet current")
                ? "This machine's clock and the controller's differ; set this one right."
                : "The secret does not belong to the access key. `muster login` sets both."
        case "ExpiredTokenException", "ExpiredToken":
            "The session has ended; get new credentials. `muster login` sets them."
        default: nil
        }
    }

    private static func client(_ error: ClientError) -> String? {
        switch error.kind {
        case .unreachable, .timedOut:
            "Is the controller running there, and is the address right (AWS_ENDPOINT_URL, or endpoint_url of the profile)?"
        case .untrusted:
            "The controller's authority is named by AWS_CA_BUNDLE or by ca_bundle of the profile; `muster login --pin` fetches it."
        case .certificateTime:
            "Check this machine's clock first, then the controller's certificate with `muster-controller check`."
        default: nil
        }
    }
}

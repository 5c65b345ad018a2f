package import MusterCrypto

/// A statement of the controller, and its signature over exactly the statement's bytes. [value]
///
/// ECDSA with SHA-256 by the key of the controller's CA over `purpose`, LF and the statement. No certificate begins with a purpose and no
/// purpose with another, so no statement can be taken for one of another kind, nor for a certificate.
package protocol SignedStatement: Codable, Sendable, Hashable {
    associatedtype Content: Codable

    static var purpose: String { get }
    /// JSON, as it was signed.
    var text: String { get }
    /// Base64 of the DER.
    var signature: String { get }
    /// The CA's certificate. It says who signed; whether to believe them is the reader's to know.
    var authority: String { get }

    init(text: String, signature: String, authority: String)
}

extension SignedStatement {
    package init(_ content: Content, by authority: CertificateAuthority) throws {
        let text = String(decoding: try JSONCoding.encode(content), as: UTF8.self)
        self.init(
            text: text, signature: Base64.encode(try authority.sign(Self.signed(text))), authority: authority.certificate.pem())
    }

    package func decoded() throws -> Content { try JSONCoding.decode(Content.self, from: Array(text.utf8)) }

    package func isSigned(by authority: Certificate) -> Bool {
        guard let signature = Base64.decode(signature), let key = try? authority.publicKey else { return false }
        return key.isValid(signature: signature, for: Self.signed(text))
    }

    private static func signed(_ text: String) -> [UInt8] { Array((purpose + "\n" + text).utf8) }
}

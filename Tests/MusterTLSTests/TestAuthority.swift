import Foundation
import MusterCrypto
import MusterTLS

/// An authority with one certificate for each purpose, valid now, for "localhost" and 127.0.0.1.
struct TestAuthority {
    static let now = Int64(Date().timeIntervalSince1970)

    let authority: CertificateAuthority
    let certificate: Certificate

    init(_ name: String = "Test CA") throws {
        authority = try .create(commonName: name, notBefore: Self.now - 86_400, notAfter: Self.now + 864_000, key: .generate())
        certificate = authority.certificate
    }

    func identity(
        _ usage: CertificateTemplate.Usage, from begin: Int64 = now - 3_600, to end: Int64 = now + 3_600,
        dnsNames: [String] = ["localhost"], ipAddresses: [String] = ["127.0.0.1"], appending appended: [Certificate]? = nil
    ) throws -> TLSIdentity {
        let key = try PrivateKey.generate()
        let template = CertificateTemplate(
            commonName: usage == .server ? "localhost" : "node", uris: usage == .client ? ["muster:node:mi-0123456789abcdef0:1"] : [],
            dnsNames: usage == .server ? dnsNames : [], ipAddresses: usage == .server ? ipAddresses : [],
            notBefore: begin, notAfter: end, usage: usage)
        let leaf = try authority.issue(template, for: key.publicKey)
        return TLSIdentity(chain: [leaf] + (appended ?? [certificate]), key: key)
    }

    func server(_ identity: TLSIdentity? = nil, asksClients: Bool = true) throws -> TLSContext {
        try TLSContext(.server(identity: identity ?? self.identity(.server), clientAuthorities: asksClients ? [certificate] : nil))
    }

    func client(_ trust: TLSTrust? = nil, identity: TLSIdentity? = nil) throws -> TLSContext {
        try TLSContext(.client(trust: trust ?? .authorities([certificate]), identity: identity))
    }
}

import MusterCrypto
import Testing

@Suite("Certificates, requests, and the authority")
struct CertificateTests {
    static let begin: Int64 = 1_700_000_000, end: Int64 = 4_000_000_000

    static func authority(_ name: String = "Muster CA") throws -> CertificateAuthority {
        try .create(commonName: name, notBefore: begin, notAfter: end, key: .generate())
    }

    static func template(_ usage: CertificateTemplate.Usage) -> CertificateTemplate {
        CertificateTemplate(
            commonName: "mi-0123456789abcdef0", uris: ["muster:node:mi-0123456789abcdef0:3"],
            dnsNames: ["controller.example", "localhost"],
            ipAddresses: ["127.0.0.1", "::1"], notBefore: begin, notAfter: begin + 86_400, usage: usage)
    }

    @Test("what the template says is in the certificate, and survives DER and PEM")
    func roundTrip() throws {
        let authority = try Self.authority(), key = try PrivateKey.generate()
        let certificate = try authority.issue(Self.template(.server), for: key.publicKey)
        for copy in [certificate, try Certificate(der: certificate.der), try Certificate(pem: certificate.pem())] {
            #expect(copy == certificate)
            #expect(copy.commonName == "mi-0123456789abcdef0")
            #expect(copy.uris == ["muster:node:mi-0123456789abcdef0:3"])
            #expect(copy.dnsNames == ["controller.example", "localhost"])
            #expect(copy.notBefore == Self.begin)
            #expect(copy.notAfter == Self.begin + 86_400)
            #expect(!copy.isCertificateAuthority)
            #expect(try copy.publicKey == key.publicKey)
            #expect(copy.fingerprint == SHA256.hash(certificate.der))
        }
        #expect(authority.certificate.isCertificateAuthority)
        #expect(authority.certificate.notAfter == Self.end)
        let chain = try Certificate.chain(pem: "a comment\n" + certificate.pem() + "between\n" + authority.certificate.pem() + "\n")
        #expect(chain == [certificate, authority.certificate])
    }

    @Test("serial numbers are random, of up to 127 bits")
    func serialNumbers() throws {
        let authority = try Self.authority(), key = try PrivateKey.generate().publicKey
        let serials = try (0..<50).map { _ in try authority.issue(Self.template(.client), for: key).serialNumber }
        #expect(Set(serials).count == 50)
        #expect(serials.allSatisfy { $0.count <= 32 && $0.first! < "8" || $0.count < 32 })
        #expect(serials.contains { $0.count == 32 })
    }

    @Test("a leaf does not outlive its authority")
    func validity() throws {
        let authority = try Self.authority(), key = try PrivateKey.generate().publicKey
        var template = Self.template(.client)
        template.notAfter = Self.end + 1_000
        #expect(try authority.issue(template, for: key).notAfter == Self.end)
        template.notBefore = Self.end + 1
        #expect(throws: CryptoError.self) { try authority.issue(template, for: key) }
        template.notBefore = .min
        #expect(throws: CryptoError.self) { try authority.issue(template, for: key) }
    }

    @Test("names that are none are refused", arguments: ["", "a b", "a\0b", "ä.example", "a\nb"])
    func names(_ name: String) throws {
        let authority = try Self.authority(), key = try PrivateKey.generate().publicKey
        for path in [\CertificateTemplate.dnsNames, \.uris, \.ipAddresses] {
            var template = Self.template(.server)
            template[keyPath: path] = [name]
            #expect(throws: CryptoError.self) { try authority.issue(template, for: key) }
        }
        var template = Self.template(.server)
        template.commonName = String(repeating: "x", count: 65)
        #expect(throws: CryptoError.self) { try authority.issue(template, for: key) }
        // A comma adds no second name.
        template = Self.template(.server)
        template.dnsNames = ["a.example,DNS:b.example"]
        #expect(try authority.issue(template, for: key).dnsNames == ["a.example,DNS:b.example"])
    }

    @Test(
        "openssl verifies the chain for its purpose and refuses the other",
        arguments: [
            (CertificateTemplate.Usage.server, "sslserver", "sslclient"), (.client, "sslclient", "sslserver"),
        ])
    func purposes(_ usage: CertificateTemplate.Usage, _ right: String, _ wrong: String) throws {
        let authority = try Self.authority(), other = try Self.authority(), key = try PrivateKey.generate()
        let files = try [
            "ca.pem": Array(authority.certificate.pem().utf8), "other.pem": Array(other.certificate.pem().utf8),
            "leaf.pem": Array(authority.issue(Self.template(usage), for: key.publicKey).pem().utf8),
        ]
        let time = ["-attime", "\(Self.begin + 10)"]
        func verify(_ more: [String]) throws -> OpenSSLCommand.Result {
            try OpenSSLCommand.run(["verify", "-x509_strict", "-check_ss_sig"] + more + ["leaf.pem"], files: files)
        }
        let good = try verify(time + ["-CAfile", "ca.pem", "-purpose", right, "-verify_hostname", "localhost"])
        #expect(good.status == 0, "\(good.output)")
        #expect(try verify(time + ["-CAfile", "ca.pem", "-purpose", right, "-verify_ip", "::1"]).status == 0)
        #expect(try verify(time + ["-CAfile", "ca.pem", "-purpose", wrong]).output.contains("unsuitable certificate purpose"))
        // The same name and another key: the key identifiers tell them apart.
        #expect(try verify(time + ["-CAfile", "other.pem", "-purpose", right]).status != 0)
        #expect(try verify(["-attime", "\(Self.begin - 10)", "-CAfile", "ca.pem"]).output.contains("not yet valid"))
        #expect(try verify(["-attime", "\(Self.begin + 86_500)", "-CAfile", "ca.pem"]).output.contains("expired"))
    }

    @Test("openssl reads the extensions as they are meant")
    func extensions() throws {
        let authority = try Self.authority(), key = try PrivateKey.generate()
        let leaf = try OpenSSLCommand.run(
            ["x509", "-in", "leaf.pem", "-noout", "-text"],
            files: ["leaf.pem": Array(authority.issue(Self.template(.client), for: key.publicKey).pem().utf8)]
        ).output
        for line in [
            "Version: 3 (0x2)", "ecdsa-with-SHA256", "Basic Constraints: critical", "CA:FALSE", "Key Usage: critical",
            "Digital Signature\n",
            "TLS Web Client Authentication\n", "X509v3 Subject Key Identifier", "X509v3 Authority Key Identifier",
            "URI:muster:node:mi-0123456789abcdef0:3, DNS:controller.example, DNS:localhost, ",
            "IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
        ] { #expect(leaf.contains(line), "\(line) in \(leaf)") }
        let root = try OpenSSLCommand.run(
            ["x509", "-in", "ca.pem", "-noout", "-text"], files: ["ca.pem": Array(authority.certificate.pem().utf8)]
        ).output
        for line in ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "X509v3 Subject Key Identifier"] { #expect(root.contains(line)) }
    }

    @Test("a request proves its key, and openssl agrees")
    func requests() throws {
        let key = try PrivateKey.generate()
        let request = try CertificateRequest(commonName: "mi-0", key: key)
        #expect(try CertificateRequest(der: request.der).publicKey == key.publicKey)
        let verified = try OpenSSLCommand.run(
            ["req", "-inform", "DER", "-in", "r.der", "-noout", "-verify"], files: ["r.der": request.der])
        #expect(verified.status == 0, "\(verified.output)")
        for index in request.der.indices {
            var changed = request.der
            changed[index] ^= 0x04
            #expect(throws: CryptoError.self, "byte \(index)") { try CertificateRequest(der: changed) }
        }
        #expect(throws: CryptoError.self) { try CertificateRequest(der: [UInt8](repeating: 0x30, count: 20_000)) }
    }

    @Test("the authority takes nothing from openssl's request but its key")
    func foreignRequest() throws {
        let key = try PrivateKey.generate()
        let made = try OpenSSLCommand.run(
            [
                "req", "-new", "-key", "k.pem", "-subj", "/CN=root", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "subjectAltName=DNS:evil.example", "-outform", "PEM",
            ], files: ["k.pem": Array(key.pem().utf8)])
        let body = made.output.split(separator: "\n").drop { !$0.hasPrefix("-----BEGIN") }.dropFirst().prefix { !$0.hasPrefix("-----END") }
        let request = try CertificateRequest(der: #require(Base64.decode(body.joined())))
        let certificate = try Self.authority().issue(Self.template(.client), for: request.publicKey)
        #expect(certificate.commonName == "mi-0123456789abcdef0")
        #expect(!certificate.isCertificateAuthority)
        #expect(!certificate.dnsNames.contains("evil.example"))
    }

    @Test("a certificate cut at any length is an error; one with any byte changed never crashes")
    func garbledDER() throws {
        let authority = try Self.authority()
        let der = try authority.issue(Self.template(.server), for: PrivateKey.generate().publicKey).der
        let request = try CertificateRequest(commonName: "x", key: .generate()).der
        for length in der.indices { #expect(throws: CryptoError.self) { try Certificate(der: Array(der.prefix(length))) } }
        for length in request.indices { #expect(throws: CryptoError.self) { try CertificateRequest(der: Array(request.prefix(length))) } }
        #expect(throws: CryptoError.self) { try Certificate(der: der + [0]) }
        for index in der.indices {
            for change: UInt8 in [0x01, 0x80, 0xFF] {
                var changed = der
                changed[index] ^= change
                guard let certificate = try? Certificate(der: changed) else { continue }
                _ = (certificate.description, certificate.pem(), try? certificate.publicKey)
                #expect(certificate.der.elementsEqual(changed), "byte \(index)")
            }
        }
    }

    @Test("damaged or missing PEM is an error, also behind a good certificate")
    func garbledPEM() throws {
        let good = try Self.authority().certificate.pem()
        let lines = good.split(separator: "\n")
        let damaged = (lines.prefix(3) + lines.suffix(1)).joined(separator: "\n") + "\n"
        for text in ["", "\n", "hello", damaged, good + damaged, String(good.dropLast(40))] {
            #expect(throws: CryptoError.self) { try Certificate.chain(pem: text) }
        }
        for length in stride(from: 0, to: good.count - 30, by: 11) {
            #expect(throws: CryptoError.self) { try Certificate(pem: String(good.prefix(length))) }
        }
    }
}

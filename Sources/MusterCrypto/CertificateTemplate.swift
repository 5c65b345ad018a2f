/// What a certificate is to say. Everything in a certificate of ours comes from here and from nowhere else.
package struct CertificateTemplate: Sendable {
    /// What the key is for: a server's certificate is refused from a client and the other way round.
    package enum Usage: Sendable {
        case server, client
    }

    package var commonName: String
    package var uris: [String]
    package var dnsNames: [String]
    package var ipAddresses: [String]
    /// Seconds since 1970, both inclusive.
    package var notBefore: Int64
    package var notAfter: Int64
    package var usage: Usage

    package init(
        commonName: String, uris: [String] = [], dnsNames: [String] = [], ipAddresses: [String] = [],
        notBefore: Int64, notAfter: Int64, usage: Usage
    ) {
        self.commonName = commonName
        self.uris = uris
        self.dnsNames = dnsNames
        self.ipAddresses = ipAddresses
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.usage = usage
    }
}

/// The answer of `GET /v1/authorities`: what to trust, and what new nodes have to pin.
package struct AuthorityList: Codable, Sendable, Equatable {
    package static let path = "/v1/authorities"

    /// `sha256:` and the hexadecimal SHA-256 of the DER of the authority that issues.
    package var pin: String
    /// PEM, the one that issues first.
    package var authorities: [String]

    package init(pin: String, authorities: [String]) {
        self.pin = pin
        self.authorities = authorities
    }

    enum CodingKeys: String, CodingKey {
        case pin = "Pin"
        case authorities = "Authorities"
    }
}

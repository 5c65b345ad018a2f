/// Where a controller is: `https://host:port`.
///
/// A path, a query, credentials in the address and any scheme but https are refused: a signature covers the host header
/// and the path `/`, and neither secrets nor commands ever travel in clear.
package struct Endpoint: Sendable, Hashable, CustomStringConvertible {
    /// A name or an IP address, without the brackets of an IPv6 address.
    package let host: String
    package let port: Int
    /// The address of this host that connections come from; nil lets the system choose. It is no part of the address as text.
    package var source: String?
    package var scheme: String { "https" }
    /// The way there. No part of what the endpoint is: it is not compared, described or stored.
    package var proxy: HTTPProxy?

    package init(url: String) throws(ClientError) {
        func refuse(_ why: String) -> ClientError {
            ClientError(.configuration, "Cannot use the controller address \"\(url)\": \(why). Write it as https://HOST:PORT.")
        }
        let prefix = "https://"
        guard url.utf8.count <= 1024, url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw refuse("it is too long or has characters that an address cannot have")
        }
        guard url.lowercased().hasPrefix(prefix) else { throw refuse("it does not begin with https://") }
        var rest = url.dropFirst(prefix.count)
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        if rest.contains(where: { "/?#".contains($0) }) { throw refuse("a path or query is not supported") }
        if rest.contains("@") { throw refuse("credentials do not belong in an address") }

        let host: Substring
        let portText: Substring?
        if rest.first == "[" {
            guard let end = rest.firstIndex(of: "]") else { throw refuse("the bracket of the IPv6 address is not closed") }
            host = rest[rest.index(after: rest.startIndex)..<end]
            let after = rest[rest.index(after: end)...]
            guard after.isEmpty || after.first == ":" else { throw refuse("after an IPv6 address only a port may follow") }
            guard host.contains(":"), host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." }) else {
                throw refuse("the brackets hold no IPv6 address")
            }
            portText = after.isEmpty ? nil : after.dropFirst()
        } else {
            let parts = rest.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count <= 2 else { throw refuse("an IPv6 address needs brackets") }
            host = parts[0]
            portText = parts.count == 2 ? parts[1] : nil
            guard host.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "-" || $0 == "." || $0 == "_" }) else {
                throw refuse("the host name has characters that a host name cannot have")
            }
        }
        guard !host.isEmpty else { throw refuse("the host is missing") }
        self.host = host.lowercased()
        if let portText {
            guard portText.allSatisfy(\.isNumber), let port = Int(portText), (1...65535).contains(port) else {
                throw refuse("the port is not a number from 1 to 65535")
            }
            self.port = port
        } else {
            self.port = 443
        }
    }

    /// What the server's certificate has to be for.
    package var serverName: String { host }

    /// The Host header: with the port unless it is the scheme's own (RFC 9110 §7.2), which is also the form that is signed.
    package var authority: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port == 443 ? name : "\(name):\(port)"
    }

    package var description: String { "https://\(authority)" }

    package static func == (left: Endpoint, right: Endpoint) -> Bool {
        left.host == right.host && left.port == right.port
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(host)
        hasher.combine(port)
    }
}

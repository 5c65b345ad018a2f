import MusterCrypto

/// A proxy that opens tunnels with CONNECT (RFC 9110 section 9.3.6). TLS goes through it end to end.
///
/// Its credentials are only ever sent to it: they are in no description and no error.
package struct HTTPProxy: Sendable, Hashable, Codable, CustomStringConvertible {
    package let host: String
    package let port: Int
    let authorization: String?

    /// - Parameters:
    ///   - url: `http://HOST:PORT`, `http://USER@HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`; what is special in a URL
    ///     is written with percent signs.
    ///   - password: takes the place of the one in the URL.
    package init(url: String, password: String? = nil) throws(ClientError) {
        // The URL may hold a password, so it is not repeated.
        func refuse(_ why: String) -> ClientError {
            ClientError(.configuration, "Cannot use the proxy address: \(why). Write it as http://HOST:PORT or http://USER@HOST:PORT.")
        }
        guard url.utf8.count <= 2048, url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw refuse("it is too long or has characters that an address cannot have")
        }
        var rest = url[...]
        if let colon = rest.firstIndex(of: ":"), rest[colon...].hasPrefix("://") {
            guard rest[..<colon].lowercased() == "http" else {
                throw refuse("only http:// proxies are supported; the tunnel through them is encrypted all the same")
            }
            rest = rest[colon...].dropFirst(3)
        }
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        var user: String?
        var secret = password
        if let at = rest.lastIndex(of: "@") {
            let parts = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let name = Self.decoded(parts[0]), !name.isEmpty else { throw refuse("the user name cannot be read") }
            user = name
            if parts.count > 1, secret == nil {
                guard let text = Self.decoded(parts[1]) else { throw refuse("the password cannot be read") }
                secret = text
            }
            rest = rest[rest.index(after: at)...]
        }
        do {
            let place = try Endpoint(url: "https://\(rest)")
            host = place.host
            // Without a port a proxy is at 1080 for curl and at 80 for others: say which.
            guard rest.last != "]", rest.split(separator: "]").last?.contains(":") == true else {
                throw ClientError(.configuration, "the port is missing")
            }
            port = place.port
        } catch {
            throw refuse("host or port cannot be read")
        }
        if let user {
            let (name, word) = (user, secret ?? "")
            guard !name.contains(":"), !(name + word).utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
                throw refuse("user name or password has characters that cannot be sent")
            }
            authorization = "Basic \(Base64.encode(Array("\(name):\(word)".utf8)))"
        } else {
            guard password == nil else { throw refuse("there is a password and no user name") }
            authorization = nil
        }
    }

    /// The proxy that the environment names for an address, as curl and the AWS tools read it: HTTPS_PROXY, unless NO_PROXY
    /// lists the host, its domain or `*`. The lower-case names count as well, and first.
    package static func fromEnvironment(_ environment: [String: String], for endpoint: Endpoint) throws(ClientError) -> HTTPProxy? {
        func variable(_ name: String) -> String? {
            [name.lowercased(), name].lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
        }
        guard let url = variable("HTTPS_PROXY") ?? variable("ALL_PROXY") else { return nil }
        if let exceptions = variable("NO_PROXY"), isExcepted(endpoint, by: exceptions) { return nil }
        return try HTTPProxy(url: url)
    }

    static func isExcepted(_ endpoint: Endpoint, by exceptions: String) -> Bool {
        exceptions.split(whereSeparator: { $0 == "," || $0 == " " }).contains { entry in
            var name = entry.lowercased()
            if name == "*" { return true }
            if name == endpoint.authority || name == "\(endpoint.host):\(endpoint.port)" { return true }
            if name.hasPrefix("["), name.hasSuffix("]") { name = String(name.dropFirst().dropLast()) }
            while name.hasPrefix(".") || name.hasPrefix("*.") { name.removeFirst() }
            return !name.isEmpty && (endpoint.host == name || endpoint.host.hasSuffix("." + name))
        }
    }

    package var description: String { "proxy \(host.contains(":") ? "[\(host)]" : host):\(port)" }

    private static func decoded(_ text: String) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else { bytes.append(byte); continue }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

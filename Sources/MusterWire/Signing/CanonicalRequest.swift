import MusterCrypto

/// What a signature covers, written the one way both sides write it.
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
struct CanonicalRequest {
    let text: String

    /// - Parameters:
    ///   - headers: every header of the request in arrival order; only those named in `signedHeaders` are taken.
    ///   - signedHeaders: lower case, sorted.
    ///   - isPathVerbatim: S3 alone signs the path as it is sent.
    init(
        method: String, path: String, query: String, headers: [(name: String, value: String)], signedHeaders: [String], payloadHash: String,
        isPathVerbatim: Bool = false
    ) {
        var values: [String: [String]] = [:]
        for header in headers { values[header.name.lowercased(), default: []].append(Self.trimmed(header.value)) }
        var lines = [method, isPathVerbatim ? path : Self.path(path), Self.query(query)]
        for name in signedHeaders { lines.append("\(name):\((values[name] ?? []).joined(separator: ","))") }
        lines += ["", signedHeaders.joined(separator: ";"), payloadHash]
        self.text = lines.joined(separator: "\n")
    }

    var hash: String { Hex.encode(SHA256.hash(self.text)) }

    /// Without white space at the ends, inner runs of spaces made one.
    static func trimmed(_ value: String) -> String {
        var bytes: [UInt8] = []
        for byte in value.utf8 {
            let isSpace = byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d
            if isSpace, bytes.isEmpty || bytes.last == 0x20 { continue }
            bytes.append(isSpace ? 0x20 : byte)
        }
        if bytes.last == 0x20 { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Dot segments and empty segments removed, then encoded once more: the sender's encoding is part of what is signed.
    static func path(_ path: String) -> String {
        var segments: [Substring] = []
        for segment in path.split(separator: "/") where segment != "." {
            if segment == ".." { _ = segments.popLast() } else { segments.append(segment) }
        }
        guard !segments.isEmpty else { return "/" }
        let end = path.utf8.last == UInt8(ascii: "/") ? "/" : ""
        return "/" + segments.map { Self.encoded($0.utf8) }.joined(separator: "/") + end
    }

    static func query(_ query: String) -> String {
        let pairs = query.split(separator: "&").map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (Self.encoded(Self.decoded(parts[0])), parts.count > 1 ? Self.encoded(Self.decoded(parts[1])) : "")
        }
        return pairs.sorted { $0 < $1 }.map { "\($0)=\($1)" }.joined(separator: "&")
    }

    /// Everything but the unreserved characters of RFC 3986 §2.3.
    private static func encoded(_ bytes: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        for byte in bytes {
            if byte.isNameCharacter || byte == UInt8(ascii: "~") {
                text.append(byte)
            } else {
                text.append(UInt8(ascii: "%"))
                text.append(contentsOf: Hex.encode([byte]).uppercased().utf8)
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func decoded(_ text: Substring) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), let decoded = Hex.decode(String(decoding: rest.prefix(2), as: UTF8.self)), decoded.count == 1 {
                bytes += decoded
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return bytes
    }
}

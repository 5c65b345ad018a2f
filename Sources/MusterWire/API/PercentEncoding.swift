import MusterCrypto

/// Every byte but the unreserved characters as `%XX`: the fields of a form, and the policies in IAM's answers, for XML's sake. [value]
/// RFC 3986 section 2.3.
package enum PercentEncoding {
    package static func encoded(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                out.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                out += "%" + Hex.encode([byte]).uppercased()
            }
        }
        return out
    }

    /// Nil for what is not percent-encoded UTF-8.
    package static func decoded(_ text: String) -> String? {
        var plain: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                plain.append(byte)
                continue
            }
            guard rest.count >= 2, let value = Hex.decode(String(decoding: rest.prefix(2), as: UTF8.self).lowercased()) else { return nil }
            plain += value
            rest = rest.dropFirst(2)
        }
        return String(validating: plain, as: UTF8.self)
    }
}

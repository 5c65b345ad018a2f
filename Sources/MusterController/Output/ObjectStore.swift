internal import FoundationEssentials
internal import MusterWire

/// Where copies of outputs go: an endpoint that speaks S3. [value]
package struct ObjectStore: Sendable {
    package let isSecure: Bool
    package let host: String
    package let port: Int
    package let region: String
    /// For commands that name none.
    package let defaultBucket: String?
    /// What commands may name besides; empty for any.
    private let named: Set<String>
    /// The audit trail's: nobody else writes there.
    private let reserved: String?
    package let usesPathStyle: Bool
    let credentials: Credentials

    /// Nil when none is configured. Credentials come from the file that the configuration names, else from AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY.
    package init?(_ configuration: ControllerConfiguration, environment: [String: String] = ProcessInfo.processInfo.environment) throws {
        guard let endpoint = configuration.outputS3Endpoint else {
            guard configuration.outputS3Bucket == nil else {
                throw ControllerError.badSetting("'outputS3Bucket' is set and 'outputS3Endpoint' is not. Set both, or neither.")
            }
            return nil
        }
        let bad = ControllerError.badSetting(
            "'outputS3Endpoint' has to be https://HOST[:PORT] (http:// for a store on this host), and is \(endpoint).")
        if endpoint.hasPrefix("https://") { isSecure = true } else if endpoint.hasPrefix("http://") { isSecure = false } else { throw bad }
        var authority = endpoint.dropFirst(isSecure ? 8 : 7)
        if authority.hasSuffix("/") { authority = authority.dropLast() }
        let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, ControllerConfiguration.isName(String(parts[0])),
            let port = parts.count == 2 ? Int(parts[1]) : (isSecure ? 443 : 80),
            (1...65535).contains(port)
        else { throw bad }
        host = String(parts[0])
        self.port = port
        region = configuration.outputS3Region
        if let bucket = configuration.outputS3Bucket, !Self.isBucket(bucket) {
            throw ControllerError.badSetting("'outputS3Bucket' is no bucket name: \(bucket).")
        }
        for bucket in configuration.outputS3Buckets where !Self.isBucket(bucket) {
            throw ControllerError.badSetting("'outputS3Buckets' holds what is no bucket name: \(bucket).")
        }
        if let audit = configuration.auditS3Bucket, ([configuration.outputS3Bucket ?? ""] + configuration.outputS3Buckets).contains(audit) {
            throw ControllerError.badSetting(
                "The bucket \(audit) is the audit trail's ('auditS3Bucket') and cannot take outputs as well. Give these another one.")
        }
        defaultBucket = configuration.outputS3Bucket
        named = Set(configuration.outputS3Buckets)
        reserved = configuration.auditS3Bucket
        usesPathStyle = configuration.outputS3PathStyle
        credentials = try Self.credentials(configuration.outputS3CredentialsFile, environment)
    }

    /// Whether a command may have its outputs there.
    package func takesOutputs(_ bucket: String) -> Bool {
        bucket != reserved && (bucket == defaultBucket || named.isEmpty || named.contains(bucket))
    }

    private static func credentials(_ file: String?, _ environment: [String: String]) throws -> Credentials {
        var values: [String: String] = [:]
        if let file {
            for line in try DataDirectory.text(at: file).split(whereSeparator: \.isNewline) {
                let parts = line.split(separator: "=", maxSplits: 1).map { $0.filter { !$0.isWhitespace } }
                if parts.count == 2, values[parts[0].lowercased()] == nil { values[parts[0].lowercased()] = parts[1] }
            }
        } else {
            values = Dictionary(environment.filter { $0.key.hasPrefix("AWS_") }.map { ($0.key.lowercased(), $0.value) }) { first, _ in first
            }
        }
        guard let id = values["aws_access_key_id"], let secret = values["aws_secret_access_key"], !id.isEmpty, !secret.isEmpty else {
            throw ControllerError.badSetting(
                "'outputS3Endpoint' is set, and there are no keys for it. Name a file with aws_access_key_id and aws_secret_access_key in 'outputS3CredentialsFile', or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        }
        return Credentials(accessKeyID: id, secretAccessKey: secret, sessionToken: values["aws_session_token"])
    }

    /// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    package static func isBucket(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        func isEdge(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte) }
        return (3...63).contains(bytes.count) && isEdge(bytes[0]) && isEdge(bytes[bytes.count - 1])
            && bytes.allSatisfy { isEdge($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") } && !name.contains("..")
    }

    /// No control characters, and nothing that a server could take for a way up.
    package static func isPrefix(_ prefix: String) -> Bool {
        prefix.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
            && !prefix.hasPrefix("/") && prefix.split(separator: "/").allSatisfy { $0 != "." && $0 != ".." } && !prefix.contains("//")
    }

    /// Host header and path of an object, percent-encoded.
    func address(_ bucket: String, _ key: String) -> (host: String, path: String) {
        let isDefaultPort = port == (isSecure ? 443 : 80)
        let name = usesPathStyle ? host : "\(bucket).\(host)"
        return (isDefaultPort ? name : "\(name):\(port)", (usesPathStyle ? "/\(bucket)/" : "/") + Self.encoded(key))
    }

    package func url(_ bucket: String, _ key: String) -> String {
        let (host, path) = address(bucket, key)
        return (isSecure ? "https://" : "http://") + host + path
    }

    static func encoded(_ key: String) -> String {
        var text = ""
        for byte in key.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"),
                UInt8(ascii: "/"):
                text.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                text += "%" + (digits.utf8.count < 2 ? "0" : "") + digits
            }
        }
        return text
    }
}

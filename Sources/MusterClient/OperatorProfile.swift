import FoundationEssentials
import MusterCrypto
package import MusterTLS
package import MusterWire

/// Who an operator is and which controller they mean, read as the AWS tools read it.
///
/// The order of precedence is the one of
/// https://docs.aws.amazon.com/sdkref/latest/guide/creds-config-files.html and
/// https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html:
/// a profile named by the caller beats access keys of the environment, the environment beats the files, and for the
/// address AWS_ENDPOINT_URL_SSM beats AWS_ENDPOINT_URL beats `services` beats `endpoint_url`.
package struct OperatorProfile: Sendable, CustomStringConvertible {
    package let endpoint: Endpoint
    package let credentials: Credentials
    package let region: String
    /// A PEM file of the authorities to trust instead of the system's.
    package let caBundle: String?

    /// - Parameter resolved: what `source` led to, where that is no plain key; without it such a profile is refused, and never used with the
    ///   key that stands beside it.
    package static func load(
        environment: [String: String],
        profile requested: String? = nil,
        resolved: Credentials? = nil,
        contents: (String) -> [UInt8]? = { FileManager.default.contents(atPath: $0).map(Array.init) }
    ) throws(ClientError) -> OperatorProfile {
        let (profile, source) = try read(environment: environment, profile: requested, contents: contents)
        switch (resolved, source) {
        case (let credentials?, _), (nil, .keys(let credentials)): return profile(credentials)
        case (nil, .role), (nil, .process):
            throw ClientError(.configuration, "The profile's credentials have to be asked for (role_arn or credential_process).")
        }
    }

    /// Where the credentials come from, as the AWS tools decide it.
    package static func source(
        environment: [String: String],
        profile requested: String? = nil,
        contents: (String) -> [UInt8]? = { FileManager.default.contents(atPath: $0).map(Array.init) }
    ) throws(ClientError) -> CredentialSource {
        try read(environment: environment, profile: requested, contents: contents).source
    }

    private static func read(
        environment: [String: String],
        profile requested: String?,
        contents: (String) -> [UInt8]?
    ) throws(ClientError) -> (profile: (Credentials) -> OperatorProfile, source: CredentialSource) {
        func variable(_ name: String) -> String? {
            environment[name].flatMap { $0.isEmpty ? nil : $0 }
        }
        func file(_ name: String, default path: String) throws(ClientError) -> (path: String, sections: ProfileSections)? {
            let chosen = variable(name)
            guard let path = chosen ?? variable("HOME").map({ "\($0)/.aws/\(path)" }) else { return nil }
            let expanded = path.hasPrefix("~/") ? (variable("HOME") ?? "") + path.dropFirst(1) : path
            guard let bytes = contents(expanded) else { return nil }
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw ClientError(.configuration, "Cannot read \(expanded): it is not UTF-8 text.")
            }
            return (expanded, ProfileSections(text: text))
        }
        let configuration = try file("AWS_CONFIG_FILE", default: "config")
        let keys = try file("AWS_SHARED_CREDENTIALS_FILE", default: "credentials")

        let name = requested ?? variable("AWS_PROFILE") ?? variable("AWS_DEFAULT_PROFILE") ?? "default"
        // In the configuration file a profile other than the default is headed [profile NAME], in the other [NAME].
        let settings =
            configuration?.sections[name == "default" ? "default" : "profile \(name)"]
            ?? (name == "default" ? configuration?.sections["profile default"] : nil)
        let secrets = keys?.sections[name]
        if settings == nil, secrets == nil, name != "default" {
            throw ClientError(
                .configuration,
                "There is no AWS profile \"\(name)\" in \(configuration?.path ?? "~/.aws/config") or \(keys?.path ?? "~/.aws/credentials"). "
                    + "Name another with --profile or AWS_PROFILE."
            )
        }

        let region = variable("AWS_REGION") ?? variable("AWS_DEFAULT_REGION") ?? settings?["region"] ?? "us-east-1"
        guard region.utf8.count <= 100, region.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }) else {
            throw ClientError(.configuration, "The region \"\(region)\" is not a region name.")
        }
        var endpoint = try endpoint(variable: variable, settings: settings, configuration: configuration?.sections)
        endpoint.proxy = try HTTPProxy.fromEnvironment(environment, for: endpoint)
        let source = try CredentialSource.find(
            profile: name, isExplicit: requested != nil, configuration: configuration?.sections, secrets: keys?.sections, variable: variable
        )
        let bundle = variable("AWS_CA_BUNDLE") ?? settings?["ca_bundle"] ?? variable("SSL_CERT_FILE")
        let (found, place) = (endpoint, region)
        return ({ OperatorProfile(endpoint: found, credentials: $0, region: place, caBundle: bundle) }, source)
    }

    /// The authorities of `caBundle`, or the system's.
    package func trust() throws(ClientError) -> TLSTrust {
        guard let caBundle else { return .system }
        guard let bytes = FileManager.default.contents(atPath: caBundle) else {
            throw ClientError(
                .configuration, "Cannot read the authorities in \(caBundle). Check AWS_CA_BUNDLE, ca_bundle and SSL_CERT_FILE.")
        }
        do {
            return .authorities(try Certificate.chain(pem: String(decoding: bytes, as: UTF8.self)))
        } catch {
            throw ClientError(.configuration, "Cannot use the authorities in \(caBundle): \(error)")
        }
    }

    package var description: String { "\(endpoint) in \(region) as \(credentials.accessKeyID)" }

    private static func endpoint(
        variable: (String) -> String?,
        settings: ProfileSections.Section?,
        configuration: ProfileSections?
    ) throws(ClientError) -> Endpoint {
        var url = variable("AWS_ENDPOINT_URL_SSM") ?? variable("AWS_ENDPOINT_URL")
        if url == nil, variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")?.lowercased() != "true", let settings {
            if let services = settings["services"] {
                url = configuration?["services \(services)"]?.nested("ssm", "endpoint_url")
            }
            url = url ?? settings["endpoint_url"]
        }
        guard let url else {
            throw ClientError(
                .configuration,
                "No controller is named. Set AWS_ENDPOINT_URL, or endpoint_url in the profile, to https://HOST:PORT of the controller."
            )
        }
        return try Endpoint(url: url)
    }
}

/// The sections of an AWS configuration or credentials file.
///
/// Lines are `[section]`, `key = value`, comments that begin with `#` or `;`, and indented `key = value` lines that belong
/// to the key above them. A later section of the same name adds to the earlier one, as botocore reads it.
struct ProfileSections {
    struct Section {
        fileprivate var values: [String: String] = [:]
        fileprivate var inner: [String: [String: String]] = [:]

        subscript(_ key: String) -> String? {
            values[key].flatMap { $0.isEmpty ? nil : $0 }
        }

        func nested(_ key: String, _ member: String) -> String? {
            inner[key]?[member].flatMap { $0.isEmpty ? nil : $0 }
        }
    }

    private var sections: [String: Section] = [:]

    init(text: String) {
        var section: String?
        var parent: String?
        for line in text.split(whereSeparator: \.isNewline) {
            let isIndented = line.first == " " || line.first == "\t"
            let content = trimmed(line)
            if content.isEmpty || content.first == "#" || content.first == ";" { continue }
            if !isIndented, content.first == "[" {
                guard let end = content.firstIndex(of: "]") else { section = nil; continue }
                let words = content[content.index(after: content.startIndex)..<end].split(whereSeparator: \.isWhitespace)
                let name = words.joined(separator: " ")
                section = name
                parent = nil
                if sections[name] == nil { sections[name] = Section() }
                continue
            }
            guard let section, let equals = content.firstIndex(of: "=") else { continue }
            let key = trimmed(content[..<equals]).lowercased()
            let value = withoutComment(trimmed(content[content.index(after: equals)...]))
            if isIndented, let parent {
                sections[section, default: Section()].inner[parent, default: [:]][key] = value
            } else {
                sections[section, default: Section()].values[key] = value
                parent = key
            }
        }
    }

    subscript(_ name: String) -> Section? { sections[name] }
}

private func trimmed(_ text: Substring) -> Substring {
    var text = text
    while let first = text.first, first.isWhitespace { text.removeFirst() }
    while let last = text.last, last.isWhitespace { text.removeLast() }
    return text
}

/// A comment after a value needs white space before its sign: keys and addresses may hold the signs themselves.
private func withoutComment(_ value: Substring) -> String {
    var previous: Character = "x"
    for index in value.indices {
        if previous.isWhitespace, value[index] == "#" || value[index] == ";" {
            return String(trimmed(value[..<index]))
        }
        previous = value[index]
    }
    return String(value)
}

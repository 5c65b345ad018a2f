package import MusterWire

/// Where a profile's credentials come from, in the order in which the AWS tools look
/// (https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html). [value]
///
/// What they would use and we do not serve is refused by name: to act with a key that stands beside it would be to act as somebody else.
package indirect enum CredentialSource: Sendable, Equatable {
    case keys(Credentials)
    /// A program that prints them.
    case process(String)
    case role(AssumedRole, from: CredentialSource)

    package struct AssumedRole: Sendable, Equatable {
        package var arn: String
        package var sessionName: String?
        package var durationSeconds: Int?
    }

    static func find(
        profile name: String, isExplicit: Bool, configuration: ProfileSections?, secrets: ProfileSections?,
        variable: @escaping (String) -> String?
    ) throws(ClientError) -> CredentialSource {
        if !isExplicit {
            if let keys = try environment(variable) { return keys }
            if variable("AWS_WEB_IDENTITY_TOKEN_FILE") != nil { throw notServed("AWS_WEB_IDENTITY_TOKEN_FILE", "the environment") }
        }
        return try Search(configuration: configuration, secrets: secrets, variable: variable).source(of: name, behind: [])
    }

    private static func environment(_ variable: (String) -> String?) throws(ClientError) -> CredentialSource? {
        guard let id = variable("AWS_ACCESS_KEY_ID") else { return nil }
        guard let secret = variable("AWS_SECRET_ACCESS_KEY") else {
            throw ClientError(.configuration, "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not. Set both, or neither.")
        }
        return .keys(Credentials(accessKeyID: id, secretAccessKey: secret, sessionToken: variable("AWS_SESSION_TOKEN")))
    }

    private static func notServed(_ what: String, _ place: String) -> ClientError {
        ClientError(
            .configuration,
            "\(place) gets credentials by \(what), which Muster does not serve. Use access keys, role_arn with source_profile, or "
                + "credential_process; `muster login` writes a profile with a key.")
    }

    private struct Search {
        let configuration: ProfileSections?
        let secrets: ProfileSections?
        let variable: (String) -> String?

        private func settings(_ name: String) -> ProfileSections.Section? {
            configuration?[name == "default" ? "default" : "profile \(name)"]
                ?? (name == "default" ? configuration?["profile default"] : nil)
        }

        func source(of name: String, behind: [String]) throws(ClientError) -> CredentialSource {
            let (keys, settings) = (secrets?[name], settings(name))
            if keys == nil, settings == nil, name != "default" {
                throw ClientError(.configuration, "There is no AWS profile \"\(name)\", which source_profile names.")
            }
            let place = "The profile \"\(name)\""
            func value(_ key: String) -> String? { keys?[key] ?? settings?[key] }
            if let arn = value("role_arn") {
                for key in ["web_identity_token_file", "mfa_serial", "external_id"] where value(key) != nil {
                    throw notServed(key, place)
                }
                let role = AssumedRole(
                    arn: arn, sessionName: value("role_session_name"), durationSeconds: value("duration_seconds").flatMap { Int($0) })
                switch (value("source_profile"), value("credential_source")) {
                case (let source?, nil):
                    if source == name, let own = try plain(name) { return .role(role, from: own) }
                    guard !behind.contains(source), source != name else {
                        throw ClientError(.configuration, "The source_profile of \"\(name)\" leads back to \"\(source)\".")
                    }
                    // A profile without a role is used for its keys alone.
                    return .role(role, from: try self.source(of: source, behind: behind + [name]))
                case (nil, "Environment"):
                    guard let keys = try environment(variable) else {
                        throw ClientError(
                            .configuration,
                            "\(place) has credential_source = Environment, and AWS_ACCESS_KEY_ID is not set. Set it with its secret.")
                    }
                    return .role(role, from: keys)
                case (nil, let source?): throw notServed("credential_source = \(source)", place)
                case (.some, .some):
                    throw ClientError(.configuration, "\(place) has source_profile and credential_source. Keep one of them.")
                case (nil, nil):
                    throw ClientError(
                        .configuration, "\(place) has role_arn without source_profile. Name the profile whose key assumes the role.")
                }
            }
            for key in ["sso_session", "sso_start_url", "sso_account_id", "sso_role_name", "login_session", "web_identity_token_file"]
            where value(key) != nil {
                throw notServed(key, place)
            }
            if let found = try plain(name) { return found }
            throw ClientError(
                .configuration,
                "No access key was found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or choose a profile that has them with --profile or AWS_PROFILE."
            )
        }

        /// Keys, or a program: of the credentials file, then the program, then of the configuration.
        private func plain(_ name: String) throws(ClientError) -> CredentialSource? {
            if let found = try Self.keys(secrets?[name], name) { return found }
            if let command = secrets?[name]?["credential_process"] ?? settings(name)?["credential_process"] { return .process(command) }
            return try Self.keys(settings(name), name)
        }

        private static func keys(_ section: ProfileSections.Section?, _ name: String) throws(ClientError) -> CredentialSource? {
            guard let section, let id = section["aws_access_key_id"] else { return nil }
            guard let secret = section["aws_secret_access_key"] else {
                throw ClientError(.configuration, "The profile \"\(name)\" has aws_access_key_id without aws_secret_access_key.")
            }
            return .keys(Credentials(accessKeyID: id, secretAccessKey: secret, sessionToken: section["aws_session_token"]))
        }
    }
}

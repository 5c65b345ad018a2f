import MusterWire
import Testing

@testable import MusterClient

struct OperatorProfileTests {
    private let files = [
        "/home/a/.aws/config": """
        # of the workstation
        [default]
        region = eu-central-1
        endpoint_url = https://default.example:8443
        ca_bundle = /etc/default.pem

        [profile lab]
        region=eu-west-1   # near
        services = lab-services
        endpoint_url = https://lab.example

        [services lab-services]
        s3 =
          endpoint_url = https://s3.example
        ssm =
          endpoint_url = https://ssm.lab.example:9443

        [profile bare]
        endpoint_url = https://bare.example
        aws_access_key_id = AKBARE
        aws_secret_access_key = bare#secret;1
        """,
        "/home/a/.aws/credentials": """
        [default]
        aws_access_key_id = AKDEFAULT
        aws_secret_access_key = default-secret
        [lab]
        aws_access_key_id = AKLAB
        aws_secret_access_key = lab-secret
        aws_session_token = lab-token
        [half]
        aws_access_key_id = AKHALF
        """,
    ]

    private func load(_ environment: [String: String] = [:], profile: String? = nil) throws -> OperatorProfile {
        var environment = environment
        environment["HOME"] = environment["HOME"] ?? "/home/a"
        return try OperatorProfile.load(environment: environment, profile: profile) { files[$0].map { Array($0.utf8) } }
    }

    @Test func readsTheDefault() throws {
        let profile = try load()
        #expect(profile.endpoint.description == "https://default.example:8443")
        #expect(profile.region == "eu-central-1")
        #expect(profile.credentials.accessKeyID == "AKDEFAULT")
        #expect(profile.caBundle == "/etc/default.pem")
    }

    @Test func readsANamedOneWithItsServices() throws {
        for profile in [try load(profile: "lab"), try load(["AWS_PROFILE": "lab"])] {
            #expect(profile.endpoint.description == "https://ssm.lab.example:9443")
            #expect(profile.region == "eu-west-1")
            #expect(profile.credentials.accessKeyID == "AKLAB")
            #expect(profile.credentials.sessionToken == "lab-token")
            #expect(profile.caBundle == nil)
        }
    }

    @Test func aSecretKeepsItsSigns() throws {
        #expect(try load(profile: "bare").credentials.secretAccessKey == "bare#secret;1")
    }

    @Test func theEnvironmentBeatsTheFiles() throws {
        let environment = [
            "AWS_ENDPOINT_URL": "https://one.example", "AWS_REGION": "us-west-2", "AWS_ACCESS_KEY_ID": "AKENV",
            "AWS_SECRET_ACCESS_KEY": "env-secret", "AWS_CA_BUNDLE": "/env.pem", "SSL_CERT_FILE": "/ssl.pem",
        ]
        let profile = try load(environment)
        #expect(profile.endpoint.host == "one.example")
        #expect(profile.region == "us-west-2")
        #expect(profile.credentials.accessKeyID == "AKENV")
        #expect(profile.caBundle == "/env.pem")
        // A profile that is asked for by name was meant.
        #expect(try load(environment, profile: "lab").credentials.accessKeyID == "AKLAB")
        #expect(try load(environment.merging(["AWS_ENDPOINT_URL_SSM": "https://two.example"]) { $1 }).endpoint.host == "two.example")
    }

    @Test func theEnvironmentAloneIsEnough() throws {
        let profile = try load([
            "HOME": "/nowhere", "AWS_ENDPOINT_URL": "https://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "s",
            "SSL_CERT_FILE": "/ssl.pem",
        ])
        #expect(profile.region == "us-east-1")
        #expect(profile.caBundle == "/ssl.pem")
        #expect(!"\(profile)".contains("s3cret"))
    }

    @Test func whatIsMissingIsNamed() {
        func message(_ environment: [String: String], profile: String? = nil) -> String {
            do {
                _ = try load(environment, profile: profile)
                return ""
            } catch {
                return "\(error)"
            }
        }
        #expect(message([:], profile: "nobody").contains("nobody"))
        #expect(message(["HOME": "/nowhere"]).contains("AWS_ENDPOINT_URL"))
        #expect(message(["HOME": "/nowhere", "AWS_ENDPOINT_URL": "https://a"]).contains("AWS_ACCESS_KEY_ID"))
        #expect(message(["AWS_ACCESS_KEY_ID": "AK"]).contains("AWS_SECRET_ACCESS_KEY"))
        #expect(message(["AWS_ENDPOINT_URL": "https://a"], profile: "half").contains("aws_secret_access_key"))
        #expect(message(["AWS_ENDPOINT_URL": "http://a"]).contains("https://"))
        #expect(message(["AWS_REGION": "../x"]).contains("region"))
    }

    // MARK: Where credentials come from

    private static let ways = """
        [default]
        endpoint_url = https://a.example
        aws_access_key_id = AKRAW
        aws_secret_access_key = raw
        role_arn = arn:aws:iam::000000000001:role/ops
        source_profile = base
        role_session_name = nightly
        duration_seconds = 900
        [profile base]
        aws_access_key_id = AKBASE
        aws_secret_access_key = base
        [profile itself]
        role_arn = arn:aws:iam::000000000001:role/ops
        source_profile = itself
        aws_access_key_id = AKSELF
        aws_secret_access_key = self
        [profile environment]
        role_arn = arn:aws:iam::000000000001:role/ops
        credential_source = Environment
        [profile process]
        credential_process = /opt/print keys
        aws_access_key_id = AKRAW
        aws_secret_access_key = raw
        [profile circle]
        role_arn = arn:aws:iam::000000000001:role/a
        source_profile = circle-b
        [profile circle-b]
        role_arn = arn:aws:iam::000000000001:role/b
        source_profile = circle
        """

    private func source(_ profile: String?, _ more: String = "", environment: [String: String] = [:]) throws -> CredentialSource {
        let environment = environment.merging(["HOME": "/h", "AWS_ENDPOINT_URL": "https://a.example"]) { $1 }
        return try OperatorProfile.source(environment: environment, profile: profile) {
            $0 == "/h/.aws/config" ? Array((Self.ways + "\n" + more).utf8) : nil
        }
    }

    /// With the key that stands beside a role, `aws` would not act, and neither may we.
    @Test func aRoleIsAssumedAndTheKeyBesideItIsNotUsed() throws {
        let base = CredentialSource.keys(Credentials(accessKeyID: "AKBASE", secretAccessKey: "base"))
        let role = CredentialSource.AssumedRole(
            arn: "arn:aws:iam::000000000001:role/ops", sessionName: "nightly", durationSeconds: 900)
        #expect(try source(nil) == .role(role, from: base))
        #expect(throws: ClientError.self) {
            try OperatorProfile.load(environment: ["HOME": "/h"]) { $0 == "/h/.aws/config" ? Array(Self.ways.utf8) : nil }
        }
        let plain = CredentialSource.AssumedRole(arn: role.arn)
        let own = CredentialSource.keys(Credentials(accessKeyID: "AKSELF", secretAccessKey: "self"))
        #expect(try source("itself") == .role(plain, from: own))
        let keys = ["AWS_ACCESS_KEY_ID": "AKENV", "AWS_SECRET_ACCESS_KEY": "env", "AWS_SESSION_TOKEN": "token"]
        let environment = CredentialSource.keys(Credentials(accessKeyID: "AKENV", secretAccessKey: "env", sessionToken: "token"))
        #expect(try source("environment", environment: keys) == .role(plain, from: environment))
        // The environment's keys win over a profile that nobody named.
        #expect(try source(nil, environment: keys) == environment)
        #expect(try source("process") == .process("/opt/print keys"))
    }

    @Test(arguments: [
        ("sso_session = x", "sso_session"), ("sso_start_url = https://x", "sso_start_url"), ("login_session = x", "login_session"),
        ("web_identity_token_file = /x", "web_identity_token_file"), ("role_arn = x\nsource_profile = base\nmfa_serial = x", "mfa_serial"),
        ("role_arn = x\nweb_identity_token_file = /x", "web_identity_token_file"),
        ("role_arn = x\ncredential_source = Ec2InstanceMetadata", "Ec2InstanceMetadata"), ("role_arn = x", "source_profile"),
        ("role_arn = x\nsource_profile = base\ncredential_source = Environment", "credential_source"),
        ("role_arn = x\nsource_profile = nobody", "nobody"), ("role_arn = x\nsource_profile = circle", "leads back"),
    ])
    func whatIsNotServedIsRefusedByName(settings: String, words: String) {
        do {
            let keys = "aws_access_key_id = AKRAW\naws_secret_access_key = raw"
            _ = try source("tried", "[profile tried]\n\(keys)\n\(settings)")
            Issue.record("an error was expected")
        } catch { #expect("\(error)".contains(words), "\(error)") }
    }
}

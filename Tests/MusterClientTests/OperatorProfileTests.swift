import MusterClient
import MusterWire
import Testing

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
}

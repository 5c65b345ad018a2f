import FoundationEssentials
import MusterConfiguration
import Testing

/// The files that come with Muster name every key and leave it at its default.
@Suite struct ConfigurationFilesTests {
    private struct Agent: Decodable, Equatable, ConfigurationKeys {
        var controller: String?
        var stateDirectory = "/var/lib/muster-agent"
        var region = "us-east-1"
        var maximumParallelJobs = 5
        var queuedJobs = 5
        var keepAliveSeconds = 20
        var heartbeatSeconds = 300
        var logLevel = "info"
        var scriptShell = "/bin/sh"
        var tombstoneHours = 336
        var transport = "auto"
        var webSocketRetrySeconds = 60
        var proxy: String?
        var proxyPasswordFile: String?
        var outputBudgetBytes = 1_073_741_824
        var sessionsEnabled = true
        var sessionRunAsDefault: String?
        var sessionPamService: String?
        var sessionDeniedTargets = ["169.254.0.0/16", "fe80::/10", "fd00:ec2::/32"]
        var maximumSessions = 1000

        static let schema: [String: ConfigurationSchema] = [
            "controller": .optional(.string), "stateDirectory": .string, "region": .string, "maximumParallelJobs": .integer(1...1000),
            "queuedJobs": .integer(0...10_000), "keepAliveSeconds": .integer(1...25), "heartbeatSeconds": .integer(5...3600),
            "logLevel": .string, "scriptShell": .string, "tombstoneHours": .integer(1...8760),
            "transport": .choice(["auto", "websocket", "poll"]), "webSocketRetrySeconds": .integer(1...3600),
            "proxy": .optional(.string), "proxyPasswordFile": .optional(.string),
            "outputBudgetBytes": .integer(0...1_099_511_627_776),
            "sessionsEnabled": .boolean, "sessionRunAsDefault": .optional(.string), "sessionPamService": .optional(.string),
            "sessionDeniedTargets": .strings, "maximumSessions": .integer(1...10_000),
        ]
    }

    private struct Controller: Decodable, Equatable, ConfigurationKeys {
        struct Listener: Decodable, Equatable {
            var address = "0.0.0.0"
            var port = 8443
            var serves = ["agents", "operators"]
            var certificate: String?
            var key: String?
            var webSockets = true
        }

        var account = "000000000001"
        var regions: [String] = []
        var dataDirectory = "/var/lib/muster-controller"
        var listeners = [Listener()]
        var names: [String] = []
        var certificateHours = 24
        var offlineSeconds = 60
        var maximumBodyBytes = 1_048_576
        var requestsPerSecond = 100
        var requestBurst = 200
        var handshakeSeconds = 10
        var requestSeconds = 30
        var historyDays = 30
        var totalTimeoutSlackSeconds = 30
        var outputNodeBytes = 10_737_418_240
        var outputTotalBytes = 107_374_182_400
        var outputDays = 30
        var recordingBytes = 1_073_741_824
        var recordingDays = 90
        var recordingCommitSeconds = 5
        var outputS3Endpoint: String?
        var outputS3Region = "us-east-1"
        var outputS3Bucket: String?
        var outputS3PathStyle = true
        var outputS3CredentialsFile: String?
        var logLevel = "info"

        static let schema: [String: ConfigurationSchema] = [
            "account": .string, "regions": .strings, "dataDirectory": .string,
            "listeners": .list(
                .object([
                    "address": .string, "port": .integer(0...65535), "serves": .strings, "certificate": .optional(.string),
                    "key": .optional(.string), "webSockets": .boolean,
                ])),
            "names": .strings, "certificateHours": .integer(1...8760), "offlineSeconds": .integer(30...86_400),
            "maximumBodyBytes": .integer(65_536...16_777_216), "requestsPerSecond": .integer(1...100_000),
            "requestBurst": .integer(1...100_000), "handshakeSeconds": .integer(1...300), "requestSeconds": .integer(1...3600),
            "historyDays": .integer(1...3650), "totalTimeoutSlackSeconds": .integer(5...3600), "logLevel": .string,
            "outputNodeBytes": .integer(0...1_099_511_627_776), "outputTotalBytes": .integer(0...1_125_899_906_842_624),
            "outputDays": .integer(1...3650), "outputS3Endpoint": .optional(.string), "outputS3Region": .string,
            "recordingBytes": .integer(0...1_099_511_627_776), "recordingDays": .integer(1...3650),
            "recordingCommitSeconds": .integer(1...60),
            "outputS3Bucket": .optional(.string), "outputS3PathStyle": .boolean, "outputS3CredentialsFile": .optional(.string),
        ]
    }

    private static func path(_ name: String) -> String {
        let source = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        return source.dropLast(3).joined(separator: "/") + "/" + name
    }

    @Test func agent() throws {
        let file = try ConfigurationLoader.load(
            Agent.self, path: Self.path("agent-config/agent.json5"), environmentPrefix: "MUSTER_AGENT_", environment: [:])
        #expect(file == Agent())
    }

    @Test func controller() throws {
        let file = try ConfigurationLoader.load(
            Controller.self, path: Self.path("controller-config/controller.json5"), environmentPrefix: "MUSTER_CONTROLLER_",
            environment: [:])
        #expect(file == Controller())
    }

    /// A member that may be null is not missed when it is left out; the others are.
    @Test func keysThatMayBeNullAreThereToo() throws {
        let agent = try String(contentsOfFile: Self.path("agent-config/agent.json5"), encoding: .utf8)
        #expect(agent.contains("\n  controller: null,"))
        let controller = try String(contentsOfFile: Self.path("controller-config/controller.json5"), encoding: .utf8)
        #expect(controller.contains("\n      certificate: null,"))
        #expect(controller.contains("\n      key: null,"))
    }
}

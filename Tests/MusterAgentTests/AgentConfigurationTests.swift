import FoundationEssentials
import MusterAgent
import MusterConfiguration
import Testing

struct AgentConfigurationTests {
    /// The file that comes with the agent.
    private let file = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/agent-config/agent.json5"

    @Test func theFileThatComesWithItIsTheDefaults() throws {
        #expect(try AgentConfiguration.load(path: file, environment: [:]) == AgentConfiguration())
    }

    /// A key that is left out would pass as one at its default.
    @Test func everyKeyStandsInIt() throws {
        let text = try String(contentsOfFile: file, encoding: .utf8)
        for key in AgentConfiguration.schema.keys { #expect(text.contains("\n  \(key): "), "\(key)") }
    }

    @Test func theEnvironmentOverrides() throws {
        let configuration = try AgentConfiguration.load(
            path: file,
            environment: ["MUSTER_AGENT_HEARTBEAT_SECONDS": "30", "MUSTER_AGENT_STATE_DIRECTORY": "/tmp/x", "MUSTER_AGENT_CONFIG": "x"])
        #expect(configuration.heartbeatSeconds == 30)
        #expect(configuration.stateDirectory == "/tmp/x")
    }

    @Test func aRebootNeedsACommand() throws {
        #expect(throws: (any Error).self) {
            try AgentConfiguration.load(path: file, environment: ["MUSTER_AGENT_REBOOT_COMMAND": "[]"])
        }
        let configuration = try AgentConfiguration.load(
            path: file, environment: ["MUSTER_AGENT_REBOOT_COMMAND": "[]", "MUSTER_AGENT_ALLOW_REBOOT": "false"])
        #expect(configuration.reboot == nil)
        let given = try AgentConfiguration.load(
            path: file,
            environment: ["MUSTER_AGENT_REBOOT_COMMAND": #"["/sbin/shutdown", "-r", "+1"]"#, "MUSTER_AGENT_BOOT_ID_FILE": "/run/boot"])
        #expect(given.reboot?.command == ["/sbin/shutdown", "-r", "+1"])
        #expect(given.bootIDFile == "/run/boot")
    }

    @Test func aRelativeStateDirectoryIsRefused() {
        #expect(throws: (any Error).self) {
            try AgentConfiguration.load(path: file, environment: ["MUSTER_AGENT_STATE_DIRECTORY": "x"])
        }
    }
}

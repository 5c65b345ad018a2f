import MusterAgent
import Testing

struct AgentConfigurationTests {
    /// The file that comes with the agent.
    private let file = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/agent-config/agent.json5"

    @Test func theFileThatComesWithItIsTheDefaults() throws {
        let configuration = try AgentConfiguration.load(path: file, environment: [:])
        let standard = AgentConfiguration()
        #expect(configuration.controller == standard.controller)
        #expect(configuration.stateDirectory == standard.stateDirectory)
        #expect(configuration.region == standard.region)
        #expect(configuration.maximumParallelJobs == standard.maximumParallelJobs)
        #expect(configuration.queuedJobs == standard.queuedJobs)
        #expect(configuration.keepAliveSeconds == standard.keepAliveSeconds)
        #expect(configuration.heartbeatSeconds == standard.heartbeatSeconds)
        #expect(configuration.logLevel == standard.logLevel)
        #expect(configuration.scriptShell == standard.scriptShell)
        #expect(configuration.tombstoneHours == standard.tombstoneHours)
        #expect(configuration.allowReboot == standard.allowReboot)
        #expect(configuration.rebootCommand == standard.rebootCommand)
        #expect(configuration.rebootWaitSeconds == standard.rebootWaitSeconds)
        #expect(configuration.rebootPatienceSeconds == standard.rebootPatienceSeconds)
        #expect(configuration.bootIDFile == standard.bootIDFile)
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

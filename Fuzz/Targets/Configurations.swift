import MusterAgent
import MusterConfiguration
import MusterController

extension FuzzTarget {
    /// JSON5, as the agent and the controller read it.
    static let configurations = FuzzTarget(name: "configurations") { bytes in
        let given = text(bytes)
        _ = try? ConfigurationLoader.load(AgentConfiguration.self, text: given)
        _ = try? ConfigurationLoader.load(ControllerConfiguration.self, text: given)
    }
}

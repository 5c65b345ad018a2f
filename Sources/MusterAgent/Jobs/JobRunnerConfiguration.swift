package import MusterWire

/// What a `JobRunner` has to know about its node and its limits.
package struct JobRunnerConfiguration: Sendable {
    /// The agent's state folder. Jobs live in its `jobs` folder.
    package var stateDirectory: String
    package var node: NodeID
    package var region: String
    package var agentVersion: String
    package var platformName: String
    package var platformVersion: String
    package var maximumParallelJobs: Int
    package var queuedJobs: Int
    /// A job for another generation of this identity is refused: a name enrolled anew inherits nothing.
    package var identityGeneration: Int
    /// The program that is started as `PROGRAM supervise FOLDER` for every step.
    package var agentExecutable: String
    package var scriptShell: String
    /// Bytes that are kept of each stream of a step.
    package var outputBudgetBytes: Int
    /// How long outputs and tombstones of finished jobs stay.
    package var retentionHours: Int
    /// How the host is rebooted for a step that asks for it; nil: it is not.
    package var reboot: HostReboot.Settings?
    package var bootIDFile: String

    package init(
        stateDirectory: String,
        node: NodeID,
        region: String,
        agentVersion: String,
        platformName: String,
        platformVersion: String,
        maximumParallelJobs: Int = 5,
        queuedJobs: Int = 5,
        identityGeneration: Int,
        agentExecutable: String,
        scriptShell: String = "/bin/sh",
        outputBudgetBytes: Int = StepOrder.outputBudget,
        retentionHours: Int = 336,
        reboot: HostReboot.Settings? = nil,
        bootIDFile: String = ProcessTable.bootIDFile
    ) {
        self.stateDirectory = stateDirectory
        self.node = node
        self.region = region
        self.agentVersion = agentVersion
        self.platformName = platformName
        self.platformVersion = platformVersion
        self.maximumParallelJobs = max(1, maximumParallelJobs)
        self.queuedJobs = max(0, queuedJobs)
        self.identityGeneration = identityGeneration
        self.agentExecutable = agentExecutable
        self.scriptShell = scriptShell
        self.outputBudgetBytes = max(0, outputBudgetBytes)
        self.retentionHours = max(1, retentionHours)
        self.reboot = reboot
        self.bootIDFile = bootIDFile
    }
}

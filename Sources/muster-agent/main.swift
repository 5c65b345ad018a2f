import ArgumentParser
import Glibc
import MusterAgent

// A step's supervisor is this same program. There may be many of them, each for as long as its script runs: nothing else is
// initialised in them, and nothing of the command line below is looked at.
if CommandLine.arguments.count == 3, CommandLine.arguments[1] == "supervise" {
    exit(StepSupervisor.main(directory: CommandLine.arguments[2]))
}
// The processes of sessions, likewise.
if CommandLine.arguments.count == 2, CommandLine.arguments[1] == "session-launch" {
    exit(SessionLauncher.main())
}
if CommandLine.arguments.count == 3, CommandLine.arguments[1] == "session-host" {
    exit(SessionHost.main(stateDirectory: CommandLine.arguments[2]))
}
if CommandLine.arguments.count == 2, CommandLine.arguments[1] == "session-copy" {
    exit(SessionCopy.main())
}
AgentCommand.main()

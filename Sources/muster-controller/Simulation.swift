import ArgumentParser
import FoundationEssentials
import MusterController

extension Policies {
    struct Simulate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what a policy in a file would decide, and which statement. Needs no controller and no data directory.",
            discussion: "Ends with 0 if it would be allowed, 1 if not. The time is filled in, nothing else.")

        @Argument(help: "A JSON file.") var file: String
        @Option(help: "For example ssm:StartSession.") var action: String
        @Option(help: "An ARN, or *.") var resource: String = "*"
        @Option(help: "A key of conditions, KEY=VALUE. May be repeated.") var context: [String] = []

        func run() throws {
            let text = Array(try Data(contentsOf: URL(filePath: file)))
            let answer = try PolicySimulation.report(policy: text, named: file, action: action, resource: resource, context: context)
            ResultOutput.out(answer.words)
            if !answer.isAllowed { throw ExitCode(1) }
        }
    }
}

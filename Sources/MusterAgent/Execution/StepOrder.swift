/// What the supervisor of a step is told: a file of NUL-terminated fields, so that reading it needs no JSON.
///
///     muster-step 1 | shell | working directory | seconds | bytes | NAME=value | NAME=value | …
package struct StepOrder: Sendable, Equatable {
    /// Per stream, unless the configuration says otherwise. More is read and thrown away, and the result says so.
    package static let outputBudget = 1 << 30

    package var shell: String
    /// Empty: where the agent is.
    package var workingDirectory: String
    package var timeoutSeconds: Int
    package var outputBudget: Int
    /// Entries `NAME=value`; of two with one name the later counts.
    package var environment: [String]

    package init(shell: String, workingDirectory: String, timeoutSeconds: Int, outputBudget: Int = Self.outputBudget, environment: [String])
    {
        self.shell = shell
        self.workingDirectory = workingDirectory
        self.timeoutSeconds = timeoutSeconds
        self.outputBudget = outputBudget
        self.environment = environment
    }

    private static let signature = "muster-step 1"

    package init?(bytes: [UInt8]) {
        guard bytes.last == 0 else { return nil }
        let fields = bytes.dropLast().split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        guard fields.count >= 5, fields[0] == Self.signature, let seconds = Int(fields[3]), seconds > 0, let budget = Int(fields[4]),
            budget >= 0
        else { return nil }
        self.init(
            shell: fields[1], workingDirectory: fields[2], timeoutSeconds: seconds, outputBudget: budget,
            environment: Array(fields[5...]))
    }

    /// Nil when a field holds a NUL, which no argument or variable of a process can.
    package var bytes: [UInt8]? {
        var bytes: [UInt8] = []
        for field in [Self.signature, shell, workingDirectory, String(timeoutSeconds), String(outputBudget)] + environment {
            guard !field.utf8.contains(0) else { return nil }
            bytes.append(contentsOf: field.utf8)
            bytes.append(0)
        }
        return bytes
    }
}

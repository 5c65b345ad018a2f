import FoundationEssentials

/// How a step ended, as its supervisor wrote it down.
package struct StepResult: Codable, Sendable, Equatable {
    package enum Ending: String, Codable, Sendable {
        case exited, timedOut, cancelled
        /// The script was never started; `problem` says why.
        case notStarted
    }

    package var ending: Ending
    /// As a shell shows it: the exit status, or 128 + the signal's number.
    package var exitCode: Int
    /// Milliseconds since the epoch, host clock.
    package var startedAt: Int64
    package var endedAt: Int64
    /// Something the user must know besides: output lost, processes that would not die, why nothing was started.
    package var problem: String
    /// Bytes of each stream that were not kept; nil when none, and in results of supervisors that did not say.
    package var lostOutput: Int64?
    package var lostError: Int64?

    package init(
        ending: Ending, exitCode: Int, startedAt: Int64, endedAt: Int64, problem: String = "", lostOutput: Int64? = nil,
        lostError: Int64? = nil
    ) {
        self.lostOutput = lostOutput
        self.lostError = lostError
        self.ending = ending
        self.exitCode = exitCode
        self.startedAt = startedAt
        self.endedAt = endedAt
        self.problem = problem
    }

    /// The file is reserved at this size before the script starts, so that a disk filled by the script still takes it.
    package static let reservedBytes = 1024

    /// JSON, padded with spaces to the reserved size. By hand: the supervisor must not pay for an encoder.
    package var reservedJSON: [UInt8] {
        var text = "{\"ending\":\"\(ending.rawValue)\",\"exitCode\":\(exitCode),\"startedAt\":\(startedAt),\"endedAt\":\(endedAt),"
        if let lostOutput { text += "\"lostOutput\":\(lostOutput)," }
        if let lostError { text += "\"lostError\":\(lostError)," }
        text += "\"problem\":\""
        var room = Self.reservedBytes - text.utf8.count - 3
        for scalar in problem.unicodeScalars {
            let piece: String
            switch scalar {
            case "\"", "\\": piece = "\\" + String(scalar)
            case "\n": piece = "\\n"
            case _ where scalar.value < 0x20: piece = " "
            default: piece = String(scalar)
            }
            room -= piece.utf8.count
            if room < 0 { break }
            text += piece
        }
        text += "\"}\n"
        return Array(text.utf8) + [UInt8](repeating: 0x20, count: max(0, Self.reservedBytes - text.utf8.count))
    }

    /// Nil when the bytes are no complete result.
    package init?(json: [UInt8]) {
        guard let result = try? JSONDecoder().decode(StepResult.self, from: Data(json)) else { return nil }
        self = result
    }
}

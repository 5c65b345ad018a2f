import Glibc

/// Which run of a step this is, and whether it waits for the host to reboot: a step that exits with 194 asks for a reboot and to
/// be run again after it. It is the only way in which a step is ever started twice.
///
///     result 194 ──▶ `reboot` (synced) ──▶ reboot command ──▶ another boot id ──▶ result, launched, lock removed;
///                                                                                `attempt`, `started` written (synced)
///                                          next run ◀── `reboot` removed (synced) ◀──┘
///
/// While `reboot` is there nothing of the next run has been started, so that a crash anywhere in this line is followed by the same
/// line again. Output files stay, and the next run adds to them.
package struct StepAttempt: Sendable, Equatable {
    /// So many runs at most, as with Systems Manager.
    package static let maximum = 15

    /// From 1.
    package var number = 1
    /// Of the first run; milliseconds since the epoch, host clock. Nil in the first.
    package var startedAt: Int64?
    /// Bytes of each stream that the runs before did not keep.
    package var lostOutput: Int64 = 0
    package var lostError: Int64 = 0

    package init() {}

    package static func read(in folder: Folder) throws(FileError) -> StepAttempt {
        var attempt = StepAttempt()
        guard let fields = try Self.fields(StepFolder.attempt, in: folder) else { return attempt }
        guard fields.count == 4, let number = Int(fields[0]), let start = Int64(fields[1]), let output = Int64(fields[2]),
            let error = Int64(fields[3])
        else {
            // Written whole and synced, so this is nobody's crash; what cannot be counted is not run again.
            attempt.number = maximum
            return attempt
        }
        (attempt.number, attempt.startedAt, attempt.lostOutput, attempt.lostError) = (number, start, output, error)
        return attempt
    }

    /// That the step waits for the host to reboot.
    package struct RebootMark: Sendable, Equatable {
        /// The run that asked for it.
        package var attempt: Int
        /// The boot on which it ran.
        package var bootID: String
        /// How often the reboot command has been started since.
        package var asks: Int

        package init(attempt: Int, bootID: String, asks: Int = 0) {
            self.attempt = attempt
            self.bootID = bootID
            self.asks = asks
        }

        package static func read(in folder: Folder) throws(FileError) -> RebootMark? {
            guard let fields = try StepAttempt.fields(StepFolder.reboot, in: folder) else { return nil }
            guard fields.count == 3, let attempt = Int(fields[0]), let asks = Int(fields[2]) else {
                throw FileError("read", folder.path(of: StepFolder.reboot), EINVAL)
            }
            return RebootMark(attempt: attempt, bootID: fields[1], asks: asks)
        }

        /// Durable when it returns.
        package func write(in folder: Folder) throws(FileError) {
            try folder.replaceFile(StepFolder.reboot, containing: Array("\(attempt) \(bootID) \(asks)\n".utf8), sync: true)
        }
    }

    /// The boot on which the present run was started.
    package static func boot(of folder: Folder) throws(FileError) -> String? {
        try folder.read(StepFolder.started, atMost: 256).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The host has rebooted since the mark was made: makes the step one that has been begun, and not launched, on this boot.
    /// `result` is that of the run before; nil when an interrupted call has removed it already.
    package static func beginNext(in folder: Folder, after mark: RebootMark, result: StepResult?, bootID: String) throws(FileError) {
        var next = try read(in: folder)
        if next.number == mark.attempt, let result {
            next.number += 1
            next.startedAt = next.startedAt ?? result.startedAt
            next.lostOutput += result.lostOutput ?? 0
            next.lostError += result.lostError ?? 0
            let line = "\(next.number) \(next.startedAt ?? 0) \(next.lostOutput) \(next.lostError)\n"
            try folder.replaceFile(StepFolder.attempt, containing: Array(line.utf8), sync: true)
        }
        try folder.replaceFile(StepFolder.started, containing: Array(bootID.utf8), sync: true)
        for name in [StepFolder.result, StepFolder.launched, StepFolder.lock, StepFolder.cgroup] { try folder.removeFile(name) }
        try folder.sync()
        try folder.removeFile(StepFolder.reboot)
        try folder.sync()
    }

    private static func fields(_ name: String, in folder: Folder) throws(FileError) -> [String]? {
        guard let bytes = try folder.read(name, atMost: 256) else { return nil }
        guard bytes.last == 0x0A else { return [] }
        return String(decoding: bytes.dropLast(), as: UTF8.self).split(separator: " ").map(String.init)
    }
}

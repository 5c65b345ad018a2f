/// The names in a step's folder, and what they tell after a crash.
///
///     order        what the supervisor is to do
///     _script.sh   the script, 0700
///     started      boot id of the host; written before the supervisor is started
///     lock         held with flock(2) by the supervisor for its whole life; "PID START-TIME" of it
///     launched     made, exclusively, before the script is started; then "PID START-TIME" of the script
///     cgroup       where there is one: the path of the script's control group
///     stdout, stderr
///     result.json  how it ended
///     reboot       the run exited with 194: "RUN BOOT-ID ASKS" of the reboot that is waited for (see StepAttempt)
///     attempt      of a run after such a reboot: which it is, and what the runs before left
///
/// The folder gets its name by a synced rename when everything up to `started` is in it: that name is the durable
/// mark that a start was attempted.
package enum StepFolder {
    package static let order = "order"
    package static let script = "_script.sh"
    package static let started = "started"
    package static let lock = "lock"
    package static let launched = "launched"
    package static let cgroup = "cgroup"
    package static let standardOutput = "stdout"
    package static let standardError = "stderr"
    package static let result = "result.json"
    package static let reboot = "reboot"
    package static let attempt = "attempt"
    /// In the folder of the job, one above: the job is to be cancelled.
    package static let cancelled = "cancelled"

    /// The environment variable by which a step's processes are recognised after their supervisor is lost.
    package static let marker = "MUSTER_STEP"

    /// `PID START-TIME`, as in `lock` and `launched`.
    package static func encode(_ process: ProcessIdentity) -> [UInt8] { Array("\(process.pid) \(process.startTime)\n".utf8) }

    package static func decode(_ bytes: [UInt8]) -> ProcessIdentity? {
        guard bytes.last == 0x0A else { return nil }
        let fields = String(decoding: bytes.dropLast(), as: UTF8.self).split(separator: " ")
        guard fields.count == 2, let pid = Int32(fields[0]), pid > 0, let start = UInt64(fields[1]) else { return nil }
        return ProcessIdentity(pid: pid, startTime: start)
    }
}

import CLinux
import Glibc
import MusterDocuments
package import MusterWire

/// The truth about every job of this node, on disk. It blocks; `JobRunner` calls it on a queue of its own.
///
///     jobs/
///       .lock                     held by the agent that works here
///       <command id>/
///         job.json                the job as accepted, synced before it is acknowledged
///         cancelled               it is to be cancelled, synced before that is acknowledged
///         step.<name>/            see StepFolder; the name appears, synced, before the step is started
///         reply.json              the final reply, until it is acknowledged
///         tombstone.json          after that, with the output files
///
/// | found after a crash           | means
/// |---|---|
/// | a folder without job.json     | never acknowledged: may be delivered again
/// | job.json                      | accepted; the step folders tell how far it got
/// | reply.json as well            | ended; the reply is to be sent until it is acknowledged. Without it the same reply is made from the step folders
/// | tombstone.json                | done with; a duplicate is answered and not run
package final class JobLedger: Sendable {
    /// A delivered job is at most this long.
    private static let recordLimit = 4 << 20

    private static let record = "job.json"
    private static let reply = "reply.json"
    private static let tombstone = "tombstone.json"
    /// Becomes the reply, or the tombstone, where a full disk has no room for another file: a job that was reported as ended must never be
    /// taken for one that is still to be run.
    private static let reserved = ".end"
    private static let reservedBytes = 4096

    private let jobs: Folder
    private let lock: FileDescriptor

    /// `stateDirectory` must be the agent's own; a `jobs` folder that others could write to, or that is a link, is
    /// refused.
    package init(stateDirectory: String) throws(FileError) {
        _ = try Folder.openPrivate(stateDirectory)
        jobs = try Folder.openPrivate(stateDirectory + "/jobs")
        lock = try jobs.openFile(".lock", create: true)
        guard muster_lock_exclusively(lock.number) == 0 else {
            throw FileError("lock", jobs.path(of: ".lock"), errno, advice: "Another agent works in this state folder.")
        }
    }

    /// Makes the folder that every start needs, while there is space.
    package static func reserve(stateDirectory: String) throws(FileError) {
        _ = try Folder.openPrivate(stateDirectory + "/jobs").openFile(".lock", create: true)
    }

    /// A job that was not done with when the ledger was closed.
    package struct OpenJob: Sendable {
        package let id: CommandID
        package let record: JobRecord
        /// A script of it was launched. Of a step that was only begun, nothing runs and nothing ran.
        package let isStarted: Bool
        package let isCancelled: Bool
        package let hasReply: Bool
    }

    /// All jobs that are not done with, oldest first, and the names of entries that nobody here has made.
    package func open() throws(FileError) -> (jobs: [OpenJob], strangers: [String]) {
        var found: [OpenJob] = []
        var strangers: [String] = []
        for name in try jobs.names() where name != ".lock" {
            guard let id = CommandID(name), let folder = try? jobs.open(name) else {
                strangers.append(name)
                continue
            }
            if try folder.contains(Self.tombstone) { continue }
            let names = try folder.names()
            let steps = names.filter { $0.hasPrefix(Self.stepPrefix) }
            guard let record = Self.decode(JobRecord.self, try folder.read(Self.record, atMost: Self.recordLimit)) else {
                // Not acknowledged: the controller delivers it again. A step folder in it would be the work of
                // another version; it then stays as it is and stands in the way of a second start.
                if steps.isEmpty { try jobs.removeTree(name) } else { strangers.append(name) }
                continue
            }
            var isStarted = false
            for name in steps {
                let step = try folder.open(name)
                for mark in [StepFolder.launched, StepFolder.result, StepFolder.reboot, StepFolder.attempt] {
                    if try step.contains(mark) { isStarted = true }
                }
            }
            found.append(
                OpenJob(
                    id: id, record: record, isStarted: isStarted, isCancelled: names.contains(StepFolder.cancelled),
                    hasReply: try reply(id) != nil))
        }
        return (found.sorted { $0.record.acceptedAt < $1.record.acceptedAt }, strangers)
    }

    /// Makes the job durable. False when it is known already, done with or not.
    package func accept(_ record: JobRecord, as id: CommandID) throws(FileError) -> Bool {
        guard let bytes = Self.encode(record) else { throw FileError("encode", jobs.path(of: id.rawValue), EINVAL) }
        guard try !isKnown(id) else { return false }
        // A folder left by an acceptance that never ended.
        try jobs.removeTree(id.rawValue)
        let folder = try jobs.create(id.rawValue)
        do {
            try folder.createFile(Self.reserved, containing: [UInt8](repeating: 0x20, count: Self.reservedBytes))
            try folder.createFile(Self.record, containing: bytes, sync: true)
            try folder.sync()
            try jobs.sync()
        } catch {
            // Nothing was promised yet. What cannot be removed has no complete record, or is found and run at the
            // next start, as it would be had the acknowledgement been lost.
            try? jobs.removeTree(id.rawValue)
            throw error
        }
        return true
    }

    package func isKnown(_ id: CommandID) throws(FileError) -> Bool {
        guard try jobs.contains(id.rawValue) else { return false }
        let folder = try jobs.open(id.rawValue)
        if try folder.contains(Self.tombstone) { return true }
        if try folder.names().contains(where: { $0.hasPrefix(Self.stepPrefix) }) { return true }
        return Self.decode(JobRecord.self, try folder.read(Self.record, atMost: Self.recordLimit)) != nil
    }

    package func record(_ id: CommandID) throws(FileError) -> JobRecord? {
        try Self.decode(JobRecord.self, jobs.open(id.rawValue).read(Self.record, atMost: Self.recordLimit))
    }

    /// What a cancellation found.
    package enum Cancellation: Sendable {
        /// A job, which now has the mark.
        case marked
        /// A job that is done with.
        case over
        /// No job. From now on it is known as done with, so that it is not started should it come.
        case neverArrived
    }

    /// Durable when it returns. `now` is server time.
    package func cancel(_ job: JobID, at now: Int64) throws(FileError) -> Cancellation {
        let name = job.command.rawValue
        guard try isKnown(job.command) else {
            let tombstone = JobTombstone(
                jobID: job.description, outcome: DocumentStatus.cancelled.rawValue, startBy: nil, finishedAt: now, neverArrived: true)
            guard let bytes = Self.encode(tombstone) else { throw FileError("encode", jobs.path(of: name), EINVAL) }
            // A folder left by an acceptance that never ended.
            try jobs.removeTree(name)
            try jobs.create(name).replaceFile(Self.tombstone, containing: bytes, sync: true)
            try jobs.sync()
            return .neverArrived
        }
        let folder = try jobs.open(name)
        if try folder.contains(Self.tombstone) {
            let tombstone = Self.decode(JobTombstone.self, try folder.read(Self.tombstone, atMost: 65536))
            return tombstone?.neverArrived == true ? .neverArrived : .over
        }
        guard try folder.contains(Self.record) else { return .over }
        guard try !folder.contains(StepFolder.cancelled) else { return .marked }
        try folder.createFile(StepFolder.cancelled, containing: [], sync: true)
        try folder.sync()
        return .marked
    }

    private static let stepPrefix = "step."
    private static let unfinishedPrefix = ".new-"

    /// Nil when the step has never been started.
    package func step(_ name: String, of id: CommandID) throws(FileError) -> Folder? {
        let folder = try jobs.open(id.rawValue)
        guard try folder.contains(Self.stepPrefix + name) else { return nil }
        return try folder.open(Self.stepPrefix + name)
    }

    /// Writes down that the step is about to be started; whoever returns from here may start its supervisor. The files
    /// themselves need no sync: after a power loss the name alone counts, and the step is not run.
    package func beginStep(_ name: String, of id: CommandID, script: [UInt8], order: [UInt8], bootID: String) throws(FileError) -> Folder {
        let folder = try jobs.open(id.rawValue)
        let temporary = Self.unfinishedPrefix + name
        try folder.removeTree(temporary)
        let step = try folder.create(temporary)
        try step.createFile(StepFolder.script, mode: 0o700, containing: script)
        try step.createFile(StepFolder.order, containing: order)
        try step.createFile(StepFolder.started, containing: Array(bootID.utf8))
        try folder.rename(temporary, to: Self.stepPrefix + name)
        try folder.sync()
        return try folder.open(Self.stepPrefix + name)
    }

    /// A reply that says that nothing was started must be synced, because nothing else on the disk says so. Any other
    /// can be made again from the results of the steps.
    package func store(_ reply: AgentJobReply, of id: CommandID, sync: Bool) throws(FileError) {
        guard let bytes = Self.encode(reply) else { throw FileError("encode", jobs.path(of: id.rawValue), EINVAL) }
        let folder = try jobs.open(id.rawValue)
        do {
            try folder.replaceFile(Self.reply, containing: bytes, sync: sync)
        } catch {
            guard error.isDiskFull, sync, bytes.count <= Self.reservedBytes, try folder.contains(Self.reserved) else { throw error }
            try put(bytes, as: Self.reply, in: folder)
        }
    }

    /// What `store` had no room for in any way: at least it is known that the job is over. Nobody sends its reply after a restart.
    package func close(_ id: CommandID, outcome: String, finishedAt: Int64) throws(FileError) {
        let folder = try jobs.open(id.rawValue)
        guard let record = Self.decode(JobRecord.self, try folder.read(Self.record, atMost: Self.recordLimit)) else { return }
        let tombstone = JobTombstone(jobID: record.jobID, outcome: outcome, startBy: record.content.startBy, finishedAt: finishedAt)
        guard let bytes = Self.encode(tombstone) else { throw FileError("encode", folder.path, EINVAL) }
        try put(bytes, as: Self.tombstone, in: folder)
    }

    private func put(_ bytes: [UInt8], as name: String, in folder: Folder) throws(FileError) {
        let path = folder.path(of: Self.reserved)
        let file = try folder.openFile(Self.reserved, create: false)
        try file.overwrite(bytes + [UInt8](repeating: 0x20, count: max(0, Self.reservedBytes - bytes.count)), path: path)
        try file.sync(path: path)
        try folder.rename(Self.reserved, to: name)
        try folder.sync()
    }

    package func reply(_ id: CommandID) throws(FileError) -> AgentJobReply? {
        guard try jobs.contains(id.rawValue) else { return nil }
        return try Self.decode(AgentJobReply.self, jobs.open(id.rawValue).read(Self.reply, atMost: Self.recordLimit))
    }

    // MARK: Outputs

    private static let uploads = "uploads.json"
    private static let uploadsLimit = 1 << 20

    /// Streams that the controller has to get besides the reply. Durable before the reply is sent: with the reply alone the
    /// controller would wait for them in vain.
    package func storeUploads(_ uploads: [PendingUpload], of id: CommandID) throws(FileError) {
        guard try jobs.contains(id.rawValue) else { return }
        let folder = try jobs.open(id.rawValue)
        if uploads.isEmpty { return try folder.removeFile(Self.uploads) }
        guard let bytes = Self.encode(uploads) else { throw FileError("encode", folder.path, EINVAL) }
        try folder.replaceFile(Self.uploads, containing: bytes, sync: true)
    }

    package func uploads(of id: CommandID) throws(FileError) -> [PendingUpload] {
        guard try jobs.contains(id.rawValue) else { return [] }
        return Self.decode([PendingUpload].self, try jobs.open(id.rawValue).read(Self.uploads, atMost: Self.uploadsLimit)) ?? []
    }

    /// Jobs, finished or not, of which something is still to be uploaded.
    package func jobsWithUploads() throws(FileError) -> [CommandID] {
        var found: [CommandID] = []
        for name in try jobs.names() {
            guard let id = CommandID(name), let folder = try? jobs.open(name), try folder.contains(Self.uploads) else { continue }
            found.append(id)
        }
        return found
    }

    /// The steps that have been started, by name.
    package func startedSteps(of id: CommandID) throws(FileError) -> [String] {
        guard try jobs.contains(id.rawValue) else { return [] }
        return try jobs.open(id.rawValue).names().filter { $0.hasPrefix(Self.stepPrefix) }.map {
            String($0.dropFirst(Self.stepPrefix.count))
        }
    }

    /// The file of one stream; nil when there is none.
    package func openStream(_ stream: OutputStream, of step: String, _ id: CommandID) throws(FileError) -> FileDescriptor? {
        guard try jobs.contains(id.rawValue), let folder = try self.step(step, of: id), try folder.contains(stream.rawValue) else {
            return nil
        }
        return try folder.openForReading(stream.rawValue)
    }

    /// The controller has the reply: what remains is a tombstone and the output. Scripts, parameters and environment may
    /// hold secrets and go at once.
    package func bury(_ id: CommandID, outcome: String, finishedAt: Int64) throws(FileError) {
        let folder = try jobs.open(id.rawValue)
        guard let record = Self.decode(JobRecord.self, try folder.read(Self.record, atMost: Self.recordLimit)) else { return }
        let tombstone = JobTombstone(jobID: record.jobID, outcome: outcome, startBy: record.content.startBy, finishedAt: finishedAt)
        guard let bytes = Self.encode(tombstone) else { throw FileError("encode", folder.path, EINVAL) }
        // Durable before anything that says the same is removed.
        try folder.replaceFile(Self.tombstone, containing: bytes, sync: true)
        for name in try folder.names() where name.hasPrefix(Self.unfinishedPrefix) { try folder.removeTree(name) }
        for name in try folder.names() where name.hasPrefix(Self.stepPrefix) {
            let step = try folder.open(name)
            for file in [StepFolder.script, StepFolder.order] { try step.removeFile(file) }
        }
        for file in [Self.reply, StepFolder.cancelled, Self.reserved, Self.record] { try folder.removeFile(file) }
    }

    /// Removes what is older than the retention and can no longer be delivered again: `now` is server time, `slack` what
    /// is added to start-by. Returns how many went.
    @discardableResult
    package func sweep(now: Int64, retention: Int64, slack: Int64) throws(FileError) -> Int {
        var removed = 0
        for name in try jobs.names() {
            guard CommandID(name) != nil, let folder = try? jobs.open(name), try folder.contains(Self.tombstone) else { continue }
            let tombstone = Self.decode(JobTombstone.self, try folder.read(Self.tombstone, atMost: 65536))
            let finishedAt = tombstone?.finishedAt ?? folder.modificationTime() * 1000
            guard finishedAt < now - retention, (tombstone?.startBy).map({ $0 < now - slack }) ?? true else { continue }
            try jobs.removeTree(name)
            removed += 1
        }
        return removed
    }

    private static func encode(_ value: some Encodable) -> [UInt8]? { try? JSONCoding.encode(value) }

    private static func decode<T: Decodable>(_ type: T.Type, _ bytes: [UInt8]?) -> T? {
        bytes.flatMap { try? JSONCoding.decode(type, from: $0) }
    }
}

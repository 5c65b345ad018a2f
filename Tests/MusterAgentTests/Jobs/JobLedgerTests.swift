import Glibc
import MusterAgent
import MusterWire
import Testing

@Suite struct JobLedgerTests {
    private let temporary: TemporaryFolder
    private let id = CommandID.random()
    private let node = NodeID.random()

    init() throws { temporary = try TemporaryFolder() }

    private var jobs: String { temporary.path + "/jobs" }
    private var job: String { jobs + "/" + id.rawValue }

    private func record(startBy: Int64? = 1000) -> JobRecord {
        JobRecord(
            jobID: JobID(command: id, node: node), acceptedAt: 1,
            content: SendCommandContent(
                parameters: [:], documentContent: .object([:]), commandID: id.rawValue, documentName: "D", startBy: startBy,
                identityGeneration: 1,
                storeEpoch: "e", dispatchFence: 7))
    }

    private func cancel() throws -> JobLedger.Cancellation { try open().cancel(JobID(command: id, node: node), at: 1) }

    private func open() throws -> JobLedger { try JobLedger(stateDirectory: temporary.path) }

    @Test func anAcceptedJobIsThereAfterReopening() throws {
        let given = record()
        do {
            let ledger = try open()
            #expect(try ledger.accept(given, as: id))
            #expect(try !ledger.accept(given, as: id), "the same again")
        }
        let found = try open().open()
        #expect(found.jobs.map(\.record) == [given])
        #expect(found.jobs.first?.isStarted == false)
        #expect(try open().record(id)?.content.dispatchFence == 7)
    }

    /// Where a full disk has room for nothing but what the acceptance has reserved.
    @Test func aJobReportedAsEndedIsNeverTakenUpAgain() throws {
        #expect(try open().accept(record(), as: id))
        var facts = stat()
        #expect(stat(job + "/.end", &facts) == 0 && facts.st_size == 4096 && facts.st_blocks >= 8)
        try open().close(id, outcome: "Failed", finishedAt: 2)
        #expect(try open().open().jobs.isEmpty)
        #expect(try open().isKnown(id))
        #expect(try !open().accept(record(), as: id))
    }

    @Test func onlyOneAgentWorksInAFolder() throws {
        let ledger = try open()
        let error = #expect(throws: FileError.self) { try open() }
        #expect(error?.description.contains("Another agent") == true)
        withExtendedLifetime(ledger) {}
    }

    /// The folder is there, the record is not or not whole: nothing was acknowledged.
    @Test(arguments: [-1, 0, 10, 200])
    func aHalfAcceptedJobMayBeDeliveredAgain(_ length: Int) throws {
        _ = try open()
        do {
            let folder = try Folder.open(jobs).create(id.rawValue)
            let whole = try JSONCoding.encode(record())
            if length >= 0 { try folder.createFile("job.json", containing: Array(whole.prefix(length))) }
        }
        #expect(try open().open().jobs.isEmpty)
        #expect(try open().accept(record(), as: id))
        #expect(try open().open().jobs.count == 1)
    }

    @Test func everyStepOfTheWayIsFoundAgain() throws {
        #expect(try open().accept(record(), as: id))
        // The step is being written: not begun.
        _ = try Folder.open(job).create(".new-one")
        #expect(try open().step("one", of: id) == nil)
        // Begun.
        do {
            let step = try open().beginStep("one", of: id, script: [1], order: [2], bootID: "boot")
            #expect(try step.read(StepFolder.started, atMost: 10) == Array("boot".utf8))
            #expect(throws: FileError.self) { try open().beginStep("one", of: id, script: [1], order: [2], bootID: "boot") }
        }
        #expect(try open().step("one", of: id) != nil)
        #expect(try open().open().jobs.first?.isStarted == false)
        // Launched.
        try Folder.open(job + "/step.one").createFile(StepFolder.launched, containing: [])
        #expect(try open().open().jobs.first?.isStarted == true)
        // The reply, half and whole.
        try Folder.open(job).createFile("reply.json", containing: Array("{\"jobId\":".utf8))
        #expect(try open().open().jobs.first?.hasReply == false)
        try open().store(AgentJobReply(jobID: "j", content: "{}"), of: id, sync: true)
        #expect(try open().open().jobs.first?.hasReply == true)
        // Acknowledged.
        try Folder.open(job + "/step.one").createFile(StepFolder.standardOutput, containing: [3])
        try open().bury(id, outcome: "Success", finishedAt: 500)
        #expect(try open().open().jobs.isEmpty)
        #expect(try open().isKnown(id))
        #expect(try !open().accept(record(), as: id))
        #expect(try Folder.open(job).names() == ["step.one", "tombstone.json"])
        #expect(
            try Folder.open(job + "/step.one").names() == [StepFolder.launched, StepFolder.started, StepFolder.standardOutput].sorted())
    }

    @Test func aLostTombstoneStillStandsInTheWay() throws {
        #expect(try open().accept(record(), as: id))
        _ = try open().beginStep("one", of: id, script: [1], order: [2], bootID: "boot")
        unlink(job + "/job.json")
        #expect(try open().isKnown(id))
        #expect(try open().open().strangers == [id.rawValue])
    }

    @Test func tombstonesStayForRetentionAndStartBy() throws {
        #expect(try open().accept(record(startBy: 10_000), as: id))
        try open().bury(id, outcome: "Success", finishedAt: 500)
        #expect(try open().sweep(now: 5000, retention: 1000, slack: 100) == 0, "start-by has not passed")
        #expect(try open().sweep(now: 10_101, retention: 50_000, slack: 100) == 0, "the retention has not passed")
        #expect(try open().sweep(now: 10_101, retention: 1000, slack: 100) == 1)
        #expect(try !open().isKnown(id))
    }

    @Test func cancellation() throws {
        #expect(try open().accept(record(), as: id))
        #expect(try cancel() == .marked)
        #expect(try cancel() == .marked)
        #expect(try open().open().jobs.first?.isCancelled == true)
        try open().bury(id, outcome: "Cancelled", finishedAt: 1)
        #expect(try cancel() == .over)
    }

    @Test func whatIsCancelledBeforeItComesIsNotTaken() throws {
        #expect(try cancel() == .neverArrived)
        #expect(try cancel() == .neverArrived)
        #expect(try !open().accept(record(), as: id))
        #expect(try open().isKnown(id))
        #expect(try open().open().jobs.isEmpty)
        #expect(try open().sweep(now: 5000, retention: 1000, slack: 100) == 1)
    }

    /// The acceptance was never acknowledged.
    @Test func aHalfAcceptedJobIsNotAJobToCancel() throws {
        #expect(try open().accept(record(), as: id))
        unlink(job + "/job.json")
        #expect(try cancel() == .neverArrived)
        #expect(try !open().accept(record(), as: id))
    }

    @Test func plantedLinksAreRefused() throws {
        mkdir(temporary.path + "/elsewhere", 0o700)
        symlink(temporary.path + "/elsewhere", jobs)
        #expect(throws: FileError.self) { try open() }
        unlink(jobs)
        _ = try open()
        symlink(temporary.path + "/elsewhere", job)
        #expect(throws: FileError.self) { try open().accept(record(), as: id) }
        #expect(try open().open().strangers == [id.rawValue])
        #expect(try Folder.open(temporary.path + "/elsewhere").names().isEmpty)
        unlink(job)
        #expect(try open().accept(record(), as: id))
        symlink(temporary.path + "/elsewhere", job + "/step.one")
        #expect(throws: FileError.self) { try open().step("one", of: id) }
        #expect(throws: FileError.self) { try open().beginStep("one", of: id, script: [1], order: [2], bootID: "b") }
        #expect(throws: FileError.self) { try open().beginStep("../../x", of: id, script: [1], order: [2], bootID: "b") }
        #expect(try Folder.open(temporary.path + "/elsewhere").names().isEmpty)
    }
}

package import FoundationEssentials
package import MusterWire

/// A job as it was accepted: the file `job.json` of its folder.
package struct JobRecord: Codable, Sendable, Equatable {
    package var jobID: String
    /// The message id of the final reply, chosen now, so that the reply is the same message however often it is sent.
    package var replyID: UUID
    /// Server time in epoch milliseconds.
    package var acceptedAt: Int64
    package var content: SendCommandContent

    package init(jobID: JobID, replyID: UUID = UUID(), acceptedAt: Int64, content: SendCommandContent) {
        self.jobID = jobID.description
        self.replyID = replyID
        self.acceptedAt = acceptedAt
        self.content = content
    }
}

/// What remains of a job whose reply was acknowledged, or that was cancelled before it came: enough to answer a late delivery
/// without running it.
package struct JobTombstone: Codable, Sendable, Equatable {
    package var jobID: String
    package var outcome: String
    /// Server time in epoch milliseconds; nil when the job had no such limit.
    package var startBy: Int64?
    package var finishedAt: Int64
    /// True of one that was cancelled before it came.
    package var neverArrived: Bool?

    package init(jobID: String, outcome: String, startBy: Int64?, finishedAt: Int64, neverArrived: Bool? = nil) {
        self.jobID = jobID
        self.outcome = outcome
        self.startBy = startBy
        self.finishedAt = finishedAt
        self.neverArrived = neverArrived
    }
}

/// Where one target of a command stands: the pair of Status and StatusDetails that Systems Manager shows
/// ("Understanding command statuses", AWS Systems Manager User Guide).
package enum InvocationState: UInt8, Sendable, CaseIterable {
    case pending
    /// Offered and certainly not taken: the node had no connection or no room. Holds no slot.
    case delayed
    case inProgress
    /// Sent, but nothing has been heard since: the node may have it.
    case inProgressDelayed
    case cancelling
    case success
    case failed
    case undeliverable
    case invalidPlatform
    case accessDenied
    case executionTimedOut
    case deliveryTimedOut
    case cancelled
    case terminated

    package var status: String {
        switch self {
        case .pending: "Pending"
        case .delayed: "Delayed"
        case .inProgress, .inProgressDelayed: "InProgress"
        case .cancelling: "Cancelling"
        case .success: "Success"
        case .failed, .undeliverable, .invalidPlatform, .accessDenied: "Failed"
        case .executionTimedOut, .deliveryTimedOut: "TimedOut"
        case .cancelled, .terminated: "Cancelled"
        }
    }

    package var details: String {
        switch self {
        case .pending: "Pending"
        case .delayed, .inProgressDelayed: "Delayed"
        case .inProgress: "InProgress"
        case .cancelling: "Cancelling"
        case .success: "Success"
        case .failed: "Failed"
        case .undeliverable: "Undeliverable"
        case .invalidPlatform: "InvalidPlatform"
        case .accessDenied: "AccessDenied"
        case .executionTimedOut: "ExecutionTimedOut"
        case .deliveryTimedOut: "DeliveryTimedOut"
        case .cancelled: "Cancelled"
        case .terminated: "Terminated"
        }
    }

    package init?(status: String, details: String) {
        guard let found = Self.allCases.first(where: { $0.details == details && $0.status == status }) else { return nil }
        self = found
    }

    package var isFinal: Bool { rawValue >= Self.success.rawValue }
    /// The node may have the job: it counts against MaxConcurrency.
    package var isInFlight: Bool { (Self.inProgress.rawValue...Self.cancelling.rawValue).contains(rawValue) }
    /// Only these two spend the error budget.
    package var isError: Bool { self == .failed || self == .executionTimedOut }
}

/// Why an invocation ended without a result of its node, in words for people.
package enum InvocationReason: Sendable, Equatable {
    case notDelivered
    case noResult
    case outcomeUnknown
    case neverSent
    case deregistered
    case identityReplaced
    case refused(code: String)
    case budgetSpent

    package var text: String {
        switch self {
        case .notDelivered: "The node did not take the command before its delivery deadline. Nothing was run."
        case .noResult:
            "The node took or may have taken the command and sent no result before the total timeout. The outcome is unknown."
        case .outcomeUnknown:
            "The cancellation was not confirmed by the node in time. The outcome is unknown: the command may have run."
        case .neverSent: "The command was cancelled before the node received it. Nothing was run."
        case .deregistered: "The node was deregistered before it sent a result."
        case .identityReplaced: "The node was registered anew after the command was sent: the new identity inherits nothing."
        case .refused(let code): "The agent refused the command with code \(code). Nothing was run."
        case .budgetSpent: "The error limit of the command was exceeded before it was sent to this node. Nothing was run."
        }
    }
}

/// Where a whole command stands.
package enum CommandState: UInt8, Sendable, CaseIterable {
    case pending
    case inProgress
    case cancelling
    case success
    case cancelled
    case failed
    case incomplete
    case noInstancesInTag
    case accessDenied
    case executionTimedOut
    case deliveryTimedOut

    package var status: String {
        switch self {
        case .pending: "Pending"
        case .inProgress: "InProgress"
        case .cancelling: "Cancelling"
        case .success: "Success"
        case .cancelled: "Cancelled"
        // Incomplete and the others below have no documented Status; waiters and scripts must not take them for success.
        case .failed, .incomplete, .noInstancesInTag, .accessDenied: "Failed"
        case .executionTimedOut, .deliveryTimedOut: "TimedOut"
        }
    }

    package var details: String {
        switch self {
        case .incomplete: "Incomplete"
        case .noInstancesInTag: "NoInstancesInTag"
        case .accessDenied: "AccessDenied"
        case .executionTimedOut: "ExecutionTimedOut"
        case .deliveryTimedOut: "DeliveryTimedOut"
        default: status
        }
    }

    package init?(status: String, details: String) {
        guard let found = Self.allCases.first(where: { $0.details == details && $0.status == status }) else { return nil }
        self = found
    }

    package var isFinal: Bool { rawValue >= Self.success.rawValue }
}

/// How many invocations of a command stand where, and what that makes of the command.
package struct CommandTally: Sendable, Equatable {
    private var counts = [Int](repeating: 0, count: InvocationState.allCases.count)
    package private(set) var targets = 0

    package init() {}

    package subscript(_ status: InvocationState) -> Int { counts[Int(status.rawValue)] }

    package mutating func add(_ status: InvocationState) {
        counts[Int(status.rawValue)] += 1
        targets += 1
    }

    package mutating func move(from old: InvocationState, to new: InvocationState) {
        counts[Int(old.rawValue)] -= 1
        counts[Int(new.rawValue)] += 1
    }

    package var open: Int { self[.pending] + self[.delayed] + self[.inProgress] + self[.inProgressDelayed] + self[.cancelling] }
    package var inFlight: Int { self[.inProgress] + self[.inProgressDelayed] + self[.cancelling] }
    package var completed: Int { targets - open }
    package var errors: Int { self[.failed] + self[.executionTimedOut] }

    /// The rules do not depend on the order in which results came, so that a restarted controller reaches the same end.
    package func status(isCancelRequested: Bool, allowedErrors: Int) -> CommandState {
        if targets == 0 { return .noInstancesInTag }
        if open > 0 {
            if isCancelRequested { return .cancelling }
            return self[.pending] + self[.delayed] == targets ? .pending : .inProgress
        }
        if isCancelRequested, self[.cancelled] > 0 { return .cancelled }
        if errors > allowedErrors { return self[.executionTimedOut] > self[.failed] ? .executionTimedOut : .failed }
        if self[.success] == targets { return .success }
        if self[.deliveryTimedOut] > allowedErrors { return .deliveryTimedOut }
        if self[.accessDenied] == targets { return .accessDenied }
        let unreached = self[.undeliverable] + self[.invalidPlatform] + self[.accessDenied]
        if unreached == targets { return .failed }
        if unreached + self[.success] == targets { return .success }
        if self[.cancelled] == targets { return .cancelled }
        return .incomplete
    }
}

/// What the command's own row shows.
package struct CommandProgress: Sendable, Equatable {
    package var status: CommandState
    package var targetCount: Int
    package var completedCount: Int
    package var errorCount: Int
    package var deliveryTimedOutCount: Int
}

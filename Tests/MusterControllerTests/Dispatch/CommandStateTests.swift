import Testing

@testable import MusterController

@Suite struct CommandStateTests {
    @Test(
        arguments: [
            ([], 0, false, CommandState.noInstancesInTag),
            ([.pending, .delayed], 0, false, .pending),
            ([.pending, .success], 0, false, .inProgress),
            ([.inProgressDelayed], 0, false, .inProgress),
            ([.inProgress, .cancelled], 0, true, .cancelling),
            ([.success, .success], 0, false, .success),
            ([.success, .failed], 0, false, .failed),
            ([.success, .failed], 1, false, .incomplete),
            ([.failed], 1, false, .incomplete),
            ([.success, .executionTimedOut], 0, false, .executionTimedOut),
            ([.failed, .executionTimedOut], 0, false, .failed),
            ([.success, .deliveryTimedOut], 0, false, .deliveryTimedOut),
            ([.success, .deliveryTimedOut], 1, false, .incomplete),
            ([.failed, .terminated, .success], 0, false, .failed),
            ([.undeliverable, .undeliverable], 0, false, .failed),
            ([.invalidPlatform], 0, false, .failed),
            ([.accessDenied], 0, false, .accessDenied),
            ([.success, .success, .success, .success, .undeliverable], 0, false, .success),
            ([.success, .invalidPlatform], 0, false, .success),
            ([.cancelled, .cancelled], 0, false, .cancelled),
            ([.cancelled, .success], 0, false, .incomplete),
            ([.cancelled, .success], 0, true, .cancelled),
            ([.success, .success], 0, true, .success),
            ([.failed, .cancelled], 0, true, .cancelled),
        ] as [([InvocationState], Int, Bool, CommandState)])
    func aggregate(_ statuses: [InvocationState], _ allowed: Int, _ cancel: Bool, _ expected: CommandState) {
        var tally = CommandTally()
        for status in statuses { tally.add(status) }
        #expect(tally.status(isCancelRequested: cancel, allowedErrors: allowed) == expected)
    }

    @Test func namesAreUniqueAndReadBack() {
        for status in InvocationState.allCases {
            #expect(InvocationState(status: status.status, details: status.details) == status)
        }
        for status in CommandState.allCases {
            #expect(CommandState(status: status.status, details: status.details) == status)
        }
    }
}

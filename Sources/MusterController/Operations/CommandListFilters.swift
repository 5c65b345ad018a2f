import MusterWire

/// The filters of ListCommands and of ListCommandInvocations, which differ in one key and in the values of Status.
/// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_CommandFilter.html
struct CommandListFilters: Sendable {
    static let commands = CommandListFilters(
        keys: ["InvokedAfter", "InvokedBefore", "Status", "ExecutionStage", "DocumentName"],
        statuses: ["Pending", "InProgress", "Success", "Cancelled", "Failed", "TimedOut", "Cancelling"],
        details: [
            "AccessDenied", "DeliveryTimedOut", "ExecutionTimedOut", "Incomplete", "NoInstancesInTag", "LimitExceeded", "RateExceeded",
        ])
    static let invocations = CommandListFilters(
        keys: ["InvokedAfter", "InvokedBefore", "Status", "DocumentName"],
        statuses: ["Pending", "InProgress", "Delayed", "Success", "Cancelled", "Failed", "TimedOut", "Cancelling"],
        details: ["AccessDenied", "DeliveryTimedOut", "ExecutionTimedOut", "Undeliverable", "InvalidPlatform", "Terminated"])

    let keys: [String]
    /// Values that mean a Status, and those that mean a StatusDetails.
    let statuses: [String]
    let details: [String]

    func apply(_ filters: [CommandFilter], to selection: inout CommandStore.Selection) throws {
        try ListFilters.forEach(filters.map { ($0.key, $0.value) }, keys: keys) { key, value in
            switch key {
            case "InvokedAfter": selection.after = try ListFilters.time(value, key)
            case "InvokedBefore": selection.before = try ListFilters.time(value, key)
            case "DocumentName": selection.documentName = value
            case "ExecutionStage":
                guard value == "Executing" || value == "Complete" else {
                    throw APIError.validation("The filter ExecutionStage takes Executing or Complete.")
                }
                selection.isComplete = value == "Complete"
            default:
                if statuses.contains(value) {
                    selection.status = value
                } else if details.contains(value) {
                    selection.details = value
                } else {
                    throw APIError.validation("The filter Status takes \((statuses + details).joined(separator: ", ")).")
                }
            }
        }
    }
}

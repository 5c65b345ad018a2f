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
        var seen: Set<String> = []
        for filter in filters {
            let key = try filter.key.required("filters.key")
            let value = try filter.value.required("filters.value")
            guard keys.contains(key) else {
                throw APIError.invalidFilterKey("'\(key)' is not a filter here: use \(keys.joined(separator: ", ")).")
            }
            guard seen.insert(key).inserted else { throw APIError.validation("The filter \(key) is given twice.") }
            switch key {
            case "InvokedAfter": selection.after = try time(value, key)
            case "InvokedBefore": selection.before = try time(value, key)
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

    private func time(_ text: String, _ key: String) throws -> Timestamp {
        guard let time = Timestamp(iso8601: text) else {
            throw APIError.validation("The filter \(key) takes a time such as 2026-07-07T00:00:00Z.")
        }
        return time
    }
}

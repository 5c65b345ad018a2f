import MusterWire

/// The filters of DescribeSessions.
/// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SessionFilter.html
enum SessionFilters {
    static let keys = ["InvokedAfter", "InvokedBefore", "Target", "Owner", "Status", "SessionId", "AccessType"]

    static func apply(_ filters: [SessionFilter], to selection: inout SessionStore.Selection) throws {
        try ListFilters.forEach(filters.map { ($0.key, $0.value) }, keys: keys) { key, value in
            switch key {
            case "InvokedAfter": selection.after = try ListFilters.time(value, key)
            case "InvokedBefore": selection.before = try ListFilters.time(value, key)
            case "Target": selection.target = value
            case "Owner": selection.owner = value
            case "SessionId": selection.session = value
            case "Status":
                guard SessionStatus(rawValue: value) != nil else {
                    throw APIError.validation(
                        "The filter Status takes \(SessionStatus.allCases.map(\.rawValue).joined(separator: ", ")).")
                }
                selection.status = value
            default:
                guard value == "Standard" || value == "JustInTime" else {
                    throw APIError.validation("The filter AccessType takes Standard or JustInTime.")
                }
                selection.accessType = value
            }
        }
    }
}

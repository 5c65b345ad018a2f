import MusterWire

/// The filters of DescribeSessions.
/// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SessionFilter.html
enum SessionFilters {
    static let keys = ["InvokedAfter", "InvokedBefore", "Target", "Owner", "Status", "SessionId", "AccessType"]

    static func apply(_ filters: [SessionFilter], to selection: inout SessionStore.Selection) throws {
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

    private static func time(_ text: String, _ key: String) throws -> Timestamp {
        guard let time = Timestamp(iso8601: text) else {
            throw APIError.validation("The filter \(key) takes a time such as 2026-07-07T00:00:00Z.")
        }
        return time
    }
}

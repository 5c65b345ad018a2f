/// One question: may this be done to this resource? [value]
///
/// An operation on several resources (a document and every node) is one request for each; `PolicySet.judge` puts the answers together.
package struct AccessRequest: Sendable, Hashable, Codable {
    /// `ssm:StartSession`
    package var action: String
    /// An ARN, or `*` for operations that have no resource of their own.
    package var resource: String
    package var keys: ConditionKeys

    /// `ssm`
    var service: String { String(action.prefix { $0 != ":" }) }

    package init(action: String, resource: String = "*", keys: ConditionKeys = ConditionKeys()) {
        self.action = action
        self.resource = resource
        self.keys = keys
    }
}

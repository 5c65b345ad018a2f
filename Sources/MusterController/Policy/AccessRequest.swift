/// One question: may this be done to this resource? [value]
///
/// An operation on several resources (a document and every node) is one request for each; `PolicySet.judge` puts the answers together.
package struct AccessRequest: Sendable, Hashable, Codable {
    /// `ssm:StartSession`
    package var action: String
    /// An ARN, or `*` for operations that have no resource of their own.
    package var resource: String
    package var keys: ConditionKeys

    package init(action: String, resource: String = "*", keys: ConditionKeys = ConditionKeys()) {
        self.action = action
        self.resource = resource
        self.keys = keys
    }
}

/// A request as statements look at it, taken apart once for all of them. [value]
struct PolicyQuestion: Sendable {
    let request: AccessRequest
    /// In lower case.
    let action: String
    let resource: ResourceName
    /// `ssm`
    let service: String
    var keys: ConditionKeys { request.keys }

    init(_ request: AccessRequest) {
        self.request = request
        action = asciiLowercased(request.action)
        resource = ResourceName(request.resource)
        service = String(request.action.utf8.prefix { $0 != UInt8(ascii: ":") }) ?? ""
    }
}

/// Who a signature belongs to. It is an operation of STS (API version 2011-06-15), which many tools call before anything else;
/// on the wire it is a form and an XML answer, see `CallFormat` in the controller and `CallerIdentityCall` in the client.
/// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
package enum GetCallerIdentity: Operation {
    package static let name = "GetCallerIdentity"
    package static let target = OperationTarget.securityToken
    package static let version = "2011-06-15"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package init() {}
        package func validate(_ validation: inout Validation) {}
    }

    package struct Output: Codable, Sendable, Equatable {
        package var account: String
        package var arn: String
        package var userID: String

        package init(account: String, arn: String, userID: String) {
            self.account = account
            self.arn = arn
            self.userID = userID
        }

        enum CodingKeys: String, CodingKey {
            case account = "Account"
            case arn = "Arn"
            case userID = "UserId"
        }
    }
}

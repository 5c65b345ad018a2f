/// A policy that is there from the start and cannot be changed. [value]
package struct BuiltInPolicy: Sendable, Equatable {
    package let name: String
    package let id: String
    package let description: String
    package let document: String

    package static let administratorAccess = BuiltInPolicy(
        name: "AdministratorAccess", id: "ANPAMUSTERADMINISTRAT", description: "Everything.",
        document: #"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#)

    package static let all = [administratorAccess]

    package static func named(_ name: String) -> BuiltInPolicy? {
        all.first { $0.name == name }
    }
}

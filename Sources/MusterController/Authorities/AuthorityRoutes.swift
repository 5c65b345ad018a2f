internal import HTTPTypes
internal import MusterCrypto
internal import MusterWire

/// `AuthorityList`, for operators: join lines pin what the controller issues with, and not what is in a bundle of last year.
package struct AuthorityRoutes: Sendable {
    private let authorities: Authorities

    package init(authorities: Authorities) {
        self.authorities = authorities
    }

    package func register(in table: inout RouteTable) {
        table.register(
            "GetAuthorities", .get, AuthorityList.path, permission: "muster:GetAuthorities", route: .operators, access: .anything, list)
    }

    @Sendable private func list(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        guard call.parts == [""] else {
            throw APIError(code: "ResourceNotFoundException", message: "There is nothing here.", status: 404)
        }
        // The store's, not a second ago's: the line is used for days.
        try await authorities.reload()
        let set = authorities.current
        return try RouteAnswer(
            json: AuthorityList(pin: AuthoritySet.pin(set.issuing.certificate), authorities: set.trusted.map { $0.pem() }))
    }
}

internal import HTTPTypes
internal import MusterWire

/// `muster policy simulate`: a question that changes nothing. [routes]
package struct SimulationRoutes: Sendable {
    private let database: any SQLDatabase
    private let policies: PolicyReader

    package init(database: any SQLDatabase, policies: PolicyReader) {
        self.database = database
        self.policies = policies
    }

    package func register(in table: inout RouteTable) {
        table.register(
            "SimulatePolicy", .post, SimulationOrder.path, permission: "muster:SimulatePolicy", route: .operators, access: .anything,
            bodyBytes: PolicyDocument.maximumBytes * 2, bodies: 8, simulate)
    }

    @Sendable private func simulate(_ call: RouteCall, _ context: OperationContext) async throws -> RouteAnswer {
        guard call.parts == [""] else {
            throw APIError(code: "ResourceNotFoundException", message: "There is nothing here.", status: 404)
        }
        let order: SimulationOrder
        do {
            order = try JSONCoding.decode(SimulationOrder.self, from: call.body)
        } catch {
            throw APIError.serialization(JSONCoding.explain(error))
        }
        guard order.user != nil || order.role == nil else { throw APIError.validation("A Role is somebody's: give its User too.") }
        switch (order.user, order.policy) {
        case (let user?, nil):
            do {
                try PolicySimulation.check(action: order.action, context: order.context)
            } catch {
                throw APIError.validation(error.description)
            }
            return try RouteAnswer(json: try await simulate(order, user, context))
        case (nil, let text?):
            do {
                return try RouteAnswer(
                    json: PolicySimulation.answer(
                        policy: Array(text.utf8), named: "given", action: order.action, resource: order.resource, context: order.context,
                        now: context.now))
            } catch let error as PolicyError {
                throw APIError.malformedPolicy(error.description)
            }
        default: throw APIError.validation("Give User or Policy, one of them.")
        }
    }

    /// As this user, now, from the caller's address, with the tags that user and node have; `Context` replaces what it names.
    private func simulate(_ order: SimulationOrder, _ name: String, _ context: OperationContext) async throws -> SimulationAnswer {
        try await database.read { [policies] tx in
            guard let user = try UserStore.user(name, in: tx) else { throw APIError.noSuchEntity("There is no user \(name.prefix(64)).") }
            let role = try order.role.map { name in
                guard let group = try GroupStore.groups(of: user.name, in: tx).first(where: { $0.name == name }) else {
                    throw APIError.noSuchEntity("\(user.name) is in no group \(name.prefix(64)), and assumes no role of that name.")
                }
                return Principal.Role(group: group.name, groupID: group.id, session: "simulation")
            }
            let principal = Principal(user: user.name, userID: user.id, role: role, accessKeyID: "")
            let node = order.resource.split(separator: "/").last.flatMap { NodeID(String($0)) }
            let access = GrantedAccess(
                principal: principal, action: order.action, targets: [AccessTarget(order.resource, node: node)], account: context.account,
                region: context.requestedRegion, sourceAddress: context.caller.sourceAddress, userAgent: "")
            let given = ConditionKeys(order.context)
            let requests = try AccessCheck.requests(access, tags: nil, now: context.now, in: tx).map { request in
                AccessRequest(action: request.action, resource: request.resource, keys: request.keys.merging(given))
            }
            return PolicySimulation.answer(try policies.set(of: principal, in: tx), requests[0])
        }
    }
}

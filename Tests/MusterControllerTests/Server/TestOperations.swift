import MusterController
import MusterWire

/// Operations that say who they think calls.
enum TestOperations {
    static func table(_ identity: IdentityOperations) -> OperationTable {
        var table = OperationTable()
        table.register(Echo.self, permission: "ssm:Echo", route: .operators, access: .anything, changes: false) { input, context in
            if input.text == "fail" { throw Broken() }
            return .init(
                text: "\(context.caller.arn) \(context.region) \(context.node == nil) \(input.text ?? "")",
                retry: context.retry?.invocationID)
        }
        table.register(NodeEcho.self, permission: "ssm:NodeEcho", route: .nodes, access: .certificate, changes: false) { input, context in
            .init(text: "\(context.node.map(\.description) ?? "nobody") \(input.text ?? "")", retry: nil)
        }
        table.register(JoinEcho.self, permission: "ssm:JoinEcho", route: .enrolment, access: .certificate, changes: false) {
            input, context in
            .init(text: "\(context.caller.arn) \(context.node.map(\.description) ?? "nobody")", retry: nil)
        }
        identity.register(in: &table)
        return table
    }

    struct Broken: Error {}

    struct Input: Codable, Sendable, Validatable {
        var text: String?
        var later: JSONValue?

        func validate(_ validation: inout Validation) { validation.string("text", text, .required, .maximum(2_000_000)) }
        var unserved: [String] { later == nil ? [] : ["later"] }
    }

    struct Output: Codable, Sendable {
        var text: String
        var retry: String?
    }

    enum Echo: Operation {
        typealias Input = TestOperations.Input
        typealias Output = TestOperations.Output
        static let name = "Echo"
    }

    enum NodeEcho: Operation {
        typealias Input = TestOperations.Input
        typealias Output = TestOperations.Output
        static let name = "NodeEcho"
    }

    enum JoinEcho: Operation {
        typealias Input = TestOperations.Input
        typealias Output = TestOperations.Output
        static let name = "JoinEcho"
    }
}

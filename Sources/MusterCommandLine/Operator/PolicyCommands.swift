import FoundationEssentials
import MusterClient
import MusterWire

/// `muster policy simulate`: 0 if it would be allowed, 1 if not.
package struct PolicyCommands: Sendable {
    private static let maximumBytes = 65_536

    let caller: Operator
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        self.caller = caller
        self.printer = printer
    }

    package func simulate(
        user: String?, role: String?, file: String?, action: String, resource: String, context: [String]
    ) async throws -> Int32 {
        guard (user == nil) != (file == nil) else { throw CommandLineError("Name a user (--user) or a file with a policy (--policy).") }
        guard user != nil || role == nil else { throw CommandLineError("--role takes the user who is in it as well (--user).") }
        var keys: [String: [String]] = [:]
        for text in context {
            guard let split = text.firstIndex(of: "="), split != text.startIndex else {
                throw CommandLineError("--context takes KEY=VALUE, and '\(text)' is not.")
            }
            keys[String(text[..<split]), default: []].append(String(text[text.index(after: split)...]))
        }
        var policy: String?
        if let file {
            guard let data = try? Data(contentsOf: URL(filePath: file)) else {
                throw CommandLineError("Cannot read \(file): there is no such file, or it is not yours to read.")
            }
            guard data.count <= Self.maximumBytes else { throw CommandLineError("\(file) is larger than a policy may be.") }
            policy = String(decoding: data, as: UTF8.self)
        }
        let order = SimulationOrder(user: user, role: role, policy: policy, action: action, resource: resource, context: keys)
        let answer = try JSONCoding.decode(
            SimulationAnswer.self, from: try await caller.api.post(SimulationOrder.path, body: try JSONCoding.encode(order)))
        if printer.format == .table {
            printer.out("\(answer.decision): \(action) on \(resource) \(answer.reason)")
            for statement in answer.statements { printer.out("  \(statement)") }
        } else {
            var table = Table(["DECISION", "REASON"])
            table.add([answer.decision, answer.reason])
            try printer.structured(answer, table)
        }
        return answer.decision == "allowed" ? 0 : 1
    }
}

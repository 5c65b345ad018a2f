import FoundationEssentials
import MusterClient
import MusterWire

/// `muster policy`: policies over the network, and what they would decide.
package struct PolicyCommands: Sendable {
    private static let maximumBytes = 65_536

    let caller: Operator
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        self.caller = caller
        self.printer = printer
    }

    private var directory: CallerDirectory { CallerDirectory(api: caller.api) }

    package func list() async throws -> Int32 {
        let policies = try await directory.policies()
        var table = Table(["POLICY", "VERSION", "WHO HAS IT"])
        for policy in policies {
            table.add([policy.name, policy.version, policy.holders.isEmpty ? "nobody" : policy.holders.joined(separator: ", ")])
        }
        try printer.data(policies, table)
        return 0
    }

    /// With a holder, what that user or group alone has.
    package func show(_ name: String, of holder: Holder?) async throws -> Int32 {
        let text =
            if let holder { try await directory.inlinePolicy(name, of: holder) } else { try await directory.policy(name) }
        guard printer.format != .table, let value = try? JSONCoding.decode(JSONValue.self, from: Array(text.utf8)) else {
            printer.out(Table.terminalSafe(text, keeping: ["\t", "\n"]))
            return 0
        }
        var table = Table(["POLICY", "DOCUMENT"])
        table.add([name, text])
        try printer.structured(value, table)
        return 0
    }

    package func put(_ name: String, file: String) async throws -> Int32 {
        let isReplaced = try await directory.put(name, try Self.read(file))
        printer.note(
            isReplaced
                ? "Saved the policy \(name). It counts from the next call on for everybody who has it."
                : "Saved the policy \(name). Nobody has it yet: muster policy attach \(name) --user NAME or --group NAME")
        return 0
    }

    package func attach(_ name: String, to holder: Holder) async throws -> Int32 {
        try await directory.attach(try await directory.arn(ofPolicy: name), to: holder)
        printer.note("\(holder.words) has the policy \(name).")
        return 0
    }

    package func detach(_ name: String, from holder: Holder) async throws -> Int32 {
        try await directory.detach(try await directory.arn(ofPolicy: name), from: holder)
        printer.note("\(holder.words) no longer has the policy \(name).")
        return 0
    }

    package func delete(_ name: String) async throws -> Int32 {
        try await directory.deletePolicy(try await directory.arn(ofPolicy: name))
        printer.note("Deleted the policy \(name).")
        return 0
    }

    private static func read(_ file: String) throws -> String {
        guard let data = try? Data(contentsOf: URL(filePath: file)) else {
            throw CommandLineError("Cannot read \(file): there is no such file, or it is not yours to read.")
        }
        guard data.count <= maximumBytes else { throw CommandLineError("\(file) is larger than a policy may be.") }
        return String(decoding: data, as: UTF8.self)
    }

    /// 0 if it would be allowed, 1 if not.
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
        let policy = try file.map { try Self.read($0) }
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

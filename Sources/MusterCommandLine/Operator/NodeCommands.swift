import MusterClient
import MusterCrypto
import MusterWire

/// `muster nodes`, `enroll`, `deregister` and `tag`. Each returns the exit status.
package struct NodeCommands: Sendable {
    let caller: Operator
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        self.caller = caller
        self.printer = printer
    }

    package func list() async throws -> Int32 {
        let nodes = try await NodeDirectory.load(caller.api).nodes
        if nodes.isEmpty, printer.format == .table {
            printer.note("There are no managed nodes yet. `muster enroll` prints how to add one.")
            return 0
        }
        try printer.data(nodes, NodeCommands.table(nodes))
        return 0
    }

    static func table(_ nodes: [InstanceInformation]) -> Table {
        var table = Table(
            ["NODE", "NAME", "STATUS", "HOST", "ADDRESS", "PLATFORM", "AGENT", "TAGS"],
            yielding: ["AGENT", "PLATFORM", "ADDRESS", "HOST", "TAGS"])
        let sorted = nodes.sorted { ($0.givenName ?? "~", $0.instanceID.rawValue) < ($1.givenName ?? "~", $1.instanceID.rawValue) }
        for node in sorted {
            let tags = (node.tags ?? []).map { "\($0.key ?? "")=\($0.value ?? "")" }.sorted().joined(separator: " ")
            let platform = [node.platformName, node.platformVersion].compactMap { $0 }.joined(separator: " ")
            table.add([
                node.instanceID.rawValue, node.givenName ?? "", node.pingStatus.rawValue, node.computerName ?? "", node.ipAddress ?? "",
                platform,
                node.agentVersion ?? "", tags,
            ])
        }
        return table
    }

    private static func words(for node: InstanceInformation) -> String {
        if let name = node.givenName { return " (\(DisplayText.line(name)))" }
        return node.computerName.map { " (which reports the name \(DisplayText.line($0)))" } ?? ""
    }

    package func enroll(limit: Int, hours: Int, name: String?, tags: [String], pin: String?, controller: String?) async throws -> Int32 {
        guard (1...720).contains(hours) else { throw CommandLineError("--hours takes a number from 1 to 720 (30 days).") }
        let pinned = if let pin { pin } else { try await caller.pin() }
        let pairs = try tags.map { try KeyValue.pair($0) }.map { Tag(key: $0.key, value: $0.value) }
        let made = try await caller.api.call(
            CreateActivation.self,
            .init(
                iamRole: "muster", defaultInstanceName: name, registrationLimit: limit,
                expirationDate: Timestamp.now().adding(seconds: Int64(hours) * 3600), tags: pairs.isEmpty ? nil : pairs))
        if printer.format != .table {
            var table = Table(["ACTIVATION", "CODE"])
            table.add([made.activationID.rawValue, made.activationCode])
            try printer.structured(made, table)
            return 0
        }
        let address = controller ?? caller.profile.endpoint.description
        printer.note("On the server, as root (good for \(limit) server\(limit == 1 ? "" : "s"), \(hours) h):")
        // echo is a builtin of the shell: the code does not show up in any process's arguments.
        printer.out(
            "echo '\(made.activationCode)' | muster-agent register --controller \(address) --activation-id \(made.activationID) --pin \(pinned)"
        )
        return 0
    }

    package func deregister(_ word: String, assumeYes: Bool) async throws -> Int32 {
        let node = try await NodeDirectory.load(caller.api).node(named: word, reported: .told(printer.note))
        if !assumeYes {
            guard
                let answer = printer.ask(
                    "Deregister \(node.instanceID) \(Self.words(for: node))? It has to be enrolled again to come back. [y/N]"
                )
            else {
                throw CommandLineError("This would deregister \(node.instanceID); pass --yes to confirm that.")
            }
            guard ["y", "yes"].contains(answer.lowercased()) else { return 2 }
        }
        _ = try await caller.api.call(DeregisterManagedInstance.self, .init(instanceID: node.instanceID.rawValue))
        printer.note("Deregistered \(node.instanceID).")
        return 0
    }

    /// Without changes it shows the tags.
    package func tag(_ word: String, _ changes: [String]) async throws -> Int32 {
        let node = try await NodeDirectory.load(caller.api).node(named: word, reported: .told(printer.note)).instanceID.rawValue
        let removed = changes.filter { $0.hasSuffix("-") && !$0.contains("=") }.map { String($0.dropLast()) }
        let set = try changes.filter { !($0.hasSuffix("-") && !$0.contains("=")) }.map { try KeyValue.pair($0) }.map {
            Tag(key: $0.key, value: $0.value)
        }
        if !set.isEmpty {
            _ = try await caller.api.call(AddTagsToResource.self, .init(resourceType: "ManagedInstance", resourceID: node, tags: set))
        }
        if changes.isEmpty {
            let tags = try await caller.api.call(ListTagsForResource.self, .init(resourceType: "ManagedInstance", resourceID: node)).tagList
            var table = Table(["KEY", "VALUE"])
            for tag in tags { table.add([tag.key ?? "", tag.value ?? ""]) }
            try printer.data(tags, table)
        }
        if !removed.isEmpty {
            _ = try await caller.api.call(
                RemoveTagsFromResource.self, .init(resourceType: "ManagedInstance", resourceID: node, tagKeys: removed))
        }
        return 0
    }
}

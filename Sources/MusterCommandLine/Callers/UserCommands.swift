import MusterClient
import MusterWire

/// `muster user`: users over the network. Each returns the exit status.
package struct UserCommands: Sendable {
    let directory: CallerDirectory
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        directory = CallerDirectory(api: caller.api)
        self.printer = printer
    }

    package func list() async throws -> Int32 {
        let users = try await directory.users()
        var table = Table(["USER", "GROUPS", "POLICIES", "KEYS", "TAGS"])
        for user in users {
            table.add([
                user.name, user.groups.joined(separator: ", "), CallerWords.policies(user.attachedPolicies, user.inlinePolicies),
                user.keys.map { $0.status == "Active" ? $0.id : "\($0.id) (off)" }.joined(separator: ", "),
                user.tags.map { "\($0.key ?? "")=\($0.value ?? "")" }.joined(separator: ", "),
            ])
        }
        try printer.data(users, table)
        return 0
    }

    package func create(_ name: String, tags: [String], groups: [String]) async throws -> Int32 {
        try await directory.createUser(name, tags: try CallerWords.tags(tags))
        for group in groups { try await directory.add(name, to: group) }
        printer.note(
            "Created the user \(name)\(groups.isEmpty ? ", who may do nothing yet: `muster grant` gives rights" : ""). "
                + "Make a key: muster key create \(name)")
        return 0
    }

    package func tag(_ name: String, _ tags: [String]) async throws -> Int32 {
        try await directory.tagUser(name, try CallerWords.tags(tags))
        printer.note("Tagged the user \(name).")
        return 0
    }

    package func untag(_ name: String, _ keys: [String]) async throws -> Int32 {
        try await directory.untagUser(name, keys)
        printer.note("Removed from the user \(name): \(keys.map(Table.printable).joined(separator: ", ")).")
        return 0
    }

    package func delete(_ name: String, assumeYes: Bool) async throws -> Int32 {
        guard let user = try await directory.user(name) else {
            throw CommandLineError("There is no user \"\(Table.printable(name))\". `muster user list` shows them.")
        }
        if try await directory.api.callerIdentity().arn.hasSuffix(":user/\(user.name)") {
            throw CommandLineError(
                "\(user.name) is you: your own key would be gone before the rest is. Let somebody else delete this user.")
        }
        let with = [
            user.keys.isEmpty ? nil : CallerWords.count(user.keys.count, "key", "keys"),
            user.groups.isEmpty ? nil : "the membership of \(user.groups.joined(separator: ", "))",
            user.attachedPolicies.isEmpty && user.inlinePolicies.isEmpty
                ? nil : CallerWords.count(user.attachedPolicies.count + user.inlinePolicies.count, "policy", "policies"),
        ].compactMap { $0 }
        let what = "the user \(user.name)\(with.isEmpty ? "" : " with \(with.joined(separator: ", "))")"
        guard try CallerWords.confirmed("Delete \(what)? Its sessions end at once.", assumeYes, printer) else { return 2 }
        try await directory.delete(user)
        printer.note("Deleted \(what). What was done under that name stays on record.")
        return 0
    }
}

/// `muster group`.
package struct GroupCommands: Sendable {
    let directory: CallerDirectory
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        directory = CallerDirectory(api: caller.api)
        self.printer = printer
    }

    package func list() async throws -> Int32 {
        let groups = try await directory.groups()
        if groups.isEmpty, printer.format == .table {
            printer.note("There are no groups. `muster group create NAME` makes one.")
            return 0
        }
        var table = Table(["GROUP", "MEMBERS", "POLICIES"])
        for group in groups {
            table.add([
                group.name, group.members.joined(separator: ", "), CallerWords.policies(group.attachedPolicies, group.inlinePolicies),
            ])
        }
        try printer.data(groups, table)
        return 0
    }

    package func create(_ name: String) async throws -> Int32 {
        try await directory.createGroup(name)
        printer.note("Created the group \(name). Put users into it: muster group add \(name) USER")
        return 0
    }

    package func add(_ users: [String], to group: String) async throws -> Int32 {
        for user in users {
            try await directory.add(user, to: group)
            printer.note("\(user) is in the group \(group).")
        }
        return 0
    }

    package func remove(_ users: [String], from group: String) async throws -> Int32 {
        for user in users {
            try await directory.remove(user, from: group)
            printer.note("\(user) is no longer in the group \(group).")
        }
        return 0
    }

    package func delete(_ name: String, assumeYes: Bool) async throws -> Int32 {
        guard let group = try await directory.group(name) else {
            throw CommandLineError("There is no group \"\(Table.printable(name))\". `muster group list` shows them.")
        }
        let members = group.members.isEmpty ? "which has no members" : "whose members are \(group.members.joined(separator: ", "))"
        guard try CallerWords.confirmed("Delete the group \(group.name), \(members)? They lose what it gave them.", assumeYes, printer)
        else {
            return 2
        }
        try await directory.delete(group)
        printer.note("Deleted the group \(group.name).")
        return 0
    }
}

enum CallerWords {
    static func policies(_ attached: [String], _ inline: [String]) -> String {
        (attached + inline.map { "\($0) (its own)" }).joined(separator: ", ")
    }

    static func count(_ count: Int, _ one: String, _ more: String) -> String { "\(count) \(count == 1 ? one : more)" }

    static func tags(_ texts: [String]) throws -> [Tag] {
        try texts.map { try KeyValue.pair($0) }.map { Tag(key: $0.key, value: $0.value) }
    }

    /// False if somebody was asked and said no.
    static func confirmed(_ question: String, _ assumeYes: Bool, _ printer: Printer) throws -> Bool {
        if assumeYes { return true }
        guard let answer = printer.ask(question + " [y/N]") else {
            throw CommandLineError("\(question) Pass --yes to confirm that; nothing was changed.")
        }
        return ["y", "yes"].contains(answer.lowercased())
    }
}

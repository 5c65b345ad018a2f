import MusterClient
import MusterWire

/// `muster grant`: a colleague gets one kind of access to some nodes, with everything that takes, in one step.
///
/// Each part of it is done or was done already, so that a call that was interrupted is simply made again. The key comes last: a secret is
/// only shown when all the rest is there.
package struct GrantCommands: Sendable {
    private static let runAsTag = "SSMSessionRunAs"

    package struct Request: Sendable {
        package var holder: Holder
        package var grant: Grant
        /// Words of `--on` that are no targets: names of nodes.
        package var names: [String] = []
        package var isDryRun = false
        package var makesKey = true
        package var assumeYes = false

        package init(_ holder: Holder, _ grant: Grant) {
            self.holder = holder
            self.grant = grant
        }
    }

    let caller: Operator
    let directory: CallerDirectory
    let printer: Printer

    package init(caller: Operator, printer: Printer) {
        self.caller = caller
        directory = CallerDirectory(api: caller.api)
        self.printer = printer
    }

    // MARK: Giving

    private struct Outcome: Encodable {
        var holder: String
        var name: String
        var policy: JSONValue
        var nodes: [String]
        var key: NewKey?

        enum CodingKeys: String, CodingKey {
            case holder = "Holder"
            case name = "PolicyName"
            case policy = "Policy"
            case nodes = "Nodes"
            case key = "AccessKey"
        }
    }

    package func give(_ request: Request) async throws -> Int32 {
        var grant = request.grant
        let nodes = try await NodeDirectory.load(caller.api)
        for name in request.names {
            let id = try nodes.node(named: name, reported: .refused).instanceID.rawValue
            if !grant.nodes.contains(id) { grant.nodes.append(id) }
        }
        guard !grant.nodes.isEmpty || !grant.targets.isEmpty else {
            throw CommandLineError("Say on which nodes: --on tag:KEY=VALUE, or --on NODE.")
        }
        guard grant.nodes.isEmpty || grant.targets.isEmpty else {
            throw CommandLineError("--on takes tags or nodes, not both: make one grant for each.")
        }
        let covered = nodes.nodes.filter(grant.covers)
        // Words that no policy takes are refused before anything is changed.
        try await check(grant.policy)

        let user: UserRecord?
        switch request.holder {
        case .user(let name): user = try await directory.user(name)
        case .group(let name):
            guard grant.runAs == nil else {
                throw CommandLineError("--as goes with a user: it is a tag of the user. Grant the group without it, and tag its members.")
            }
            guard try await directory.group(name) != nil || request.isDryRun else {
                throw CommandLineError("There is no group \"\(Table.printable(name))\". Make it: muster group create \(name)")
            }
            user = nil
        }
        let preference = grant.kind == .shell ? try await RunAsPreference.load(caller.api) : nil
        if request.isDryRun {
            let words = sentence(request.holder, grant, covered, wouldBe: true)
            printer.note("Nothing is changed. \(words) The policy would be \(grant.name) of \(request.holder.words):")
            try show(request.holder, grant, covered, key: nil)
            return 0
        }
        guard try await turnOnRunAs(preference, grant, request) else { return 2 }
        if case .user(let name) = request.holder { try await prepare(name, user, grant) }
        try await directory.putInlinePolicy(grant.name, grant.policy, of: request.holder)
        var key: NewKey?
        if case .user(let name) = request.holder, request.makesKey, user?.keys.contains(where: { $0.status == "Active" }) != true {
            key = try await KeyCommands(caller: caller, printer: printer).make(for: name)
        }
        printer.note("\(sentence(request.holder, grant, covered)) The policy, \(grant.name) of \(request.holder.words):")
        try show(request.holder, grant, covered, key: key)
        advise(grant, preference, user)
        return 0
    }

    /// Without a user of its own the controller would have no policy to refuse it by.
    private func check(_ policy: String) async throws {
        let order = SimulationOrder(user: nil, role: nil, policy: policy, action: "ssm:StartSession", resource: "*", context: [:])
        do {
            _ = try await caller.api.post(SimulationOrder.path, body: try JSONCoding.encode(order))
        } catch let error as APIError where error.code == "AccessDeniedException" {
            // Whoever may grant, but not simulate, hears it from the call that saves the policy.
        }
    }

    private func turnOnRunAs(_ preference: RunAsPreference?, _ grant: Grant, _ request: Request) async throws -> Bool {
        guard let preference, let runAs = grant.runAs, !preference.isOn else { return true }
        let question =
            "Sessions run as the tag \(Self.runAsTag) of their user says only if \(Grant.shellDocument) turns run-as on, and it is off. "
            + "Turn it on, so that \(request.holder.words)'s shells run as \(runAs)? "
            + "Shells of users without that tag, on nodes without it, then need runAsDefaultUser in that document."
        guard try CallerWords.confirmed(question, request.assumeYes, printer) else { return false }
        try await preference.turnOn(caller.api)
        printer.note("Turned run-as on in \(Grant.shellDocument).")
        return true
    }

    private func prepare(_ name: String, _ user: UserRecord?, _ grant: Grant) async throws {
        let tags = grant.runAs.map { [Tag(key: Self.runAsTag, value: $0)] } ?? []
        let words = grant.runAs.map { ", whose sessions run as \($0)" } ?? ""
        guard let user else {
            try await directory.createUser(name, tags: tags)
            printer.note("Created the user \(name)\(words).")
            return
        }
        guard let runAs = grant.runAs else { return }
        let former = user.tags.first { $0.key == Self.runAsTag }?.value
        guard former != runAs else { return }
        try await directory.tagUser(name, tags)
        printer.note("All sessions of \(name) run as \(runAs) from now on\(former.map { " instead of \($0)" } ?? "").")
    }

    private func sentence(_ holder: Holder, _ grant: Grant, _ covered: [InstanceInformation], wouldBe: Bool = false) -> String {
        let what =
            switch grant.kind {
            case .shell: "open shells"
            case .run: "run commands"
            }
        let may = (wouldBe ? "might " : "may ") + what
        let nodes =
            covered.isEmpty
            ? "no node at the moment: check the tag with `muster nodes`"
            : "\(CallerWords.count(covered.count, "node", "nodes")) at the moment: \(names(covered))"
        return "\(holder.words) \(may) on \(Table.printable(grant.on)) (\(nodes))."
    }

    private func names(_ nodes: [InstanceInformation]) -> String {
        // What `muster shell` takes.
        let names = nodes.prefix(5).map { node in
            let tag = node.tags?.first { $0.key == "Name" }?.value
            return Table.printable(tag ?? node.name ?? node.computerName ?? node.instanceID.rawValue)
        }
        return names.joined(separator: ", ") + (nodes.count > 5 ? ", …" : "")
    }

    private func show(_ holder: Holder, _ grant: Grant, _ covered: [InstanceInformation], key: NewKey?) throws {
        if printer.format == .table {
            printer.out(Table.terminalSafe(grant.policy, keeping: ["\n"]))
            if let key { KeyCommands(caller: caller, printer: printer).show(key) }
            return
        }
        let policy = try JSONCoding.decode(JSONValue.self, from: Array(grant.policy.utf8))
        let outcome = Outcome(
            holder: holder.words, name: grant.name, policy: policy, nodes: covered.map(\.instanceID.rawValue), key: key)
        var table = Table(["HOLDER", "POLICY", "DOCUMENT", "ACCESS KEY", "SECRET", "LOGIN"])
        table.add([holder.words, grant.name, grant.policy, key?.id ?? "", key?.secret ?? "", key?.login ?? ""])
        try printer.structured(outcome, table)
    }

    /// Whom the shells run as, where that is not said by the grant.
    private func advise(_ grant: Grant, _ preference: RunAsPreference?, _ user: UserRecord?) {
        guard let preference else { return }
        if let runAs = grant.runAs {
            printer.note("The user \(runAs) has to exist on the nodes.")
        } else if preference.isOn {
            let tag = user?.tags.first { $0.key == Self.runAsTag }?.value
            guard tag == nil, preference.defaultUser == nil else { return }
            printer.note(
                "Nothing says whom these shells run as: pass --as USER, set the tag \(Self.runAsTag) on the nodes, or runAsDefaultUser in \(Grant.shellDocument)."
            )
        } else {
            printer.note("The shells run as the user that sessionRunAsDefault in each node's agent.json5 names; --as USER names one here.")
        }
    }

    // MARK: Listing and taking back

    private struct Entry: Encodable {
        var holder: String
        var name: String
        var what: String
        var on: String
        var hours: String
        var needsReason: Bool
        var runAs: String

        enum CodingKeys: String, CodingKey {
            case holder = "Holder"
            case name = "PolicyName"
            case what = "What"
            case on = "On"
            case hours = "Hours"
            case needsReason = "NeedsReason"
            case runAs = "RunAs"
        }
    }

    package func list(_ holder: Holder?) async throws -> Int32 {
        var held: [(Holder, [String])] = []
        if let holder {
            held = [(holder, try await directory.policies(of: holder).inline)]
        } else {
            held = try await directory.users().map { (.user($0.name), $0.inlinePolicies) }
            held += try await directory.groups().map { (.group($0.name), $0.inlinePolicies) }
        }
        var entries: [Entry] = []
        for (holder, names) in held {
            for name in names where Grant.isName(name) {
                guard let grant = Grant(policy: try await directory.inlinePolicy(name, of: holder)) else {
                    entries.append(
                        Entry(holder: holder.words, name: name, what: "changed by hand", on: "", hours: "", needsReason: false, runAs: ""))
                    continue
                }
                entries.append(
                    Entry(
                        holder: holder.words, name: name, what: grant.what, on: grant.on, hours: grant.hours ?? "",
                        needsReason: grant.needsReason, runAs: grant.runAs ?? ""))
            }
        }
        if entries.isEmpty, printer.format == .table {
            printer.note(
                "There are no grants\(holder.map { " of \($0.words)" } ?? ""). Other policies are in `muster user` and `muster group`.")
            return 0
        }
        var table = Table(["WHO", "GRANT", "WHAT", "ON", "AS", "REASON", "HOURS"])
        for entry in entries {
            table.add([entry.holder, entry.name, entry.what, entry.on, entry.runAs, entry.needsReason ? "yes" : "", entry.hours])
        }
        try printer.data(entries, table)
        return 0
    }

    /// By name, or all that somebody has.
    package func revoke(_ holder: Holder, names: [String], all: Bool) async throws -> Int32 {
        let held = try await directory.policies(of: holder).inline.filter(Grant.isName)
        let chosen = all ? held : names
        if all, held.isEmpty {
            printer.note("\(holder.words) has no grants.")
            return 0
        }
        for name in chosen {
            guard held.contains(name) else {
                let others = held.isEmpty ? "no grants" : "only \(held.joined(separator: ", "))"
                throw CommandLineError("\(holder.words) has no grant \"\(Table.printable(name))\", but \(others).")
            }
        }
        for name in chosen {
            try await directory.deleteInlinePolicy(name, of: holder)
            printer.note("\(holder.words) no longer has \(name). Sessions that it allowed end within a second.")
        }
        return 0
    }
}

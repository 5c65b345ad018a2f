import MusterCrypto
package import MusterWire

/// One kind of access to some nodes, and the policy that says so. [value]
///
/// The policy is an ordinary one of IAM. A grant is read back from its text, so that what is listed is what decides, and what somebody has
/// changed by hand shows as such.
package struct Grant: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        case shell, run
    }

    /// What a shell's user may do besides, each by the documents that do it.
    package enum Extra: String, Sendable, CaseIterable {
        case exec, cp, ssh, forward

        var documents: [String] {
            switch self {
            case .exec: ["AWS-StartNonInteractiveCommand"]
            case .cp: ["Muster-CopyFiles"]
            case .ssh: ["AWS-StartSSHSession"]
            case .forward:
                [
                    "AWS-StartPortForwardingSession", "AWS-StartPortForwardingSessionToRemoteHost",
                    "AWS-StartPortForwardingSessionToSocket",
                ]
            }
        }

        /// Sessions that run nothing on the node, and so have no user there.
        var isConnection: Bool { self == .ssh || self == .forward }
    }

    package static let shellDocument = "SSM-SessionManagerRunShell"
    package static let commandDocument = "AWS-RunShellScript"
    private static let prefix = "grant-"
    private static let longestName = 100

    package var kind: Kind
    /// All of them have to match: `tag:KEY` with the values that will do, or `tag-key` with one key.
    package var targets: [Target] = []
    /// Or nodes by their ids.
    package var nodes: [String] = []
    package var hours: String?
    package var needsReason = false
    /// The user of the nodes whom its shells have to run as.
    package var runAs: String?
    package var extras: Set<Extra> = []

    package init(_ kind: Kind) { self.kind = kind }

    /// What one word of `--on` names besides nodes.
    package mutating func add(_ target: Target) throws {
        guard let key = target.key, let values = target.values, !values.isEmpty else { return }
        if key == "tag-key" {
            guard values.count == 1 else { throw CommandLineError("--on tag-key=KEY takes one key; repeat --on for nodes that have both.") }
        } else if !key.hasPrefix("tag:") {
            // In the ARNs of a policy `*` and `?` stand for anything: only whole ids name nodes.
            for value in values where NodeID(value) == nil {
                throw CommandLineError(
                    "--on \(DisplayText.line(key))=\(DisplayText.line(value)) names no managed node by its id. Name nodes by id or name, or by a tag "
                        + "that they all have: tag:KEY=VALUE, tag-key=KEY.")
            }
            nodes += values.filter { !nodes.contains($0) }
            return
        }
        let name = Self.tag(of: target)
        if targets.contains(where: { Self.tag(of: $0).lowercased() == name.lowercased() }) {
            throw CommandLineError("--on names the tag \(name) twice: write tag:\(name)=A,B for nodes with either value.")
        }
        targets.append(target)
        targets.sort { Self.tag(of: $0) < Self.tag(of: $1) }
    }

    private static func tag(of target: Target) -> String {
        target.key == "tag-key" ? target.values?.first ?? "" : String((target.key ?? "").dropFirst(4))
    }

    // MARK: Words

    /// The same kind of access to the same nodes has the same name: granting it again replaces it.
    package var name: String {
        let parts = targets.flatMap { [Self.tag(of: $0)] + ($0.values ?? []) }
        let readable = ([Self.prefix + kind.rawValue] + parts).joined(separator: "-")
        let isPlain =
            nodes.isEmpty && readable.utf8.count <= Self.longestName
            && targets.allSatisfy { $0.key != "tag-key" && $0.values?.count == 1 }
            && parts.allSatisfy { part in !part.isEmpty && part.utf8.allSatisfy { Self.isPlain($0) } }
        if isPlain { return readable }
        let digest = Hex.encode(SHA256.hash(Array(on.utf8)).prefix(6))
        return "\(Self.prefix)\(kind.rawValue)-\(digest)"
    }

    package static func isName(_ name: String) -> Bool { name.hasPrefix(prefix) }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
        }
    }

    /// The nodes, as `--on` takes them.
    package var on: String {
        (targets.map { "\($0.key ?? "")=\(($0.values ?? []).joined(separator: ","))" } + nodes).joined(separator: " ")
    }

    package var what: String {
        ([kind.rawValue] + Extra.allCases.filter(extras.contains).map(\.rawValue)).joined(separator: ", ")
    }

    /// Whether a node with these tags is meant.
    package func covers(_ node: InstanceInformation) -> Bool {
        if !nodes.isEmpty { return nodes.contains(node.instanceID.rawValue) }
        return targets.allSatisfy { target in
            (node.tags ?? []).contains { tag in
                tag.key?.lowercased() == Self.tag(of: target).lowercased()
                    && (target.key == "tag-key" || target.values?.contains(tag.value ?? "") == true)
            }
        }
    }

    // MARK: The policy

    package var policy: String {
        let statements =
            switch kind {
            case .shell: shellStatements
            case .run: runStatements
            }
        return "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    \(statements.joined(separator: ",\n    "))\n  ]\n}\n"
    }

    private var shellStatements: [String] {
        let programs = [Self.shellDocument] + Extra.allCases.filter { extras.contains($0) && !$0.isConnection }.flatMap(\.documents)
        let connections = Extra.allCases.filter { extras.contains($0) && $0.isConnection }.flatMap(\.documents)
        var statements = [nodeStatement("Nodes", "ssm:StartSession", programs, runAs: runAs)]
        if !connections.isEmpty { statements.append(nodeStatement("Connections", "ssm:StartSession", connections, runAs: nil)) }
        statements.append(Self.documentStatement("ssm:StartSession", programs + connections))
        statements.append(
            #"{"Sid": "Own", "Effect": "Allow", "Action": ["ssm:ResumeSession", "ssm:TerminateSession"],"#
                + "\n     " + #""Resource": "arn:aws:ssm:*:*:session/${aws:username}-?????????????????"}"#)
        statements.append(#"{"Sid": "Names", "Effect": "Allow", "Action": "ssm:DescribeInstanceInformation", "Resource": "*"}"#)
        return statements
    }

    private var runStatements: [String] {
        [
            nodeStatement("Nodes", "ssm:SendCommand", [Self.commandDocument], runAs: nil),
            Self.documentStatement("ssm:SendCommand", [Self.commandDocument]),
            #"{"Sid": "Own", "Effect": "Allow", "Resource": "arn:aws:ssm:*:*:managed-instance/*","# + "\n     "
                + #""Action": ["ssm:ListCommands", "ssm:ListCommandInvocations", "ssm:GetCommandInvocation", "ssm:CancelCommand","#
                + "\n                " + #""muster:GetCommandOutput"],"#
                + "\n     " + #""Condition": {"StringEquals": {"muster:Owner": "${aws:username}"}}}"#,
            #"{"Sid": "Names", "Effect": "Allow", "Action": "ssm:DescribeInstanceInformation", "Resource": "*"}"#,
        ]
    }

    /// The document is a condition here as well: otherwise the documents of one grant would count on the nodes of another.
    private func nodeStatement(_ sid: String, _ action: String, _ documents: [String], runAs: String?) -> String {
        let resource =
            nodes.isEmpty
            ? Self.json("arn:aws:ssm:*:*:managed-instance/*") : Self.json(nodes.map { "arn:aws:ssm:*:*:managed-instance/\($0)" })
        var equals = targets.filter { $0.key != "tag-key" }.map { target in
            "\(Self.json("ssm:resourceTag/\(Self.tag(of: target))")): \(Self.json((target.values ?? []).map(Self.literal)))"
        }
        equals.append("\"ssm:DocumentName\": \(Self.json(documents))")
        if let runAs { equals.append("\"muster:RunAsUser\": \(Self.json(Self.literal(runAs)))") }
        var present = targets.filter { $0.key == "tag-key" }.map { "ssm:resourceTag/\(Self.tag(of: $0))" }
        if needsReason { present.append("muster:Reason") }
        var conditions = ["\"StringEquals\": {\(equals.joined(separator: ", "))}"]
        if !present.isEmpty {
            conditions.append("\"Null\": {\(present.map { "\(Self.json($0)): \"false\"" }.joined(separator: ", "))}")
        }
        if let hours { conditions.append("\"muster:TimeWindow\": {\"aws:CurrentTime\": \(Self.json(hours))}") }
        let line = "{\"Sid\": \"\(sid)\", \"Effect\": \"Allow\", \"Action\": \"\(action)\", \"Resource\": \(resource),"
        return line + "\n     \"Condition\": {\(conditions.joined(separator: ",\n                   "))}}"
    }

    private static func documentStatement(_ action: String, _ documents: [String]) -> String {
        let resources = documents.map { "arn:aws:ssm:*:*:document/\($0)" }
        return "{\"Sid\": \"Documents\", \"Effect\": \"Allow\", \"Action\": \"\(action)\",\n     \"Resource\": \(json(resources))}"
    }

    private static func json(_ text: String) -> String {
        // A string is always written.
        (try? JSONCoding.encode(JSONValue.string(text))).map { String(decoding: $0, as: UTF8.self) } ?? "\"\""
    }

    private static func json(_ texts: [String]) -> String {
        texts.count == 1 ? json(texts[0]) : "[\(texts.map { json($0) }.joined(separator: ", "))]"
    }

    /// What a tag's value says is no variable.
    private static func literal(_ text: String) -> String { text.replacing("$", with: "${$}") }

    private static func plain(_ text: String) -> String { text.replacing("${$}", with: "$") }

    // MARK: Reading it back

    /// Nil for a policy that no grant has written, or that was changed since.
    package init?(policy text: String) {
        guard let document = try? JSONCoding.decode(JSONValue.self, from: Array(text.utf8)),
            let statements = document["Statement"]?.list, let main = statements.first(where: { $0["Sid"]?.texts == ["Nodes"] }),
            let kind = ["ssm:StartSession": Kind.shell, "ssm:SendCommand": .run][main["Action"]?.texts.first ?? ""]
        else { return nil }
        self.init(kind)
        let condition = main["Condition"]
        let equals = condition?["StringEquals"]?.members ?? [:]
        let null = condition?["Null"]?.members ?? [:]
        let tag = "ssm:resourceTag/"
        targets =
            equals.filter { $0.key.hasPrefix(tag) }.map { key, values in
                Target(key: "tag:" + key.dropFirst(tag.count), values: values.texts.map(Self.plain))
            } + null.keys.filter { $0.hasPrefix(tag) }.map { Target(key: "tag-key", values: [String($0.dropFirst(tag.count))]) }
        targets.sort { Self.tag(of: $0) < Self.tag(of: $1) }
        let resources = main["Resource"]?.texts ?? []
        let node = "arn:aws:ssm:*:*:managed-instance/"
        if resources != [node + "*"] { nodes = resources.map { String($0.dropFirst(node.count)) } }
        // For every node there is no grant: such a policy was written by hand.
        guard !nodes.isEmpty || !targets.isEmpty, nodes.allSatisfy({ NodeID($0) != nil }) else { return nil }
        hours = condition?["muster:TimeWindow"]?["aws:CurrentTime"]?.texts.first
        needsReason = null["muster:Reason"] != nil
        runAs = equals["muster:RunAsUser"]?.texts.first.map(Self.plain)
        let documents = statements.first { $0["Sid"]?.texts == ["Documents"] }?["Resource"]?.texts ?? []
        extras = Set(
            Extra.allCases.filter { extra in extra.documents.allSatisfy { documents.contains("arn:aws:ssm:*:*:document/\($0)") } })
        guard (try? JSONCoding.decode(JSONValue.self, from: Array(policy.utf8))) == document else { return nil }
    }
}

extension JSONValue {
    fileprivate var members: [String: JSONValue]? {
        if case .object(let members) = self { members } else { nil }
    }

    fileprivate var list: [JSONValue]? {
        if case .array(let values) = self { values } else { nil }
    }

    /// A text, or a list of them, which mean the same in a policy.
    fileprivate var texts: [String] {
        switch self {
        case .string(let text): [text]
        case .array(let values): values.flatMap(\.texts)
        default: []
        }
    }

    fileprivate subscript(name: String) -> JSONValue? { members?[name] }
}

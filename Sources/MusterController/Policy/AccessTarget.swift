package import MusterWire

/// Something that a call concerns, and what can be said of it there. What can be said of the caller and the hour comes on top, see
/// `AccessCheck`. [value]
package struct AccessTarget: Sendable, Hashable, Codable {
    /// An ARN, or `*`.
    package var resource: String
    package var keys: ConditionKeys
    /// Whose tags count. They are read when it is decided, and again when it is decided again.
    package var node: NodeID?
    /// The same for what is no node.
    package var tagged: Tagged?

    /// A resource in the table of tags.
    package struct Tagged: Sendable, Hashable, Codable {
        let type: String
        let id: String
    }

    package init(_ resource: String, keys: ConditionKeys = ConditionKeys(), node: NodeID? = nil, tagged: Tagged? = nil) {
        self.resource = resource
        self.keys = keys
        self.node = node
        self.tagged = tagged
    }

    /// ARNs of what is ours and has a region.
    func moved(to region: String) -> AccessTarget {
        let parts = resource.split(separator: ":", maxSplits: 4, omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0] == "arn", !parts[3].isEmpty, parts[3] != region else { return self }
        var moved = self
        moved.resource = "\(parts[0]):\(parts[1]):\(parts[2]):\(region):\(parts[4])"
        return moved
    }

    package static let anything = AccessTarget("*")

    package static func node(_ node: NodeID, _ context: OperationContext, keys: ConditionKeys = ConditionKeys()) -> AccessTarget {
        AccessTarget("arn:aws:ssm:\(context.region):\(context.account):managed-instance/\(node)", keys: keys, node: node)
    }

    /// A node as a caller names it, who may be wrong. What is no id at all is nothing that a policy could be about.
    package static func node(named name: String?, _ context: OperationContext, keys: ConditionKeys = ConditionKeys()) -> AccessTarget {
        name.flatMap { NodeID($0) }.map { .node($0, context, keys: keys) } ?? AccessTarget("*", keys: keys)
    }

    package static func document(_ name: String, _ context: OperationContext, keys: ConditionKeys = ConditionKeys()) -> AccessTarget {
        var keys = keys
        // However it was written, it is this document.
        let name = DocumentStore.plainName(name)
        keys["ssm:DocumentName"] = [name]
        return AccessTarget(
            "arn:aws:ssm:\(context.region):\(context.account):document/\(name)", keys: keys,
            tagged: Tagged(type: DocumentStore.tagType, id: name))
    }

    package static func session(_ id: String, _ context: OperationContext, keys: ConditionKeys = ConditionKeys()) -> AccessTarget {
        AccessTarget("arn:aws:ssm:\(context.region):\(context.account):session/\(id)", keys: keys)
    }

    package static func serviceSetting(_ id: String, _ context: OperationContext) -> AccessTarget {
        var path = id.split(separator: ":").last.map(String.init) ?? ""
        if id.hasPrefix("arn:"), path.hasPrefix("servicesetting/") { path = String(path.dropFirst(14)) }
        return AccessTarget(
            "arn:aws:ssm:\(context.region):\(context.account):servicesetting\(path.hasPrefix("/") ? path : "/" + path)")
    }

    package static func caller(_ name: CallerName, _ context: OperationContext, keys: ConditionKeys = ConditionKeys()) -> AccessTarget {
        let tagged: Tagged? = if case .user(let user) = name { Tagged(type: UserStore.tagType, id: user) } else { nil }
        return AccessTarget(name.arn(account: context.account), keys: keys, tagged: tagged)
    }
}

/// What an operation has to be allowed for. None is registered without one.
package enum AccessRule<Input: Sendable>: Sendable {
    /// Nodes: the certificate, or the proof in the body, says all there is to say.
    case certificate
    /// Whoever has a key, unless a policy forbids it in words: what AWS grants to everybody.
    case unlessForbidden(@Sendable (Input, OperationContext) throws -> [AccessTarget])
    /// It has no resource of its own: `*`.
    case anything
    /// The input names the resources.
    case on(@Sendable (Input, OperationContext) throws -> [AccessTarget])
    /// Only the store knows them: the handler asks `OperationContext.access` in the transaction that it answers from. An answer for which it
    /// has not asked is withheld.
    case inside
}

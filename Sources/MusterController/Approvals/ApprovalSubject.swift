internal import MusterCrypto

/// What is asked for, and what a grant covers: exactly this. [value]
package struct ApprovalSubject: Sendable, Hashable, Codable {
    package static let startSession = "ssm:StartSession"

    package let action: String
    /// ARNs, in order.
    package let nodes: [String]
    /// An ARN.
    package let document: String
    /// What people look at before they approve.
    package let parameters: [String: [String]]
    /// Of the document's content and everything that goes into it.
    package let digest: String

    /// `content` is all that makes the call what it is, besides the nodes.
    package init(action: String, nodes: [String], document: String, parameters: [String: [String]], content: [String]) {
        self.action = action
        self.nodes = nodes.sorted()
        self.document = document
        self.parameters = parameters
        // Each with its length: two parts are never mistaken for one.
        digest = Hex.encode(SHA256.hash(content.flatMap { Array("\($0.utf8.count):".utf8) + Array($0.utf8) }))
    }

    /// A command is for those nodes and no others. A session is on one node: one of those that were asked for.
    package func covers(_ other: ApprovalSubject) -> Bool {
        guard action == other.action, document == other.document, digest == other.digest else { return false }
        return action == Self.startSession ? !other.nodes.isEmpty && Set(other.nodes).isSubset(of: nodes) : nodes == other.nodes
    }

    /// By which requests of one person for one thing are found.
    package func binding(_ principal: Principal) -> String {
        let parts = [principal.userID, principal.role?.groupID ?? "", action, document, digest]
        return Hex.encode(SHA256.hash(parts.flatMap { Array("\($0.utf8.count):".utf8) + Array($0.utf8) }))
    }

    /// "ssm:StartSession with SSM-SessionManagerRunShell on mi-…"
    package var words: String {
        let document = document.split(separator: "/", maxSplits: 1).last.map(String.init) ?? document
        let names = nodes.prefix(3).map { $0.split(separator: "/").last.map(String.init) ?? $0 }
        let rest = nodes.count > names.count ? " and \(nodes.count - names.count) more" : ""
        return "\(action) with \(document) on \(names.joined(separator: ", "))\(rest)"
    }
}

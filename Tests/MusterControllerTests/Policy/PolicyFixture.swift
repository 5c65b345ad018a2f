@testable import MusterController

func policy(_ text: String, actions: Set<String>? = nil) throws(PolicyError) -> PolicyDocument {
    try PolicyDocument(json: Array(text.utf8), actions: actions)
}

/// One statement that allows everything, with more members.
func allow(_ members: String = "") -> String {
    statement(#""Effect":"Allow","Action":"*","Resource":"*""#, members)
}

func approving(_ members: String) -> String {
    statement(#""Effect":"Allow","Action":["ssm:StartSession","ssm:SendCommand"],"Resource":"*""#, members)
}

func statement(_ parts: String...) -> String {
    #"{"Version":"2012-10-17","Statement":[{"# + parts.filter { !$0.isEmpty }.joined(separator: ",") + "}]}"
}

extension PolicySet {
    init(_ texts: String..., boundary: [String] = []) throws {
        var policies: [AttachedPolicy] = []
        for (index, text) in texts.enumerated() {
            policies.append(AttachedPolicy(name: "p\(index + 1)", holder: "user alice", document: try policy(text)))
        }
        self.init(policies, boundary: try boundary.map { try policy($0) })
    }

    func decide(_ action: String, _ resource: String = "*", _ keys: [String: [String]] = [:]) -> PolicyDecision {
        decide(AccessRequest(action: action, resource: resource, keys: ConditionKeys(keys)))
    }
}

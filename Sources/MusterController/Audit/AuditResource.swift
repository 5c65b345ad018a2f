internal import MusterWire

/// What an event is about, as an ARN and a type of resource. [value]
struct AuditResource: Sendable, Equatable {
    let arn: String
    let type: String

    static let types =
        ["ManagedInstance", "Document", "Session", "Command", "Activation", "ServiceSetting"].map { "AWS::SSM::\($0)" }
        + ["AWS::IAM::User", "AWS::IAM::AccessKey", "Muster::Resource"]

    /// Nil for "*" and for nothing at all.
    init?(_ resource: String, operation: String, region: String, account: String) {
        guard !resource.isEmpty, resource != "*" else { return nil }
        func ssm(_ kind: String, _ type: String) -> (String, String) {
            ("arn:aws:ssm:\(region):\(account):\(kind)/\(resource)", "AWS::SSM::\(type)")
        }
        if resource.hasPrefix("arn:") {
            (arn, type) = (resource, Self.type(of: resource))
        } else if resource.hasPrefix("mi-") {
            (arn, type) = ssm("managed-instance", "ManagedInstance")
        } else if resource.hasPrefix("/ssm/") {
            (arn, type) = ("arn:aws:ssm:\(region):\(account):servicesetting\(resource)", "AWS::SSM::ServiceSetting")
        } else if operation.hasSuffix("AccessKey") {
            (arn, type) = ("arn:aws:iam::\(account):user/\(resource)", "AWS::IAM::User")
        } else if operation.holds("Document") {
            (arn, type) = ssm("document", "Document")
        } else if operation.holds("Session") || operation.holds("Recording") || operation.holds("DataChannel") {
            (arn, type) = ssm("session", "Session")
        } else if operation.holds("Activation") || operation == "RegisterManagedInstance" {
            (arn, type) = ssm("activation", "Activation")
        } else if operation.holds("Command") || operation.hasSuffix("Invocation") || operation.holds("CommandOutput") {
            (arn, type) = ssm("command", "Command")
        } else {
            (arn, type) = (resource, "Muster::Resource")
        }
    }

    private static func type(of arn: String) -> String {
        let parts = arn.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false)
        guard parts.count == 6 else { return "Muster::Resource" }
        let kind = parts[5].prefix { $0 != "/" }
        switch (parts[2], kind) {
        case ("ssm", "managed-instance"): return "AWS::SSM::ManagedInstance"
        case ("ssm", "document"): return "AWS::SSM::Document"
        case ("ssm", "session"): return "AWS::SSM::Session"
        case ("ssm", "command"): return "AWS::SSM::Command"
        case ("ssm", "servicesetting"): return "AWS::SSM::ServiceSetting"
        case ("iam", "user"): return "AWS::IAM::User"
        case ("iam", _): return "AWS::IAM::\(kind.prefix(1).uppercased() + kind.dropFirst())"
        default: return "Muster::Resource"
        }
    }
}

extension String {
    /// As `contains`, whose set-up costs as much as everything else of an event's record.
    func holds(_ part: StaticString) -> Bool {
        var text = self
        return text.withUTF8 { text in
            part.withUTF8Buffer { part in
                guard text.count >= part.count else { return false }
                return (0...text.count - part.count).contains { start in text[start..<start + part.count].elementsEqual(part) }
            }
        }
    }
}

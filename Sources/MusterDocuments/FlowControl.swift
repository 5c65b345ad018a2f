/// What a step's inputs say about the steps after it.
///
/// https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command-handle-exit-status.html
struct FlowControl {
    static let keys = ["onFailure", "onSuccess", "finallyStep"]

    var onFailure = Plan.Item.AfterFailure.goOn
    var onSuccess = Plan.Item.AfterSuccess.goOn
    var isFinally = false

    /// `isTemplate`: parameters are not in place yet, so a text that refers to one is taken on trust.
    init(_ inputs: [String: DocumentValue], isLast: Bool, isTemplate: Bool, at path: String) throws(DocumentError) {
        func text(_ key: String) throws(DocumentError) -> String? {
            switch inputs.first(where: { $0.key.lowercased() == key.lowercased() })?.value {
            case nil, .null?: return nil
            case .string(let text)?: return isTemplate && !Template.references(in: text).isEmpty ? nil : text
            case .bool(let value)?: return value ? "true" : "false"
            case let other?: throw DocumentError(.content, at: "\(path).\(key)", "Must be a string, and is \(other.kind).")
            }
        }
        switch try text("onFailure") {
        case nil: break
        case "exit": onFailure = .exit
        case "successAndExit": onFailure = .successAndExit
        default: throw DocumentError(.content, at: "\(path).onFailure", "Must be exit or successAndExit.")
        }
        switch try text("onSuccess") {
        case nil: break
        case "exit": onSuccess = .exit
        default: throw DocumentError(.content, at: "\(path).onSuccess", "Must be exit.")
        }
        switch try text("finallyStep")?.lowercased() {
        case nil, "false": break
        case "true":
            guard isLast else { throw DocumentError(.content, at: "\(path).finallyStep", "Only the last step can be the finally step.") }
            isFinally = true
        default: throw DocumentError(.content, at: "\(path).finallyStep", "Must be true or false.")
        }
    }
}

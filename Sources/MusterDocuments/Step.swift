/// One step of a document as its author wrote it; references to parameters are still in it.
package struct Step: Sendable, Hashable {
    package let name: StepName
    /// The plugin, for example `aws:runShellScript`.
    package let action: String
    package let inputs: [String: DocumentValue]
    package let settings: DocumentValue
    package let precondition: Precondition?

    package init(
        name: StepName, action: String, inputs: [String: DocumentValue], settings: DocumentValue = .null,
        precondition: Precondition? = nil
    ) {
        self.name = name
        self.action = action
        self.inputs = inputs
        self.settings = settings
        self.precondition = precondition
    }

    func canRun(on platform: Platform) -> Bool {
        guard let plugin = PluginKind(rawValue: action), plugin.platforms.contains(platform) else { return false }
        if case .platform(let only)? = precondition { return only == platform }
        return true
    }
}

/// A step's name: letters, digits, `_` and `-`, 1 to 128 of them. It becomes the name of a folder on the host, so nothing
/// else can be in it: no separator, no dot.
package struct StepName: Sendable, Hashable, Comparable, RawRepresentable, CustomStringConvertible {
    package let rawValue: String

    package init?(rawValue: String) {
        guard (1...128).contains(rawValue.utf8.count),
            rawValue.utf8.allSatisfy({ $0.isLetterOrDigit || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") })
        else { return nil }
        self.rawValue = rawValue
    }

    package init?(_ text: String) { self.init(rawValue: text) }

    package var description: String { rawValue }

    package static func < (a: StepName, b: StepName) -> Bool { a.rawValue < b.rawValue }
}

extension UInt8 {
    /// ASCII only.
    var isLetterOrDigit: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}

/// The plugins that a Command document may name, and where each exists.
///
/// https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-command-ssm-plugin-reference.html
package enum PluginKind: String, Sendable, Hashable, CaseIterable {
    case applications = "aws:applications"
    case cloudWatch = "aws:cloudWatch"
    case configureDocker = "aws:configureDocker"
    case configurePackage = "aws:configurePackage"
    case domainJoin = "aws:domainJoin"
    case downloadContent = "aws:downloadContent"
    case psModule = "aws:psModule"
    case refreshAssociation = "aws:refreshAssociation"
    case runDockerAction = "aws:runDockerAction"
    case runDocument = "aws:runDocument"
    case runPowerShellScript = "aws:runPowerShellScript"
    case runShellScript = "aws:runShellScript"
    case softwareInventory = "aws:softwareInventory"
    case updateAgent = "aws:updateAgent"
    case updateSsmAgent = "aws:updateSsmAgent"

    package var platforms: Set<Platform> {
        switch self {
        case .applications, .cloudWatch, .psModule, .updateAgent: [.windows]
        case .runShellScript: [.linux, .macOS]
        case .configureDocker, .domainJoin, .runDockerAction: [.linux, .windows]
        case .configurePackage, .downloadContent, .refreshAssociation, .runDocument, .runPowerShellScript, .softwareInventory,
            .updateSsmAgent:
            [.linux, .macOS, .windows]
        }
    }

    /// A script plugin: its inputs are `ScriptInputs`.
    package var isScript: Bool { self == .runShellScript || self == .runPowerShellScript }
}

/// A Command document that has passed every check: what may be asked of it, and the steps it runs.
///
/// https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-schemas-features.html
package struct Document: Sendable, Hashable {
    package let schemaVersion: SchemaVersion
    package let description: String
    package let parameters: [String: ParameterDefinition]
    package let steps: [Step]
    /// The document as it came, for storing, showing and sending to a host.
    package let content: DocumentValue

    package init(
        schemaVersion: SchemaVersion, description: String, parameters: [String: ParameterDefinition], steps: [Step],
        content: DocumentValue
    ) {
        self.schemaVersion = schemaVersion
        self.description = description
        self.parameters = parameters
        self.steps = steps
        self.content = content
    }

    /// The platforms on which at least one step can run.
    package var platformTypes: [Platform] {
        Platform.allCases.filter { platform in steps.contains { $0.canRun(on: platform) } }
    }
}

package enum SchemaVersion: String, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    case v12 = "1.2"
    case v20 = "2.0"
    case v201 = "2.0.1"
    case v202 = "2.0.2"
    case v203 = "2.0.3"
    case v22 = "2.2"

    package var description: String { rawValue }

    /// Preconditions, and skipping what a platform does not have, came with 2.2.
    package var hasPreconditions: Bool { self == .v22 }
}

package enum Platform: String, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    case windows = "Windows"
    case linux = "Linux"
    case macOS = "MacOS"

    package var description: String { rawValue }

    package init?(_ text: String) {
        guard let platform = Self.allCases.first(where: { $0.rawValue.lowercased() == text.lowercased() }) else {
            return nil
        }
        self = platform
    }
}

/// What a document says about one of its parameters.
///
/// https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-syntax-data-elements-parameters.html
package struct ParameterDefinition: Sendable, Hashable {
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        case string = "String"
        case stringList = "StringList"
        case integer = "Integer"
        case boolean = "Boolean"
        case mapList = "MapList"
        case stringMap = "StringMap"
    }

    /// How the value reaches a script.
    package enum Interpolation: Sendable, Hashable {
        /// Spliced into the script's text.
        case text
        /// As data, in the environment variable `SSM_<name>`; the script's text is left alone.
        case environmentVariable
    }

    package let name: String
    package let kind: Kind
    package let description: String
    package let defaultValue: DocumentValue?
    package let allowedValues: [DocumentValue]
    package let allowedPattern: Pattern?
    package let displayType: String?
    package let minimumItems: Int?
    package let maximumItems: Int?
    package let minimumCharacters: Int?
    package let maximumCharacters: Int?
    package let interpolation: Interpolation

    package init(
        name: String, kind: Kind, description: String = "", defaultValue: DocumentValue? = nil,
        allowedValues: [DocumentValue] = [], allowedPattern: Pattern? = nil, displayType: String? = nil,
        minimumItems: Int? = nil, maximumItems: Int? = nil, minimumCharacters: Int? = nil, maximumCharacters: Int? = nil,
        interpolation: Interpolation = .text
    ) {
        self.name = name
        self.kind = kind
        self.description = description
        self.defaultValue = defaultValue
        self.allowedValues = allowedValues
        self.allowedPattern = allowedPattern
        self.displayType = displayType
        self.minimumItems = minimumItems
        self.maximumItems = maximumItems
        self.minimumCharacters = minimumCharacters
        self.maximumCharacters = maximumCharacters
        self.interpolation = interpolation
    }

    /// Letters and digits only, as the agents accept them. 1 to 128.
    package static func isName(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count) && text.utf8.allSatisfy(\.isLetterOrDigit)
    }

    package var environmentName: String { "SSM_" + name }

    /// The default as DescribeDocument shows it: text as it is, anything else as JSON.
    package var defaultText: String? {
        guard let defaultValue else { return nil }
        return defaultValue.string ?? defaultValue.json
    }

    /// The type as DescribeDocument reports it, which knows two only.
    package var reportedType: String { kind == .stringList || kind == .mapList ? "StringList" : "String" }
}

package import MusterWire

/// An operation of the query protocol: a form comes in. [value]
///
/// Lists are written `TagKeys.member.1`, structures in them `Tags.member.1.Key`. What an operation does not list is refused by name.
/// https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
package struct QueryOperation: Sendable {
    package enum Kind: Sendable {
        case text([TextConstraint])
        case number(ClosedRange<Int>)
        case flag
        case texts
        case tags
        /// IAM's folders for names, which are not served: `/` is where everything is.
        case path
    }

    package struct Member: Sendable {
        let name: String
        let kind: Kind
        let isRequired: Bool

        package static func text(_ name: String, _ constraints: TextConstraint..., required: Bool = true) -> Member {
            Member(name: name, kind: .text(constraints), isRequired: required)
        }

        package static func number(_ name: String, _ range: ClosedRange<Int>) -> Member {
            Member(name: name, kind: .number(range), isRequired: false)
        }

        package static func flag(_ name: String) -> Member { Member(name: name, kind: .flag, isRequired: false) }
        package static func texts(_ name: String) -> Member { Member(name: name, kind: .texts, isRequired: true) }
        package static func tags(required: Bool = false) -> Member { Member(name: "Tags", kind: .tags, isRequired: required) }
        package static func path(_ name: String = "Path") -> Member { Member(name: name, kind: .path, isRequired: false) }
    }

    package let name: String
    package let members: [Member]

    package init(_ name: String, _ members: [Member]) {
        self.name = name
        self.members = members
    }

    func decode(_ body: [UInt8]) throws(APIError) -> QueryCall {
        try decode(fields: CallFormat.fields(body))
    }

    func decode(fields: [String: String]) throws(APIError) -> QueryCall {
        var rest = fields
        rest.removeValue(forKey: "Action")
        rest.removeValue(forKey: "Version")
        var call = QueryCall()
        var validation = Validation()
        for member in members {
            let path = Self.lowerCamel(member.name)
            switch member.kind {
            case .text(let constraints):
                let text = rest.removeValue(forKey: member.name)
                validation.string(path, text, (member.isRequired ? [.required] : []) + constraints, secret: member.name.hasPrefix("Policy"))
                call.texts[member.name] = text
            case .number(let range):
                guard let text = rest.removeValue(forKey: member.name) else { continue }
                guard let number = Int(text) else { throw .validation("\(member.name) is not a number.") }
                validation.integer(path, number, range)
                call.numbers[member.name] = number
            case .flag:
                guard let text = rest.removeValue(forKey: member.name) else { continue }
                guard text == "true" || text == "false" else { throw .validation("\(member.name) is neither true nor false.") }
                call.texts[member.name] = text
            case .texts:
                let list = try Self.list(member.name, [""], from: &rest).map { $0[""] ?? "" }
                if member.isRequired && list.isEmpty { validation.required(path, nil) }
                call.lists[member.name] = list
            case .tags:
                let list = try Self.list(member.name, ["Key", "Value"], from: &rest)
                if member.isRequired && list.isEmpty { validation.required(path, nil) }
                call.tags = list.map { Tag(key: $0["Key"], value: $0["Value"]) }
            case .path:
                guard let text = rest.removeValue(forKey: member.name) else { continue }
                guard text == "/" else { throw .validation("\(member.name) other than / is not served.") }
            }
        }
        if let unknown = rest.keys.sorted().first {
            throw .validation("\(name) does not serve \(unknown.prefix(while: { $0 != "." }).prefix(64)).")
        }
        validation.tags("tags", call.tags)
        if let failure = validation.failure() { throw failure }
        return call
    }

    /// The members of a list in the order of their numbers.
    private static func list(
        _ name: String, _ parts: [String], from rest: inout [String: String]
    ) throws(APIError) -> [[String: String]] {
        var found: [Int: [String: String]] = [:]
        // An empty list is written as an empty text.
        if rest[name] == "" { rest.removeValue(forKey: name) }
        for field in rest.keys where field.hasPrefix(name + ".member.") {
            let tail = field.dropFirst(name.count + 8).split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
            let part = tail.count > 1 ? String(tail[1]) : ""
            guard let number = Int(tail[0]), (1...1_000).contains(number), parts.contains(part) else {
                throw .validation("\(name) is not written as a list of the query protocol.")
            }
            found[number, default: [:]][part] = rest.removeValue(forKey: field)
        }
        return found.sorted { $0.key < $1.key }.map(\.value)
    }

    private static func lowerCamel(_ name: String) -> String {
        name.prefix(1).lowercased() + name.dropFirst()
    }
}

/// The members of one call, checked.
package struct QueryCall: Sendable {
    fileprivate(set) var texts: [String: String] = [:]
    fileprivate(set) var numbers: [String: Int] = [:]
    fileprivate(set) var lists: [String: [String]] = [:]
    package fileprivate(set) var tags: [Tag] = []

    package init() {}

    package subscript(name: String) -> String? { texts[name] }
    package func text(_ name: String) throws(APIError) -> String { try texts[name].required(name) }
    package func number(_ name: String) -> Int? { numbers[name] }
    package func list(_ name: String) -> [String] { lists[name] ?? [] }
    package func isSet(_ name: String) -> Bool { texts[name] == "true" }

    /// As a JSON API would have taken them.
    var members: [String: JSONValue] {
        var members = texts.mapValues(JSONValue.string)
        for (name, number) in numbers { members[name] = .integer(Int64(number)) }
        for (name, list) in lists where !list.isEmpty { members[name] = .array(list.map(JSONValue.string)) }
        if !tags.isEmpty {
            members["Tags"] = .array(tags.map { .object(["Key": .string($0.key ?? ""), "Value": .string($0.value ?? "")]) })
        }
        return members
    }
}

/// An answer of the query protocol, members in order. [value]
package indirect enum QueryValue: Sendable, Equatable {
    package struct Member: Sendable, Equatable {
        let name: String
        let value: QueryValue
    }

    case text(String)
    case structure([Member])
    case list([QueryValue])

    /// Of operations that answer nothing.
    package static let nothing = QueryValue.structure([])

    /// Nil members are left out.
    package static func members(_ members: KeyValuePairs<String, QueryValue?>) -> QueryValue {
        .structure(members.compactMap { name, value in value.map { Member(name: name, value: $0) } })
    }

    package static func text(_ text: String?) -> QueryValue? { text.map { .text($0) } }
    package static func number(_ number: Int) -> QueryValue { .text(String(number)) }
    package static func flag(_ flag: Bool) -> QueryValue { .text(flag ? "true" : "false") }
    package static func time(_ time: Timestamp) -> QueryValue { .text(time.iso8601) }

    /// The text of a member, however deep.
    func text(_ name: String) -> String? {
        guard case .structure(let members) = self else { return nil }
        for member in members {
            if member.name == name, case .text(let text) = member.value { return text }
            if let text = member.value.text(name) { return text }
        }
        return nil
    }

    func xml(resultOf operation: String) -> [UInt8] {
        guard self != .nothing else { return [] }
        var text = ""
        write("\(operation)Result", "  ", to: &text)
        return Array(text.utf8)
    }

    private func write(_ name: String, _ indent: String, to text: inout String) {
        switch self {
        case .text(let value):
            text += "\(indent)<\(name)>\(CallFormat.escaped(value))</\(name)>\n"
        case .structure(let members):
            text += "\(indent)<\(name)>\n"
            for member in members { member.value.write(member.name, indent + "  ", to: &text) }
            text += "\(indent)</\(name)>\n"
        case .list(let values):
            text += "\(indent)<\(name)>\n"
            for value in values { value.write("member", indent + "  ", to: &text) }
            text += "\(indent)</\(name)>\n"
        }
    }
}

@testable import MusterDocuments

extension FuzzTarget {
    /// Documents of both kinds, what is made of them, patterns with a candidate, command lines.
    static let documents = FuzzTarget(name: "documents") { bytes in
        var input = FuzzInput(bytes)
        switch bytes.first {
        case UInt8(ascii: "P"):
            _ = input.byte()
            guard let pattern = try? Pattern(text(input.part())) else { return }
            _ = try? pattern.matches(text(input.all()))
        case UInt8(ascii: "W"):
            _ = input.byte()
            _ = ShellWords.split(text(input.all()))
        default:
            let json = input.part()
            try readDocument(json, values: input.all())
            if let session = try? SessionDocument.decode(json: json) { _ = try? session.resolve([:]) }
        }
    }

    private static func readDocument(_ json: [UInt8], values: [UInt8]) throws {
        guard let document = try? DocumentDecoder.decode(json: json) else { return }
        let again = try DocumentDecoder.decode(json: Array(document.content.json.utf8))
        try Finding.unless(again == document, "a document is another one after writing and reading")

        var given = (try? DocumentValue(json: values))?.object ?? [:]
        for (name, definition) in document.parameters where given[name] == nil && definition.defaultValue == nil {
            given[name] =
                switch definition.kind {
                case .string: .string("{{ other }} $(id) `id`")
                case .stringList: .array([.string("a"), .string("{{ b }}")])
                case .integer: .integer(7)
                case .boolean: .bool(true)
                case .stringMap: .object(["key": .string("value")])
                case .mapList: .array([.object(["key": .string("value")])])
                }
        }
        guard let plan = try? Plan.build(document: document, values: given) else { return }
        var machine = PlanMachine(plan: plan)
        for _ in 0...plan.items.count {
            guard case .run(let item) = machine.next() else { continue }
            machine.stepEnded(item.name, status: .success, code: 0)
        }
        guard case .finish = machine.next() else { throw Finding(description: "a plan does not come to its end") }
    }
}

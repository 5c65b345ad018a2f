/// Where in a configuration: `listeners[0].port`.
struct ConfigurationPath: Sendable, Hashable, CustomStringConvertible {
    enum Part: Sendable, Hashable {
        case key(String)
        case index(Int)
    }

    var parts: [Part] = []

    init() {}

    init(_ codingPath: [any CodingKey]) {
        parts = codingPath.map { key in key.intValue.map(Part.index) ?? .key(key.stringValue) }
    }

    func key(_ name: String) -> Self { appending(.key(name)) }
    func index(_ index: Int) -> Self { appending(.index(index)) }

    private func appending(_ part: Part) -> Self {
        var path = self
        path.parts.append(part)
        return path
    }

    var description: String {
        var text = ""
        for part in parts {
            switch part {
            case .key(let name): text += (text.isEmpty ? "" : ".") + name
            case .index(let index): text += "[\(index)]"
            }
        }
        return text
    }
}

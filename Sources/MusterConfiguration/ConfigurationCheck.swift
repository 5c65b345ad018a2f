/// Holds a configuration against its schema.
struct ConfigurationCheck {
    let source: String
    let outline: ConfigurationOutline

    func check(
        _ value: ConfigurationValue, against schema: ConfigurationSchema, at path: ConfigurationPath
    ) throws(ConfigurationError) {
        switch (schema, value) {
        case (.optional, .null), (.string, .string), (.boolean, .boolean): return
        case (.optional(let inner), _): return try check(value, against: inner, at: path)
        case (.choice(let texts), .string(let text)) where texts.contains(text): return
        case (.integer(let range), .integer(let number)) where range.contains(number): return
        case (.number(let range), .integer(let number)) where range.contains(Double(number)): return
        case (.number(let range), .number(let number)) where range.contains(number): return
        case (.list(let inner), .list(let elements)):
            for (index, element) in elements.enumerated() {
                try check(element, against: inner, at: path.index(index))
            }
        case (.object(let schemas), .object(let members)):
            for key in members.keys.sorted(by: { line(path.key($0)) < line(path.key($1)) }) {
                guard let member = members[key] else { continue }
                guard let inner = schemas[key] else {
                    throw ConfigurationError(
                        "\(source): unknown key '\(path.key(key))' at line \(line(path.key(key)))"
                            + nearestName(to: key, among: schemas.keys).map { "; did you mean '\(path.key($0))'?" }
                            .orElse("; known here: \(schemas.keys.sorted().joined(separator: ", "))."))
                }
                try check(member, against: inner, at: path.key(key))
            }
        default:
            let found =
                switch (schema, value) {
                case (.integer, .integer(let number)): String(number)
                case (.number, .integer(let number)): String(number)
                case (.number, .number(let number)): String(number)
                case (.choice, .string): "another string"
                default: value.kind
                }
            let name = path.parts.isEmpty ? "the configuration" : "'\(path)' at line \(line(path))"
            throw ConfigurationError("\(source): \(name) must be \(schema.wanted), and is \(found).")
        }
    }

    private func line(_ path: ConfigurationPath) -> Int { outline.lines[path] ?? 1 }
}

extension Optional<String> {
    fileprivate func orElse(_ other: String) -> String { self ?? other }
}

/// The most similar name, if one is similar enough to be what was meant.
package func nearestName(to name: String, among names: some Sequence<String>) -> String? {
    let wanted = Array(name.lowercased().utf8.prefix(200))
    var best: (distance: Int, name: String)?
    for candidate in names.sorted() {
        let distance = editDistance(wanted, Array(candidate.lowercased().utf8))
        if distance < best?.distance ?? Int.max { best = (distance, candidate) }
    }
    guard let best, best.distance <= max(2, best.name.utf8.count / 3) else { return nil }
    return best.name
}

/// Damerau-Levenshtein with swaps of neighbours ("optimal string alignment").
private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    guard !a.isEmpty, !b.isEmpty else { return max(a.count, b.count) }
    var rows = [Array(0...b.count)]
    for i in 1...a.count {
        var row = [i]
        for j in 1...b.count {
            var cost = min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
            if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { cost = min(cost, rows[i - 2][j - 2] + 1) }
            row.append(cost)
        }
        rows.append(row)
    }
    return rows[a.count][b.count]
}

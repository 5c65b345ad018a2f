/// RFC 4180: fields with commas, quotes, line breaks or outer spaces are quoted, quotes are doubled, records end with CR LF. [value]
package enum CSV {
    package static func text(header: [String], rows: [[String]]) -> String {
        ([header] + rows).map { record($0) + "\r\n" }.joined()
    }

    package static func record(_ fields: [String]) -> String {
        // A record of one empty field would be an empty line, which readers skip.
        if fields == [""] { return "\"\"" }
        return fields.map(field).joined(separator: ",")
    }

    private static func field(_ text: String) -> String {
        let special = text.unicodeScalars.contains { $0 == "," || $0 == "\"" || $0 == "\n" || $0 == "\r" }
        guard special || text.unicodeScalars.first == " " || text.unicodeScalars.last == " " else { return text }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            if scalar == "\"" { quoted += "\"" }
            quoted.unicodeScalars.append(scalar)
        }
        return quoted + "\""
    }
}

internal import FoundationEssentials
internal import MusterConfiguration

/// The host's time zones, each a file by its name.
package struct TimeZoneFolder: Sendable {
    private let path: String

    private static let maximumBytes = 1 << 20

    package static let system = TimeZoneFolder(path: "/usr/share/zoneinfo")

    package init(path: String) {
        self.path = path
    }

    /// Throws the reason.
    func rules(_ name: String, at place: String) throws(PolicyError) -> TimeZoneRules {
        guard Self.isName(name), let file = contents(name), let rules = TimeZoneRules(name: name, tzif: file) else {
            let nearest = nearestName(to: name, among: names)
            throw PolicyError(
                at: place,
                "There is no time zone '\(name.prefix(64))' in \(path) of this host"
                    + (nearest.map { "; did you mean '\($0)'?" }
                        ?? (names.isEmpty ? "; install the package tzdata." : "; names are like Asia/Tokyo or UTC.")))
        }
        return rules
    }

    /// Parts of letters, digits, `_`, `+` and `-`: never a way out of the folder.
    private static func isName(_ name: String) -> Bool {
        guard (1...64).contains(name.utf8.count), !name.hasPrefix("right/"), !name.hasPrefix("posix/") else { return false }
        return name.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { part in
            !part.isEmpty
                && part.utf8.allSatisfy {
                    (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) || [0x5F, 0x2B, 0x2D].contains($0)
                }
        }
    }

    private func contents(_ name: String) -> [UInt8]? {
        guard let data = try? Data(contentsOf: URL(filePath: "\(path)/\(name)")), data.count <= Self.maximumBytes else { return nil }
        return Array(data)
    }

    /// For suggestions.
    private var names: [String] {
        guard let table = contents("zone.tab") else { return [] }
        return String(decoding: table, as: UTF8.self).split(separator: "\n").compactMap { line in
            let columns = line.split(separator: "\t")
            return line.hasPrefix("#") || columns.count < 3 ? nil : String(columns[2])
        } + ["UTC"]
    }
}

/// Paths that a peer names. [value]
package enum CopyPath {
    /// The names on the way, each of which can only lead down; nil if one does not. The empty path has none.
    package static func components(_ path: [UInt8]) -> [[UInt8]]? {
        guard !path.isEmpty else { return [] }
        let names = path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map(Array.init)
        return names.allSatisfy(isName) ? names : nil
    }

    /// One name in a folder.
    package static func isName(_ name: [UInt8]) -> Bool {
        (1...255).contains(name.count) && !name.contains(0) && !name.contains(UInt8(ascii: "/")) && name != [UInt8(ascii: ".")]
            && name != [UInt8(ascii: "."), UInt8(ascii: ".")]
    }

    /// What the thing at a path is called; nil for what has no name of its own (`.`, `..`, `/`): its contents are meant then.
    package static func name(of path: [UInt8]) -> [UInt8]? {
        guard let last = path.split(separator: UInt8(ascii: "/")).last.map(Array.init), isName(last) else { return nil }
        return last
    }
}

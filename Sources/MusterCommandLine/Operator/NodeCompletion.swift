package import MusterWire

/// What can follow where a node is named, for a shell that asks while somebody types: ids, Name tags and host names.
///
/// Somebody waits with a finger on the key, so it gives up soon; and there is nobody to read an error.
package enum NodeCompletion {
    package static let patience = Duration.seconds(2)
    private static let maximumWords = 500

    /// - Parameter words: the line so far, which may name a profile.
    package static func complete(_ prefix: String, in words: [String]) async -> [String] {
        await withTaskGroup(of: [String].self) { group in
            group.addTask {
                let found = try? await Operator.with(profile: profile(in: words)) { caller in
                    self.words(for: try await NodeDirectory.load(caller.api).nodes, prefix: prefix)
                }
                return found ?? []
            }
            group.addTask {
                try? await Task.sleep(for: patience)
                return []
            }
            defer { group.cancelAll() }
            return await group.next() ?? []
        }
    }

    /// What names one node, and is plain enough to stand unquoted in every shell and to mean nothing to a terminal: names are the nodes'
    /// own words.
    package static func words(for nodes: [InstanceInformation], prefix: String) -> [String] {
        var found: [String: Int] = [:]
        for node in nodes {
            let tag = node.tags?.first { $0.key == "Name" }?.value
            for word in Set([node.instanceID.rawValue, node.name, node.computerName, tag].compactMap { $0 }) {
                guard !word.isEmpty, word.hasPrefix(prefix), word.utf8.allSatisfy(isPlain) else { continue }
                found[word, default: 0] += 1
            }
        }
        return Array(found.filter { $0.value == 1 }.keys.sorted().prefix(maximumWords))
    }

    package static func profile(in words: [String]) -> String? {
        for (index, word) in words.enumerated().reversed() {
            if word == "--profile", index + 1 < words.count { return words[index + 1] }
            if word.hasPrefix("--profile=") { return String(word.dropFirst("--profile=".count)) }
        }
        return nil
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."): true
        default: false
        }
    }
}

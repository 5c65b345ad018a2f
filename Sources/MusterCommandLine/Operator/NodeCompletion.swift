import FoundationEssentials
import MusterClient
package import MusterWire

/// What can follow where a node is named, for a shell that asks while somebody types: ids, and the names that operators gave.
///
/// Somebody waits with a finger on the key, so it gives up soon; and there is nobody to read an error.
package enum NodeCompletion {
    package static let patience = Duration.seconds(2)
    private static let maximumWords = 500

    /// - Parameter words: the line so far, which may name a profile.
    package static func complete(_ prefix: String, in words: [String]) async -> [String] {
        await ask(words) { self.words(for: try await NodeDirectory.load($0.api).nodes, prefix: prefix) }
    }

    /// `NODE:`, and the files and folders here whose names are plain; behind a node's colon nothing is known.
    package static func completeWithFiles(_ prefix: String, in words: [String]) async -> [String] {
        guard !prefix.contains(":") else { return [] }
        let nodes = prefix.contains("/") ? [] : await complete(prefix, in: words).map { $0 + ":" }
        return nodes + files(prefix)
    }

    package static func completeCommand(_ prefix: String, in words: [String]) async -> [String] {
        await ask(words) { caller in
            try await caller.api.call(ListCommands.self, .init(maxResults: 50)).commands.map(\.commandID.rawValue)
                .filter { $0.hasPrefix(prefix) }
        }
    }

    package static func completeSession(_ prefix: String, in words: [String]) async -> [String] {
        await ask(words) { caller in
            var found: [String] = []
            for state in ["Active", "History"] {
                found += try await caller.api.call(DescribeSessions.self, .init(state: state, maxResults: 50)).sessions
                    .map(\.sessionID.rawValue)
            }
            return found.filter { $0.hasPrefix(prefix) && $0.utf8.allSatisfy(isPlain) }
        }
    }

    static func files(_ prefix: String) -> [String] {
        let cut = prefix.lastIndex(of: "/").map { prefix.index(after: $0) } ?? prefix.startIndex
        let (folder, begun) = (String(prefix[..<cut]), prefix[cut...])
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder.isEmpty ? "." : folder) else { return [] }
        let plain = names.filter { $0.hasPrefix(begun) && (!$0.hasPrefix(".") || begun.hasPrefix(".")) && $0.utf8.allSatisfy(isPlain) }
        return plain.sorted().prefix(maximumWords).map { folder + $0 }
    }

    private static func ask(_ words: [String], _ body: @escaping @Sendable (Operator) async throws -> [String]) async -> [String] {
        await withTaskGroup(of: [String].self) { group in
            group.addTask { (try? await Operator.with(profile: profile(in: words), body)) ?? [] }
            group.addTask {
                try? await Task.sleep(for: patience)
                return []
            }
            defer { group.cancelAll() }
            return await group.next() ?? []
        }
    }

    /// What names one node, and is plain enough to stand unquoted in every shell and to mean nothing to a terminal. What nodes report of
    /// themselves is not offered.
    package static func words(for nodes: [InstanceInformation], prefix: String) -> [String] {
        var found: [String: Int] = [:]
        for node in nodes {
            for word in Set([node.instanceID.rawValue, node.name, node.nameTag].compactMap { $0 }) {
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

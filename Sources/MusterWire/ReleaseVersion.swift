/// The version of this release, by which agent and controller know each other. Four numbers, as agents of Systems Manager have.
package enum ReleaseVersion {
    package static let current = "4.0.1.0"

    /// Whether a node's version is this one or a later one. What is no version is not.
    package static func isCurrent(_ version: String, comparedWith release: String = current) -> Bool {
        guard let theirs = numbers(version), let ours = numbers(release) else { return false }
        for (one, other) in zip(theirs, ours) where one != other { return one > other }
        return theirs.count >= ours.count
    }

    private static func numbers(_ version: String) -> [Int]? {
        let parts = version.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) }
        guard (3...4).contains(parts.count), !parts.contains(where: { $0 == nil || ($0 ?? 0) < 0 }) else { return nil }
        return parts.compactMap { $0 }
    }
}

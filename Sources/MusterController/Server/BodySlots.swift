/// How many requests of a route have their bodies in memory. [value]
///
/// One source has no more than a half of them, and two at least: whoever sends slowly keeps others out of that half only.
struct BodySlots: Sendable {
    private struct Key: Hashable {
        let route: String
        let source: String
    }

    private var routes: [String: Int] = [:]
    private var sources: [Key: Int] = [:]

    mutating func admit(_ route: String, from source: String, atMost limit: Int) -> Bool {
        let key = Key(route: route, source: source)
        guard routes[route, default: 0] < limit, sources[key, default: 0] < max(2, limit / 2) else { return false }
        routes[route, default: 0] += 1
        sources[key, default: 0] += 1
        return true
    }

    mutating func release(_ route: String, from source: String) {
        routes[route, default: 1] -= 1
        let key = Key(route: route, source: source)
        let left = sources[key, default: 1] - 1
        sources[key] = left > 0 ? left : nil
    }
}

internal import Glibc
internal import Logging
internal import MusterWire
internal import ServiceLifecycle

/// What can only be seen in the store and on the disk, every few seconds. [service]
struct StoreMetrics: Service {
    private static let everySeconds = 15
    /// Versions come from agents: the rest is counted together.
    private static let mostVersions = 20

    let database: any SQLDatabase
    let directory: DataDirectory
    let metrics: Metrics
    /// Ends of certificates by what they are of, in seconds since 1970.
    let certificates: @Sendable () -> [String: Int64]
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var shown: Set<String> = []
            while !Task.isCancelled {
                do {
                    try await look(&shown)
                } catch {
                    logger.debug("figures of the store not read", metadata: ["error": "\(PlainWords.of(error))"])
                }
                try? await Task.sleep(for: .seconds(Self.everySeconds))
            }
        }
    }

    private struct Count: Sendable {
        let name: String
        let number: Int64

        init(_ row: SQLRow) throws {
            (name, number) = (try row.text("name"), try row.integer("number"))
        }
    }

    private func look(_ shown: inout Set<String>) async throws {
        let (states, versions, soonest) = try await database.read { tx -> ([Count], [Count], Int64?) in
            let states = try tx.query("SELECT state AS name, COUNT(*) AS number FROM nodes GROUP BY state").map(Count.init)
            let versions = try tx.query(
                """
                SELECT COALESCE(agent_version, '') AS name, COUNT(*) AS number FROM nodes WHERE state = 'registered'
                GROUP BY COALESCE(agent_version, '') ORDER BY number DESC
                """
            ).map(Count.init)
            let row = try tx.first("SELECT MIN(certificate_not_after) AS soonest FROM nodes WHERE state = 'registered'")
            return (states, versions, try row?.optionalInteger("soonest"))
        }
        let counts = Dictionary(states.map { ($0.name, $0.number) }) { first, _ in first }
        for state in ["registered", "quarantined"] { metrics.set("muster_nodes", [("state", state)], to: Double(counts[state] ?? 0)) }
        var sums = Dictionary(uniqueKeysWithValues: shown.map { ($0, Int64(0)) })
        for (index, count) in versions.enumerated() {
            let isShown = index < Self.mostVersions && (1...64).contains(count.name.utf8.count)
            let name = isShown ? count.name : "other"
            sums[name, default: 0] += count.number
        }
        for (version, number) in sums { metrics.set("muster_nodes_by_version", [("version", version)], to: Double(number)) }
        // Bounded, because a version that is gone stays at zero.
        shown = Set(sums.keys.prefix(2 * Self.mostVersions))
        for (name, end) in certificates() { metrics.set("muster_certificate_not_after_seconds", [("of", name)], to: Double(end)) }
        if let soonest { metrics.set("muster_certificate_not_after_seconds", [("of", "node")], to: Double(soonest / 1000)) }
        sizes()
    }

    private func sizes() {
        let path = directory.path(of: .database)
        let bytes = ["", "-wal"].reduce(Int64(0)) { sum, end in
            var status = stat()
            return lstat(path + end, &status) == 0 ? sum + Int64(status.st_size) : sum
        }
        metrics.set("muster_store_bytes", to: Double(bytes))
        var disk = statvfs()
        if statvfs(directory.path, &disk) == 0 { metrics.set("muster_disk_free_bytes", to: Double(disk.f_bavail) * Double(disk.f_frsize)) }
    }
}

internal import Logging
internal import MusterWire
internal import ServiceLifecycle

/// Something that has to be cleared away again and again.
protocol Chore: Sendable {
    /// What stays when it fails, for the log.
    var subject: String { get }
    func clean(now: Timestamp) async throws
}

/// Removes what has served its time. [service]
struct Housekeeping: Service {
    private static let everySeconds = 3_600

    let chores: [any Chore]
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                for chore in chores {
                    do {
                        try await chore.clean(now: .now())
                    } catch {
                        logger.error("not removed", metadata: ["subject": "\(chore.subject)", "error": "\(error)"])
                    }
                }
                try? await Task.sleep(for: .seconds(Self.everySeconds))
            }
        }
    }
}

internal import Logging
internal import MusterWire
internal import NIOConcurrencyHelpers

/// Whether changes are taken: a controller that refuses every one of them is none to send people to.
///
/// A small change is the only proof, since a store can be read long after its disk is full. Anybody may ask, so one answer serves all for a
/// few seconds, and one question is under way at a time.
final class Readiness: Sendable {
    private static let lifetimeSeconds: Int64 = 2

    /// As much as the change that people wait for and its record need: a page or two may be left where nothing else fits.
    private static let room = 16 << 10

    private struct State {
        var refusal: String?
        var until = Timestamp(milliseconds: 0)
        var isAsking = false
    }

    private let database: any SQLDatabase
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    init(database: any SQLDatabase, logger: Logger) {
        (self.database, self.logger) = (database, logger)
    }

    /// Nil when changes are taken.
    func refusal(_ now: Timestamp) async -> String? {
        let mustAsk = state.withLockedValue { state in
            guard !state.isAsking, now >= state.until || state.until > now.adding(seconds: Self.lifetimeSeconds) else { return false }
            state.isAsking = true
            return true
        }
        guard mustAsk else { return state.withLockedValue { $0.refusal } }
        var refusal: String?
        do {
            try await database.write { tx in try MetaStore.set(.readyAt, to: String(repeating: " ", count: Self.room) + now.iso8601, in: tx)
            }
        } catch {
            refusal = "changes are refused: the store cannot be written"
            logger.error("the store takes no changes", metadata: ["error": "\(PlainWords.of(error))"])
        }
        return state.withLockedValue { [refusal] state in
            state = State(refusal: refusal, until: now.adding(seconds: Self.lifetimeSeconds))
            return refusal
        }
    }
}

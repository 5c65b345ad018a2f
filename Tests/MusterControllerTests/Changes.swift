import FoundationEssentials
import NIOConcurrencyHelpers

@testable import MusterController

/// Counts what happens, so that a test waits for the next event instead of looking again and again.
final class Changes: Sendable {
    private struct State {
        var count = 0
        var waiting: [UUID: CheckedContinuation<Void, Never>] = [:]
    }

    private let state = NIOLockedValueBox(State())

    var count: Int { state.withLockedValue { $0.count } }

    func happened() {
        let waiting = state.withLockedValue { state in
            state.count += 1
            defer { state.waiting = [:] }
            return state.waiting.values
        }
        for continuation in waiting { continuation.resume() }
    }

    /// False when nothing more has happened by then.
    func next(after seen: Int, until deadline: ContinuousClock.Instant) async throws -> Bool {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                await self.wait(after: seen)
                return true
            }
            group.addTask {
                try await Task.sleep(until: deadline)
                return false
            }
            defer { group.cancelAll() }
            return try await group.next() ?? false
        }
    }

    private func wait(after seen: Int) async {
        let id = UUID()
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isWaiting = state.withLockedValue { state in
                    guard state.count == seen, !Task.isCancelled else { return false }
                    state.waiting[id] = continuation
                    return true
                }
                if !isWaiting { continuation.resume() }
            }
        } onCancel: {
            state.withLockedValue { $0.waiting.removeValue(forKey: id) }?.resume()
        }
    }
}

/// A store that tells of its commits.
final class ObservedDatabase: SQLDatabase {
    let commits = Changes()
    private let database: SQLiteDatabase

    init(_ database: SQLiteDatabase) { self.database = database }

    func read<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T { try await database.read(body) }

    func write<T: Sendable>(_ body: @escaping @Sendable (any SQLTransaction) throws -> T) async throws -> T {
        let result = try await database.write(body)
        commits.happened()
        return result
    }

    func close() throws { try database.close() }
}

import MusterClient
import MusterWire
import NIOConcurrencyHelpers

/// Calls again while the controller is away, for commands that wait anyway: what they wait for goes on without it.
package struct Reconnection: Sendable {
    private static let pause = Duration.seconds(1)

    private let printer: Printer
    private let isAway = NIOLockedValueBox(false)
    private let isKnown: NIOLockedValueBox<Bool>
    private let firstPatience: Duration

    /// - Parameter firstPatience: for how long a controller is waited for that has not answered yet, and may not be there at all. Nil: it has
    ///   answered; then it is waited for as long as it takes.
    package init(_ printer: Printer, firstPatience: Duration? = nil) {
        self.printer = printer
        isKnown = NIOLockedValueBox(firstPatience == nil)
        self.firstPatience = firstPatience ?? .zero
    }

    /// Whether it is worth waiting for another answer.
    package static func isPassing(_ error: any Error) -> Bool {
        switch error {
        case let error as ClientError: error.isPassing
        // What stands before a controller answers for one that is away.
        case let error as APIError: [502, 503, 504].contains(error.status)
        default: false
        }
    }

    package func callAsFunction<T>(_ body: () async throws -> T) async throws -> T {
        let begun = ContinuousClock.now
        while true {
            do {
                let value = try await body()
                isKnown.withLockedValue { $0 = true }
                if isAway.withLockedValue({ isAway in
                    defer { isAway = false }
                    return isAway
                }) {
                    printer.note("muster: connected again")
                }
                return value
            } catch let error where Self.isPassing(error) {
                guard isKnown.withLockedValue({ $0 }) || ContinuousClock.now - begun < firstPatience else { throw error }
                lost(error)
                try await Task.sleep(for: Self.pause)
            }
        }
    }

    /// Says it once, until the controller is back.
    package func lost(_ error: any Error) {
        let isNews = isAway.withLockedValue { isAway in
            defer { isAway = true }
            return !isAway
        }
        if isNews { printer.note("muster: \(error) Trying again; what was accepted goes on without it.") }
    }
}

package import Logging
package import ServiceLifecycle

/// A service that ends the whole program when it ends by itself. [service]
///
/// What went wrong is said at once, before the others have taken their leave, because whoever looks at the log then looks at the first line.
package struct EndsProgram: Service {
    private let service: any Service
    private let logger: Logger

    package init(_ service: any Service, logger: Logger) {
        (self.service, self.logger) = (service, logger)
    }

    package func run() async throws {
        do {
            try await service.run()
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            logger.critical("a part of the controller failed; the controller ends", metadata: ["error": "\(PlainWords.of(error))"])
            throw error
        }
        guard !Task.isCancelled, !Task.isShuttingDownGracefully else { return }
        let part = String(describing: type(of: service))
        logger.critical("a part of the controller ended by itself; the controller ends", metadata: ["part": "\(part)"])
        throw ControllerError.badSetting(
            "\(part) ended by itself. Start the controller again; if it happens again, report it with the log.")
    }
}

extension ThrowingTaskGroup where ChildTaskResult == Void, Failure == any Error {
    /// Returns when all have ended, and throws when the first has failed: `waitForAll` waits for those that still run before it throws.
    mutating func waitForAllOrAFailure() async throws {
        while try await next() != nil {}
    }
}

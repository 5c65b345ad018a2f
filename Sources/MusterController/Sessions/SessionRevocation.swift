internal import Logging
internal import MusterWire
internal import ServiceLifecycle

/// Ends sessions that are no longer allowed: after every change of what somebody may do, and once a minute, because hours pass and windows
/// close. [service]
///
/// A change advances `access_revision` in its own transaction, whoever made it: the API, or `muster-controller` beside it.
struct SessionRevocation: Service {
    struct Settings: Sendable {
        var lookMilliseconds: Int64 = 500
        var everySeconds = 60
    }

    let database: any SQLDatabase
    let broker: SessionBroker
    let policies: PolicyReader
    var settings = Settings()
    var now: @Sendable () -> Timestamp = { .now() }
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var seen: String?
            var last = ContinuousClock.now
            while !Task.isCancelled {
                do {
                    let revision = try await database.read { tx in try MetaStore.value(.accessRevision, in: tx) ?? "" }
                    if revision != seen || ContinuousClock.now - last >= .seconds(settings.everySeconds) {
                        try await look()
                        (seen, last) = (revision, ContinuousClock.now)
                    }
                } catch {
                    if !Task.isCancelled { logger.error("sessions not looked at for their rights", metadata: ["error": "\(error)"]) }
                }
                try? await Task.sleep(for: .milliseconds(settings.lookMilliseconds))
            }
        }
    }

    /// Sessions from before there were policies are left alone: whoever could start one could do everything.
    func look() async throws {
        let time = now()
        let over = try await database.read { tx in
            try SessionStore.liveAccess(in: tx).compactMap { id, access in
                try AccessCheck.stillAllowed(access, now: time, policies: policies, in: tx).map { (id, access, $0) }
            }
        }
        for (id, access, revocation) in over {
            var details = ["reason": revocation.words, "principal": access.principal.arn(account: access.account)]
            if case .denied(let decision) = revocation { details["statement"] = decision.statement?.description }
            let event = AuditEvent(time: time, controllerDid: "RevokeSession", resource: id.rawValue, details: details)
            if try await broker.terminate(id, words: "The session was ended: \(revocation.words).", audit: event) {
                logger.notice("session revoked", metadata: ["session": "\(id)", "reason": "\(revocation.words)"])
            }
        }
    }
}

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
    /// The controller's own.
    let region: String
    var settings = Settings()
    var now: @Sendable () -> Timestamp = { .now() }
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var seen: String?
            var last = ContinuousClock.now
            var ends = Ends()
            while !Task.isCancelled {
                do {
                    let revision = try await database.read { tx in try MetaStore.value(.accessRevision, in: tx) ?? "" }
                    if revision != seen || ends.isDue(now()) || ContinuousClock.now - last >= .seconds(settings.everySeconds) {
                        try await look(&ends)
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
        var ends = Ends()
        try await look(&ends)
    }

    private func look(_ ends: inout Ends) async throws {
        let time = now()
        let (over, ending) = try await database.read { tx in
            let live = try SessionStore.liveAccess(in: tx)
            let over = try live.compactMap { id, access in
                try AccessCheck.stillAllowed(access, region: region, now: time, policies: policies, in: tx).map { (id, access, $0) }
            }
            return (over, try live.compactMap { id, access in try AccessCheck.approvalEnd(access, in: tx).map { (id, $0) } })
        }
        for (id, end) in ends.look(ending, now: time) {
            let seconds = max(1, (end.milliseconds - time.milliseconds) / 1000)
            await broker.notify(id, "This session ends in \(seconds) seconds, with its approval.")
        }
        for (id, access, revocation) in over {
            var details = ["reason": revocation.words, "principal": access.principal.arn(account: access.account)]
            if case .denied(let decision) = revocation { details["statement"] = decision.statement?.description }
            details["accessRequestId"] = access.approval
            let event = AuditEvent(time: time, controllerDid: "RevokeSession", resource: id.rawValue, details: details)
            if try await broker.terminate(id, words: "The session was ended: \(revocation.words).", audit: event) {
                logger.notice("session revoked", metadata: ["session": "\(id)", "reason": "\(revocation.words)"])
            }
        }
    }
}

extension SessionRevocation {
    /// When sessions end with their approvals, and which have been told. [value]
    struct Ends: Sendable {
        static let warningSeconds: Int64 = 60

        private var warned: Set<SessionID> = []
        private var next: Timestamp?

        func isDue(_ now: Timestamp) -> Bool { next.map { $0 <= now } ?? false }

        /// Those to be told now. Each is told once.
        mutating func look(_ ending: [(SessionID, Timestamp)], now: Timestamp) -> [(SessionID, Timestamp)] {
            warned.formIntersection(ending.map(\.0))
            var told: [(SessionID, Timestamp)] = []
            next = nil
            for (id, end) in ending where end > now {
                let warning = end.adding(seconds: -Self.warningSeconds)
                if warning <= now, warned.insert(id).inserted { told.append((id, end)) }
                let due = warning <= now ? end : warning
                next = min(next ?? due, due)
            }
            return told
        }
    }
}

internal import FoundationEssentials
internal import MusterCrypto
package import MusterWire

/// What a restore changes in the store of the backup, in one transaction, before anybody can use it.
///
/// Between the backup and the restore things went on that this store does not know. What could be done a second time because of that ends:
/// commands, sessions, approvals, activations. What was taken away in that time is there again, and is listed.
package struct RestoredStore: Sendable {
    package struct Ended: Sendable, Equatable {
        package var commands: [CommandID] = []
        package var activations: [ActivationID] = []
        package var sessions = 0
        package var approvals = 0
    }

    static let program = "muster-controller restore"
    static let operation = "RestoreController"

    static func outcomeUnknown(_ backup: Timestamp) -> String {
        "Outcome unknown: the controller was restored from a backup of \(backup.iso8601). The node may have run it, or run it still; it is "
            + "not sent again. What the node reports from now on is in its steps. Look at the host before you repeat it."
    }

    static func begin(
        _ manifest: BackupManifest, authority: CertificateAuthority, lost: LostChanges, now: Timestamp, in tx: any SQLTransaction
    ) throws -> Ended {
        let former = try StoreIdentity(in: tx)
        let last = try former.restoration?.decoded().time ?? Timestamp(milliseconds: 0)
        // A node takes only what is younger than what it has.
        let time = max(now, last.adding(milliseconds: 1))
        let statement = StoreRestorationStatement(
            former: former.epoch, epoch: UUID().uuidString.lowercased(), time: time, mark: try AuditLog.head(in: tx))
        let restoration = try StoreRestoration(statement, by: authority)
        try MetaStore.set(.storeEpoch, to: statement.epoch, in: tx)
        try MetaStore.set(.restoration, to: String(decoding: try JSONCoding.encode(restoration), as: UTF8.self), in: tx)
        try MetaStore.advance(.dispatchFence, in: tx)
        try MetaStore.advance(.accessRevision, in: tx)
        let ended = Ended(
            commands: try endCommands(manifest.createdAt, now, in: tx), activations: try endActivations(now, in: tx),
            sessions: try endSessions(now, in: tx), approvals: try endApprovals(now, in: tx))
        for part in manifest.without where part == .outputs {
            try tx.execute(
                """
                UPDATE step_outputs SET state = 'lost', reason = 'not in the backup that the controller was restored from', updated_at = $1
                WHERE state NOT IN ('lost', 'expired')
                """, [.integer(now.milliseconds)])
        }
        try AuditLog.append(
            LocalCaller.event(
                operation, resource: "*", program: program, now: now,
                details: [
                    "backupTime": manifest.createdAt.iso8601, "backupRecord": String(statement.mark.sequence),
                    "formerEpoch": statement.former,
                    "epoch": statement.epoch, "commandsEnded": String(ended.commands.count),
                    "activationsEnded": String(ended.activations.count), "sessionsEnded": String(ended.sessions),
                    "approvalsEnded": String(ended.approvals), "recordsLost": lost.source == nil ? "unknown" : String(lost.records),
                    "revocationsLost": lost.source == nil ? "unknown" : String(lost.revocations.count),
                ]), in: tx)
        return ended
    }

    private static func endCommands(_ backup: Timestamp, _ now: Timestamp, in tx: any SQLTransaction) throws -> [CommandID] {
        let open = try tx.query(
            "SELECT command_id FROM commands WHERE status IN ('Pending', 'InProgress', 'Cancelling') ORDER BY requested_at, command_id"
        ).compactMap { CommandID(try $0.text("command_id")) }
        for id in open {
            try tx.execute(
                """
                UPDATE invocations SET status = 'Failed', status_details = 'Failed', trace_output = $1, ended_at = $2, is_stray = 0
                WHERE command_id = $3 AND status IN ('Pending', 'Delayed', 'InProgress', 'Cancelling')
                """, [.text(outcomeUnknown(backup)), .integer(now.milliseconds), .text(id.description)])
            let count = Int64(tx.changes)
            try tx.execute(
                """
                UPDATE commands SET status = 'Failed', status_details = 'Incomplete', completed_count = target_count,
                    error_count = error_count + $1, finished_at = $2 WHERE command_id = $3
                """, [.integer(count), .integer(now.milliseconds), .text(id.description)])
            try AuditLog.append(
                AuditEvent(
                    time: now, controllerDid: "CloseCommand", resource: id.description, outcome: .failed,
                    details: ["reason": "outcome unknown after a restore", "invocations": String(count)]), in: tx)
        }
        // Told to stop in a time that is gone: the node may have been told, and run something else by now.
        try tx.execute("UPDATE invocations SET is_stray = 0 WHERE is_stray = 1")
        return open
    }

    /// How many of their registrations have been used since, nobody knows: none of them may be used twice.
    private static func endActivations(_ now: Timestamp, in tx: any SQLTransaction) throws -> [ActivationID] {
        let usable = try tx.query(
            """
            SELECT activation_id FROM activations WHERE deleted = 0 AND expires_at > $1 AND registrations_count < registration_limit
            ORDER BY activation_id
            """, [.integer(now.milliseconds)]
        ).compactMap { ActivationID(try $0.text("activation_id")) }
        for id in usable {
            try ActivationStore.delete(id, in: tx)
            try AuditLog.append(
                AuditEvent(
                    time: now, controllerDid: "DeleteActivation", resource: id.description,
                    details: ["reason": "how often it was used since the backup is unknown"]), in: tx)
        }
        return usable
    }

    private static func endSessions(_ now: Timestamp, in tx: any SQLTransaction) throws -> Int {
        try tx.execute(
            """
            UPDATE sessions SET status = 'Terminated', details = 'the controller was restored from a backup', ended_at = $1,
                token_expires_at = 0 WHERE status NOT IN ('Terminated', 'Failed')
            """, [.integer(now.milliseconds)])
        let count = tx.changes
        // Keys that lived for hours may have been taken back since.
        try tx.execute("DELETE FROM temporary_credentials")
        return count
    }

    /// What was granted may have been used, or taken back.
    private static func endApprovals(_ now: Timestamp, in tx: any SQLTransaction) throws -> Int {
        let open = try ApprovalStore.all(onlyOpen: true, limit: Int(Int32.max), now: now, in: tx)
        for request in open {
            var request = request
            try? request.revoke(by: program, now: now)
            try ApprovalStore.update(request, now: now, in: tx)
        }
        return open.count
    }
}

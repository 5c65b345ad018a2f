/// The schema, as the steps that made it. A step that has run on anyone's data is never changed: append another.
///
/// Only the subset that SQLite and PostgreSQL share: TEXT, BIGINT, explicit keys, no triggers. Times are milliseconds
/// since 1970. JSON is TEXT. Byte strings are base64 in TEXT.
package enum Migrations {
    package struct Step: Sendable {
        let version: Int64
        let name: String
        let statements: [String]
        /// What SQL alone cannot do, after the statements.
        var work: (@Sendable (any SQLTransaction) throws -> Void)?
    }

    package static let all: [Step] = [
        Step(version: 1, name: "controller", statements: controller),
        Step(version: 2, name: "nodes", statements: nodes),
        Step(version: 3, name: "commands", statements: commands),
        Step(version: 4, name: "output", statements: output),
        Step(version: 30, name: "conveniences", statements: conveniences),
        Step(version: 31, name: "authorities", statements: authorities),
        Step(version: 50, name: "sessions", statements: sessions),
        Step(version: 51, name: "recordings", statements: recordings),
        Step(version: 52, name: "documents", statements: documents),
        Step(version: 60, name: "callers", statements: callers),
        Step(version: 65, name: "audit chain", statements: auditChain, work: AuditUpgrade.chainRows),
        Step(version: 70, name: "approvals", statements: approvals),
        Step(version: 75, name: "strays", statements: strays),
        Step(version: 80, name: "token holders", statements: tokenHolders),
        Step(version: 81, name: "tags by key", statements: tagsByKey),
        Step(version: 87, name: "recordings' users", statements: recordingUsers),
        Step(version: 88, name: "sessions' absences", statements: sessionAbsences),
    ]

    /// Applies what is missing. Twice is the same as once.
    package static func run(on database: any SQLDatabase, now: Int64) async throws {
        try await database.write { tx in
            try tx.execute(
                "CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)")
            let done = Set(try tx.query("SELECT version FROM migrations").map { try $0.integer("version") })
            let known = all.map(\.version).max() ?? 0
            if let newest = done.max(), newest > known { throw SQLError.newerSchema(found: newest, known: known) }
            for step in all where !done.contains(step.version) {
                for statement in step.statements { try tx.execute(statement) }
                try step.work?(tx)
                try tx.execute(
                    "INSERT INTO migrations (version, name, applied_at) VALUES ($1, $2, $3)",
                    [.integer(step.version), .text(step.name), .integer(now)])
            }
        }
    }

    /// Whether the database has every step; for `check` and `/readyz`.
    package static func isCurrent(_ database: any SQLDatabase) async throws -> Bool {
        try await database.read { tx in
            guard try tx.first("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'migrations'") != nil else { return false }
            let done = Set(try tx.query("SELECT version FROM migrations").map { try $0.integer("version") })
            return done == Set(all.map(\.version))
        }
    }

    private static let controller = [
        // store_epoch, dispatch_fence, page_token_key, account
        """
        CREATE TABLE meta (
            key TEXT PRIMARY KEY,
            value TEXT NOT NULL)
        """,
        """
        CREATE TABLE operator_keys (
            access_key_id TEXT PRIMARY KEY,
            secret_sealed TEXT NOT NULL,
            user_name TEXT NOT NULL,
            status TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            last_used_at BIGINT)
        """,
        """
        CREATE TABLE audit_events (
            sequence INTEGER PRIMARY KEY,
            event_id TEXT NOT NULL UNIQUE,
            time_ms BIGINT NOT NULL,
            caller TEXT NOT NULL,
            operation TEXT NOT NULL,
            resource TEXT NOT NULL,
            outcome TEXT NOT NULL,
            record TEXT NOT NULL)
        """,
        "CREATE INDEX audit_events_by_time ON audit_events (time_ms)",
        "CREATE INDEX audit_events_by_resource ON audit_events (resource, time_ms)",
        """
        CREATE TABLE idempotent_answers (
            access_key_id TEXT NOT NULL,
            invocation_id TEXT NOT NULL,
            operation TEXT NOT NULL,
            body_digest TEXT NOT NULL,
            answer TEXT NOT NULL,
            expires_at BIGINT NOT NULL,
            PRIMARY KEY (access_key_id, invocation_id, operation, body_digest))
        """,
        "CREATE INDEX idempotent_answers_by_expiry ON idempotent_answers (expires_at)",
    ]

    private static let nodes = [
        """
        CREATE TABLE activations (
            activation_id TEXT PRIMARY KEY,
            code_digest TEXT NOT NULL,
            description TEXT,
            default_instance_name TEXT,
            iam_role TEXT NOT NULL,
            registration_limit BIGINT NOT NULL,
            registrations_count BIGINT NOT NULL DEFAULT 0,
            expires_at BIGINT NOT NULL,
            created_at BIGINT NOT NULL,
            tags TEXT NOT NULL DEFAULT '[]',
            deleted BIGINT NOT NULL DEFAULT 0)
        """,
        "CREATE INDEX activations_by_creation ON activations (created_at, activation_id)",
        // state: registered | deregistered | quarantined. generation starts at 1 and grows when a key is replaced.
        """
        CREATE TABLE nodes (
            node_id TEXT PRIMARY KEY,
            generation BIGINT NOT NULL,
            public_key TEXT NOT NULL,
            key_fingerprint TEXT NOT NULL,
            activation_id TEXT NOT NULL,
            iam_role TEXT NOT NULL,
            name TEXT,
            state TEXT NOT NULL,
            computer_name TEXT,
            ip_address TEXT,
            platform_type TEXT,
            platform_name TEXT,
            platform_version TEXT,
            agent_name TEXT,
            agent_version TEXT,
            registered_at BIGINT NOT NULL,
            deregistered_at BIGINT,
            last_ping_at BIGINT,
            connection_number BIGINT NOT NULL DEFAULT 0,
            certificate_not_after BIGINT,
            source_address TEXT)
        """,
        // A key belongs to one node for ever, also after the node has been deregistered.
        "CREATE UNIQUE INDEX nodes_by_key ON nodes (key_fingerprint)",
        "CREATE INDEX nodes_by_state ON nodes (state, node_id)",
        """
        CREATE TABLE tags (
            resource_type TEXT NOT NULL,
            resource_id TEXT NOT NULL,
            tag_key TEXT NOT NULL,
            tag_value TEXT NOT NULL,
            PRIMARY KEY (resource_type, resource_id, tag_key))
        """,
        "CREATE INDEX tags_by_key ON tags (resource_type, tag_key, tag_value, resource_id)",
    ]

    private static let commands = [
        // status and status_details are SSM's words. document is the whole content as JSON; parameters as the agent takes them.
        """
        CREATE TABLE commands (
            command_id TEXT PRIMARY KEY,
            document_name TEXT NOT NULL,
            document_version TEXT NOT NULL,
            document TEXT NOT NULL,
            parameters TEXT NOT NULL,
            comment TEXT NOT NULL,
            instance_ids TEXT NOT NULL,
            targets TEXT NOT NULL,
            timeout_seconds BIGINT NOT NULL,
            execution_timeout_seconds BIGINT NOT NULL,
            max_concurrency TEXT NOT NULL,
            max_errors TEXT NOT NULL,
            service_role TEXT NOT NULL DEFAULT '',
            requested_by TEXT NOT NULL DEFAULT '',
            status TEXT NOT NULL,
            status_details TEXT NOT NULL,
            target_count BIGINT NOT NULL,
            completed_count BIGINT NOT NULL DEFAULT 0,
            error_count BIGINT NOT NULL DEFAULT 0,
            delivery_timed_out_count BIGINT NOT NULL DEFAULT 0,
            requested_at BIGINT NOT NULL,
            start_by BIGINT NOT NULL,
            expires_at BIGINT NOT NULL,
            finished_at BIGINT,
            cancel_requested BIGINT NOT NULL DEFAULT 0,
            owner_fence BIGINT NOT NULL DEFAULT 0)
        """,
        "CREATE INDEX commands_by_request ON commands (requested_at, command_id)",
        "CREATE INDEX commands_by_status ON commands (status, requested_at)",
        // position keeps the frozen order of the targets; generation binds an invocation to one identity of the node.
        """
        CREATE TABLE invocations (
            command_id TEXT NOT NULL REFERENCES commands (command_id) ON DELETE CASCADE,
            node_id TEXT NOT NULL,
            position BIGINT NOT NULL,
            generation BIGINT NOT NULL,
            instance_name TEXT NOT NULL DEFAULT '',
            status TEXT NOT NULL,
            status_details TEXT NOT NULL,
            requested_at BIGINT NOT NULL,
            sent_at BIGINT,
            acknowledged_at BIGINT,
            started_at BIGINT,
            ended_at BIGINT,
            cancel_requested BIGINT NOT NULL DEFAULT 0,
            response_code BIGINT NOT NULL DEFAULT -1,
            trace_output TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (command_id, node_id))
        """,
        "CREATE INDEX invocations_by_node ON invocations (node_id, requested_at, command_id)",
        "CREATE UNIQUE INDEX invocations_by_position ON invocations (command_id, position)",
        "CREATE INDEX invocations_by_status ON invocations (status, command_id)",
        """
        CREATE TABLE step_results (
            command_id TEXT NOT NULL,
            node_id TEXT NOT NULL,
            step_name TEXT NOT NULL,
            position BIGINT NOT NULL DEFAULT 0,
            plugin TEXT NOT NULL,
            status TEXT NOT NULL,
            status_details TEXT NOT NULL DEFAULT '',
            code BIGINT NOT NULL,
            output TEXT NOT NULL,
            standard_output TEXT NOT NULL,
            standard_error TEXT NOT NULL,
            started_at BIGINT,
            ended_at BIGINT,
            PRIMARY KEY (command_id, node_id, step_name),
            FOREIGN KEY (command_id, node_id) REFERENCES invocations (command_id, node_id) ON DELETE CASCADE)
        """,
    ]

    private static let authorities = [
        // state: next | issuing | former | retired. key_id is the certificate's subject key identifier; bridge is the certificate
        // that the authority before it issued for its key. Keys are in files.
        """
        CREATE TABLE authorities (
            number BIGINT PRIMARY KEY,
            state TEXT NOT NULL,
            key_id TEXT NOT NULL UNIQUE,
            certificate TEXT NOT NULL,
            bridge TEXT,
            prepared_at BIGINT NOT NULL,
            switched_at BIGINT,
            retired_at BIGINT)
        """,
        // The newest certificate that a node was given, and the newest that it has used, each with its issuer and the authorities
        // that were handed out with it; numbers joined by spaces.
        """
        CREATE TABLE node_certificates (
            node_id TEXT PRIMARY KEY REFERENCES nodes (node_id) ON DELETE CASCADE,
            given_serial TEXT NOT NULL,
            given_issuer BIGINT NOT NULL,
            given_authorities TEXT NOT NULL,
            given_until BIGINT NOT NULL,
            used_serial TEXT,
            used_issuer BIGINT,
            used_authorities TEXT,
            used_until BIGINT)
        """,
    ]

    private static let conveniences = [
        """
        CREATE TABLE service_settings (
            setting_id TEXT PRIMARY KEY,
            value TEXT NOT NULL,
            modified_at BIGINT NOT NULL,
            modified_by TEXT NOT NULL)
        """
    ]

    private static let sessions = [
        // facts: SessionFacts, client: SessionClient, both as JSON. document is the whole content as JSON; parameters as the agent takes them.
        // Of the token only its SHA-256 is here.
        """
        CREATE TABLE sessions (
            session_id TEXT PRIMARY KEY,
            node_id TEXT NOT NULL,
            generation BIGINT NOT NULL,
            facts TEXT NOT NULL,
            owner_arn TEXT NOT NULL,
            document TEXT NOT NULL,
            parameters TEXT NOT NULL,
            run_as_user TEXT NOT NULL,
            idle_minutes BIGINT NOT NULL,
            maximum_minutes BIGINT,
            token_digest TEXT NOT NULL,
            token_expires_at BIGINT NOT NULL,
            client_id TEXT,
            client TEXT,
            ordered_at BIGINT,
            status TEXT NOT NULL,
            details TEXT NOT NULL DEFAULT '',
            started_at BIGINT NOT NULL,
            ended_at BIGINT)
        """,
        "CREATE INDEX sessions_by_start ON sessions (started_at, session_id)",
        "CREATE INDEX sessions_by_status ON sessions (status, started_at)",
        "CREATE INDEX sessions_by_node ON sessions (node_id, started_at)",
        "CREATE INDEX sessions_by_end ON sessions (ended_at)",
    ]

    private static let documents = [
        // last_version is the highest number that was ever given: numbers are not used again.
        """
        CREATE TABLE documents (
            name TEXT PRIMARY KEY,
            document_type TEXT NOT NULL,
            default_version BIGINT NOT NULL,
            last_version BIGINT NOT NULL,
            created_at BIGINT NOT NULL)
        """,
        """
        CREATE TABLE document_versions (
            name TEXT NOT NULL,
            version BIGINT NOT NULL,
            version_name TEXT,
            display_name TEXT,
            content TEXT NOT NULL,
            hash TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            created_by TEXT NOT NULL,
            PRIMARY KEY (name, version),
            FOREIGN KEY (name) REFERENCES documents (name) ON DELETE CASCADE)
        """,
        "CREATE UNIQUE INDEX document_versions_by_name ON document_versions (name, version_name)",
    ]

    private static let output = [
        "ALTER TABLE commands ADD COLUMN output_bucket TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE commands ADD COLUMN output_prefix TEXT NOT NULL DEFAULT ''",
        // 0 nothing to copy, 1 something, 2 done.
        "ALTER TABLE commands ADD COLUMN archive_state BIGINT NOT NULL DEFAULT 0",
        "CREATE INDEX commands_by_archive ON commands (archive_state, requested_at)",
        // StepOutputs as JSON: what the node said of the complete streams, and which of them the texts of this row hold.
        "ALTER TABLE step_results ADD COLUMN outputs TEXT NOT NULL DEFAULT ''",
        // state: OutputState. Only of streams whose bytes are in the output folder.
        """
        CREATE TABLE step_outputs (
            command_id TEXT NOT NULL,
            node_id TEXT NOT NULL,
            step_name TEXT NOT NULL,
            stream TEXT NOT NULL,
            state TEXT NOT NULL,
            length BIGINT NOT NULL,
            sha256 TEXT NOT NULL,
            lost BIGINT NOT NULL,
            reason TEXT NOT NULL,
            updated_at BIGINT NOT NULL,
            PRIMARY KEY (command_id, node_id, step_name, stream),
            FOREIGN KEY (command_id, node_id) REFERENCES invocations (command_id, node_id) ON DELETE CASCADE)
        """,
        "CREATE INDEX step_outputs_by_state ON step_outputs (state, updated_at)",
        // Streams that are in the bucket, or cannot be brought there.
        """
        CREATE TABLE output_copies (
            command_id TEXT NOT NULL,
            node_id TEXT NOT NULL,
            step_name TEXT NOT NULL,
            stream TEXT NOT NULL,
            state TEXT NOT NULL,
            reason TEXT NOT NULL,
            PRIMARY KEY (command_id, node_id, step_name, stream),
            FOREIGN KEY (command_id, node_id) REFERENCES invocations (command_id, node_id) ON DELETE CASCADE)
        """,
    ]

    private static let recordings = [
        // facts: SessionFacts as JSON, what the recording began with. length, lines, head: as committed last. flow: FlowRecord as JSON.
        """
        CREATE TABLE recordings (
            session_id TEXT PRIMARY KEY,
            kind TEXT NOT NULL,
            state TEXT NOT NULL,
            detail TEXT NOT NULL,
            facts TEXT NOT NULL,
            node_id TEXT NOT NULL,
            owner TEXT NOT NULL,
            started_at BIGINT NOT NULL,
            ended_at BIGINT,
            end_reason TEXT NOT NULL,
            length BIGINT NOT NULL,
            lines BIGINT NOT NULL,
            head TEXT NOT NULL,
            flow TEXT NOT NULL,
            committed_at BIGINT)
        """,
        "CREATE INDEX recordings_by_start ON recordings (started_at, session_id)",
        "CREATE INDEX recordings_by_state ON recordings (state, ended_at)",
        "CREATE INDEX audit_events_by_operation ON audit_events (operation, sequence)",
    ]

    private static let approvals = [
        // ends_at: when the state ends by itself. record: the whole request.
        """
        CREATE TABLE approvals (
            request_id TEXT PRIMARY KEY,
            user_id TEXT NOT NULL,
            binding TEXT NOT NULL,
            status TEXT NOT NULL,
            requested_at BIGINT NOT NULL,
            ends_at BIGINT NOT NULL,
            record TEXT NOT NULL)
        """,
        "CREATE INDEX approvals_by_binding ON approvals (binding, requested_at)",
        "CREATE INDEX approvals_by_time ON approvals (requested_at)",
    ]

    private static let callers = [
        // Names are compared without regard to case. An id is never given twice.
        """
        CREATE TABLE users (
            user_name TEXT PRIMARY KEY,
            user_id TEXT NOT NULL UNIQUE,
            created_at BIGINT NOT NULL)
        """,
        "CREATE UNIQUE INDEX users_by_folded_name ON users (LOWER(user_name))",
        """
        CREATE TABLE user_groups (
            group_name TEXT PRIMARY KEY,
            group_id TEXT NOT NULL UNIQUE,
            created_at BIGINT NOT NULL)
        """,
        "CREATE UNIQUE INDEX user_groups_by_folded_name ON user_groups (LOWER(group_name))",
        """
        CREATE TABLE group_members (
            group_name TEXT NOT NULL REFERENCES user_groups (group_name),
            user_name TEXT NOT NULL REFERENCES users (user_name),
            PRIMARY KEY (group_name, user_name))
        """,
        "CREATE INDEX group_members_by_user ON group_members (user_name)",
        """
        CREATE TABLE policies (
            policy_name TEXT PRIMARY KEY,
            policy_id TEXT NOT NULL UNIQUE,
            description TEXT NOT NULL,
            document TEXT NOT NULL,
            version BIGINT NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL)
        """,
        "CREATE UNIQUE INDEX policies_by_folded_name ON policies (LOWER(policy_name))",
        // holder_type: user | group. Built-in policies are attached by their names, too.
        """
        CREATE TABLE policy_attachments (
            holder_type TEXT NOT NULL,
            holder TEXT NOT NULL,
            policy_name TEXT NOT NULL,
            PRIMARY KEY (holder_type, holder, policy_name))
        """,
        "CREATE INDEX policy_attachments_by_policy ON policy_attachments (policy_name)",
        """
        CREATE TABLE inline_policies (
            holder_type TEXT NOT NULL,
            holder TEXT NOT NULL,
            policy_name TEXT NOT NULL,
            document TEXT NOT NULL,
            PRIMARY KEY (holder_type, holder, policy_name))
        """,
        // parent_key: the user's own key that these go back to. boundary: documents as a JSON array of texts.
        """
        CREATE TABLE temporary_credentials (
            access_key_id TEXT PRIMARY KEY,
            secret_sealed TEXT NOT NULL,
            token_digest TEXT NOT NULL,
            user_name TEXT NOT NULL,
            user_id TEXT NOT NULL,
            group_name TEXT,
            group_id TEXT,
            session_name TEXT,
            boundary TEXT NOT NULL,
            parent_key TEXT NOT NULL,
            issued_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL)
        """,
        "CREATE INDEX temporary_credentials_by_expiry ON temporary_credentials (expires_at)",
        "CREATE INDEX temporary_credentials_by_user ON temporary_credentials (user_name)",
        "CREATE INDEX temporary_credentials_by_key ON temporary_credentials (parent_key)",
        "ALTER TABLE operator_keys ADD COLUMN last_used_service TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE operator_keys ADD COLUMN last_used_region TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX operator_keys_by_user ON operator_keys (user_name)",
        // SessionAccess as JSON: by whose policies, and asked what, the session was allowed.
        "ALTER TABLE sessions ADD COLUMN access TEXT NOT NULL DEFAULT ''",
        // The user who sent it, in a role as well.
        "ALTER TABLE commands ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
        // Whoever had a key until now could do everything. The letters of a key's id are random; they do for the user's.
        """
        INSERT INTO users (user_name, user_id, created_at)
        SELECT user_name, 'AIDA' || SUBSTR(MIN(access_key_id), 7), MIN(created_at) FROM operator_keys GROUP BY user_name
        """,
        """
        INSERT INTO policy_attachments (holder_type, holder, policy_name)
        SELECT 'user', user_name, 'AdministratorAccess' FROM users
        """,
    ]

    private static let auditChain = [
        // digest: the chain's head after the record, hexadecimal. related: the other resource of an event that has two.
        "ALTER TABLE audit_events ADD COLUMN digest TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE audit_events ADD COLUMN related TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE audit_events ADD COLUMN user_name TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX audit_events_by_related ON audit_events (related, sequence) WHERE related <> ''",
        "CREATE INDEX audit_events_by_user ON audit_events (user_name, sequence) WHERE user_name <> ''",
        // One row. account and region are what records say of where they were made.
        """
        CREATE TABLE audit_head (
            number BIGINT PRIMARY KEY,
            trail TEXT NOT NULL,
            sequence BIGINT NOT NULL,
            digest TEXT NOT NULL,
            account TEXT NOT NULL,
            region TEXT NOT NULL)
        """,
        // kind: AuditStatement.Kind. checkpoint: AuditCheckpoint as JSON.
        """
        CREATE TABLE audit_checkpoints (
            number BIGINT PRIMARY KEY,
            kind TEXT NOT NULL,
            sequence BIGINT NOT NULL,
            time_ms BIGINT NOT NULL,
            checkpoint TEXT NOT NULL)
        """,
        // How far each target has the trail: the last record, and the number of the last checkpoint.
        """
        CREATE TABLE audit_deliveries (
            target TEXT PRIMARY KEY,
            trail TEXT NOT NULL,
            sequence BIGINT NOT NULL,
            digest TEXT NOT NULL,
            checkpoint BIGINT NOT NULL)
        """,
    ]

    private static let strays = [
        // The invocation has ended although its node may be running it: it is told to stop when it comes back.
        "ALTER TABLE invocations ADD COLUMN is_stray BIGINT NOT NULL DEFAULT 0",
        "CREATE INDEX invocations_by_stray ON invocations (command_id) WHERE is_stray = 1",
    ]

    private static let tokenHolders = [
        // SessionGrant.Holder as JSON: whom the token was issued to. token_used: it has opened the session.
        "ALTER TABLE sessions ADD COLUMN token_holder TEXT",
        "ALTER TABLE sessions ADD COLUMN token_used BIGINT NOT NULL DEFAULT 0",
    ]

    private static let recordingUsers = [
        // Who the session ran as, as the host said.
        "ALTER TABLE recordings ADD COLUMN os_user TEXT NOT NULL DEFAULT ''"
    ]

    private static let sessionAbsences = [
        // When the session took on its status; 0 is not known.
        "ALTER TABLE sessions ADD COLUMN status_at BIGINT NOT NULL DEFAULT 0"
    ]

    private static let tagsByKey = [
        // The key first: an index that began with the type and held all columns was what SQLite took for the tags of one resource too, and
        // so read those of all.
        "DROP INDEX tags_by_key",
        "CREATE INDEX tags_by_key ON tags (tag_key, resource_type, tag_value, resource_id)",
    ]
}

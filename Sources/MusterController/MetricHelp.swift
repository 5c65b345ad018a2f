/// What `/metrics` says of each series, and which are there before anything has happened: an alarm on a series that does not exist yet never
/// rings. [value]
enum MetricHelp {
    enum Kind {
        case counter
        case gauge
        case other
    }

    static let all: [(name: String, kind: Kind, text: String)] = [
        ("muster_agent_frames_refused_total", .other, "Frames of agents that were refused, by reason."),
        ("muster_agents_connected", .gauge, "Control channels that were admitted."),
        ("muster_audit_undelivered_records", .other, "Records of the audit trail that a target does not have yet."),
        ("muster_bodies_bytes", .gauge, "Bytes of requests whose senders are not known yet."),
        (
            "muster_certificate_not_after_seconds", .other,
            "When a certificate ends, in seconds since 1970; of nodes the one that ends first."
        ),
        ("muster_commands_open", .gauge, "Commands that have not ended."),
        ("muster_connections_cut_total", .other, "Connections that lost their place to another."),
        ("muster_connections_open", .other, "Places taken now, by kind."),
        ("muster_connections_refused_total", .other, "Connections that found no place."),
        ("muster_control_channels_total", .counter, "Control channels that were opened."),
        ("muster_data_channels_total", .other, "Data channels of sessions that were opened."),
        ("muster_data_channels_unopened", .gauge, "Data channels that wait for their token."),
        ("muster_denials_total", .other, "Calls that were denied."),
        ("muster_disk_free_bytes", .gauge, "Room that is left on the disk of the data folder."),
        ("muster_dispatch_accept_to_send_seconds", .other, "From a command's acceptance to its first frame to a target."),
        ("muster_dispatch_send_to_answer_seconds", .other, "From that frame to the node's first word."),
        ("muster_held_request_duration_seconds", .other, "How long requests took that wait for news by design."),
        ("muster_invocations_in_flight", .gauge, "Invocations that a node may have now."),
        ("muster_invocations_total", .other, "Invocations that ended, by StatusDetails."),
        ("muster_nodes", .other, "Managed nodes in the store, by state."),
        ("muster_nodes_by_version", .other, "Registered nodes, by the version of their agent."),
        ("muster_nodes_quarantined_total", .counter, "Times that two hosts were found to hold one identity."),
        ("muster_operations_total", .other, "Calls of the API, by operation and outcome."),
        ("muster_polling_connections_total", .counter, "Nodes' connections that began by polling."),
        ("muster_registrations_refused_total", .counter, "Registrations with a wrong code or an unknown activation."),
        ("muster_request_duration_seconds", .other, "How long answers took."),
        ("muster_responses_total", .other, "Answers, by status."),
        ("muster_session_bytes_total", .other, "Bytes that sessions carried, by direction."),
        ("muster_session_frames_refused_total", .other, "Frames of sessions that were refused."),
        ("muster_session_open_seconds", .other, "From a session's client to its host."),
        ("muster_sessions_active", .gauge, "Sessions that have not ended."),
        ("muster_sessions_total", .other, "Sessions that were started, by kind."),
        ("muster_store_bytes", .gauge, "Bytes of the store's files."),
        ("muster_tls_handshake_failures_total", .counter, "TLS handshakes that failed."),
    ]

    static let text = Dictionary(all.map { ($0.name, $0.text) }) { first, _ in first }
}

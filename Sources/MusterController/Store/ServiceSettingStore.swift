package import MusterWire

/// The service settings that somebody has changed; the others are at their defaults and have no row.
package enum ServiceSettingStore {
    package struct Record: Sendable, Equatable {
        package let value: String
        package let modifiedAt: Timestamp
        package let modifiedBy: String
    }

    package static func record(_ id: String, in tx: any SQLTransaction) throws -> Record? {
        try tx.first("SELECT value, modified_at, modified_by FROM service_settings WHERE setting_id = $1", [.text(id)]).map { row in
            Record(
                value: try row.text("value"), modifiedAt: Timestamp(milliseconds: try row.integer("modified_at")),
                modifiedBy: try row.text("modified_by"))
        }
    }

    package static func set(_ id: String, _ record: Record, in tx: any SQLTransaction) throws {
        try tx.execute(
            """
            INSERT INTO service_settings (setting_id, value, modified_at, modified_by) VALUES ($1, $2, $3, $4)
            ON CONFLICT (setting_id) DO UPDATE SET value = $2, modified_at = $3, modified_by = $4
            """,
            [.text(id), .text(record.value), .integer(record.modifiedAt.milliseconds), .text(record.modifiedBy)])
    }

    package static func remove(_ id: String, in tx: any SQLTransaction) throws {
        try tx.execute("DELETE FROM service_settings WHERE setting_id = $1", [.text(id)])
    }
}

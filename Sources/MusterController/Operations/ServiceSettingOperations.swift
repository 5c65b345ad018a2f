import MusterWire

/// GetServiceSetting, UpdateServiceSetting, ResetServiceSetting.
///
/// A setting is served when one of its values is what Muster does anyway: tools that ask for that value, or set it before they go
/// on, work, and a value that would promise something else is refused. docs/decisions/0030-service-settings.md
package struct ServiceSettingOperations: Sendable {
    private let database: any SQLDatabase

    package init(database: any SQLDatabase) {
        self.database = database
    }

    package func register(in table: inout OperationTable) {
        table.register(
            GetServiceSetting.self, permission: "ssm:GetServiceSetting", route: .operators,
            access: .on { input, context in [.serviceSetting(input.settingID ?? "", context)] }, changes: false, get)
        table.register(
            UpdateServiceSetting.self, permission: "ssm:UpdateServiceSetting", route: .operators,
            access: .on { input, context in [.serviceSetting(input.settingID ?? "", context)] }, changes: true, update)
        table.register(
            ResetServiceSetting.self, permission: "ssm:ResetServiceSetting", route: .operators,
            access: .on { input, context in [.serviceSetting(input.settingID ?? "", context)] }, changes: true, reset)
    }

    private struct Setting: Sendable {
        let id: String
        let value: String
        /// SSM's other values, and why they are not taken.
        let refused: [String]
        let reason: String
    }

    private static let served = [
        Setting(
            id: "/ssm/managed-instance/activation-tier", value: "advanced", refused: ["standard"],
            reason: "there is one tier here, without the limits of the standard one"),
        Setting(
            id: "/ssm/documents/console/public-sharing-permission", value: "Disable", refused: ["Enable"],
            reason: "documents are not shared with other accounts here"),
    ]

    private static let notServed: Set<String> = [
        "/ssm/parameter-store/default-parameter-tier", "/ssm/parameter-store/high-throughput-enabled",
        "/ssm/managed-instance/default-ec2-instance-management-role", "/ssm/automation/customer-script-log-destination",
        "/ssm/automation/customer-script-log-group-name", "/ssm/automation/enable-adaptive-concurrency", "/ssm/opsinsights/opscenter",
        "/ssm/appmanager/appmanager-enabled",
    ]

    // MARK: Operations

    @Sendable func get(_ input: GetServiceSetting.Input, _ context: OperationContext) async throws -> GetServiceSetting.Output {
        let setting = try Self.find(input.settingID, operation: GetServiceSetting.name, context)
        let record = try await database.read { tx in try ServiceSettingStore.record(setting.id, in: tx) }
        return .init(serviceSetting: Self.shape(setting, record, context))
    }

    @Sendable func update(_ input: UpdateServiceSetting.Input, _ context: OperationContext) async throws -> UpdateServiceSetting.Output {
        let setting = try Self.find(input.settingID, operation: UpdateServiceSetting.name, context)
        let value = try input.settingValue.required("settingValue")
        if setting.refused.contains(value) {
            throw APIError.validation("\(setting.id) cannot be '\(value)': \(setting.reason). It is '\(setting.value)'.")
        }
        guard value == setting.value else {
            throw APIError.validation("'\(value.prefix(128))' is not a value of \(setting.id). It is '\(setting.value)'.")
        }
        let record = ServiceSettingStore.Record(value: value, modifiedAt: context.now, modifiedBy: context.caller.arn)
        try await database.write { tx in
            try ServiceSettingStore.set(setting.id, record, in: tx)
            try AuditLog.append(context.audit(UpdateServiceSetting.name, resource: setting.id, details: ["value": value]), in: tx)
        }
        return UpdateServiceSetting.Output()
    }

    @Sendable func reset(_ input: ResetServiceSetting.Input, _ context: OperationContext) async throws -> ResetServiceSetting.Output {
        let setting = try Self.find(input.settingID, operation: ResetServiceSetting.name, context)
        try await database.write { tx in
            try ServiceSettingStore.remove(setting.id, in: tx)
            try AuditLog.append(context.audit(ResetServiceSetting.name, resource: setting.id), in: tx)
        }
        return .init(serviceSetting: Self.shape(setting, nil, context))
    }

    // MARK: One setting

    /// By its path or its ARN, which has to be of this account.
    private static func find(_ given: String?, operation: String, _ context: OperationContext) throws -> Setting {
        let given = try given.required("settingId")
        var path = given
        if given.hasPrefix("arn:") {
            let parts = given.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false)
            let prefix = "servicesetting"
            guard parts.count == 6, parts[2] == "ssm", parts[4] == context.account, parts[5].hasPrefix("\(prefix)/") else {
                throw unknown(given)
            }
            path = String(parts[5].dropFirst(prefix.count))
        } else if !path.hasPrefix("/") {
            path = "/" + path
        }
        if let setting = served.first(where: { $0.id == path }) { return setting }
        guard notServed.contains(path) else { throw unknown(given) }
        throw APIError.validation("\(operation) does not serve the setting \(path) yet: what it would govern is not there.")
    }

    private static func unknown(_ id: String) -> APIError {
        .serviceSettingNotFound("There is no service setting '\(id.prefix(128))'.")
    }

    private static func shape(_ setting: Setting, _ record: ServiceSettingStore.Record?, _ context: OperationContext) -> ServiceSetting {
        ServiceSetting(
            settingID: setting.id, settingValue: record?.value ?? setting.value, lastModifiedDate: record?.modifiedAt,
            lastModifiedUser: record?.modifiedBy ?? "System",
            arn: "arn:aws:ssm:\(context.region):\(context.account):servicesetting\(setting.id)",
            status: record == nil ? .default : .customized)
    }
}

import MusterWire
import Testing

@testable import MusterController

@Suite(.timeLimit(.minutes(1))) struct ServiceSettingTests {
    static let tier = "/ssm/managed-instance/activation-tier"

    @Test func aChangeIsKeptAndAudited() async throws {
        let fixture = try await EnrolmentFixture()
        let settings = ServiceSettingOperations(database: fixture.database)
        let before = try await settings.get(.init(settingID: Self.tier), fixture.context()).serviceSetting
        #expect(before.settingValue == "advanced" && before.status == .default && before.lastModifiedDate == nil)
        #expect(before.arn == "arn:aws:ssm:local:000000000001:servicesetting" + Self.tier)
        _ = try await settings.update(.init(settingID: before.arn, settingValue: "advanced"), fixture.context())
        let after = try await settings.get(.init(settingID: "ssm/managed-instance/activation-tier"), fixture.context()).serviceSetting
        #expect(
            after.status == .customized && after.lastModifiedUser == "arn:aws:iam::000000000001:user/admin"
                && after.lastModifiedDate == fixture.clock.now)
        #expect(try await settings.reset(.init(settingID: Self.tier), fixture.context()).serviceSetting == before)
        #expect(try await settings.get(.init(settingID: Self.tier), fixture.context()).serviceSetting == before)
        #expect(try await fixture.audit("UpdateServiceSetting").map(\.resource) == [Self.tier])
        #expect(try await fixture.audit("ResetServiceSetting").map(\.resource) == [Self.tier])
    }

    @Test(arguments: [
        (tier, "standard", "ValidationException"), (tier, "x", "ValidationException"),
        ("/ssm/documents/console/public-sharing-permission", "Enable", "ValidationException"),
        ("/ssm/managed-instance/default-ec2-instance-management-role", "r", "ValidationException"),
        ("/ssm/x", "x", "ServiceSettingNotFound"),
        ("arn:aws:ssm:local:000000000002:servicesetting" + tier, "advanced", "ServiceSettingNotFound"),
        ("arn:", "advanced", "ServiceSettingNotFound"),
        ("arn:aws:ssm:local:000000000001:servicesetting", "advanced", "ServiceSettingNotFound"),
    ])
    func whatIsRefusedChangesNothing(id: String, value: String, code: String) async throws {
        let fixture = try await EnrolmentFixture()
        let settings = ServiceSettingOperations(database: fixture.database)
        do {
            _ = try await settings.update(.init(settingID: id, settingValue: value), fixture.context())
            Issue.record("\(id) took \(value)")
        } catch let error as APIError { #expect(error.code == code) }
        #expect(try await fixture.audit("UpdateServiceSetting").isEmpty)
    }
}

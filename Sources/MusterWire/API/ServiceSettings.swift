package enum GetServiceSetting: Operation {
    package static let name = "GetServiceSetting"

    package typealias Input = ServiceSettingInput
    package typealias Output = ServiceSettingOutput
}

package enum ResetServiceSetting: Operation {
    package static let name = "ResetServiceSetting"

    package typealias Input = ServiceSettingInput
    package typealias Output = ServiceSettingOutput
}

package enum UpdateServiceSetting: Operation {
    package static let name = "UpdateServiceSetting"

    package struct Input: Codable, Sendable, Equatable, Validatable {
        package var settingID: String?
        package var settingValue: String?

        package init(settingID: String? = nil, settingValue: String? = nil) {
            self.settingID = settingID
            self.settingValue = settingValue
        }

        enum CodingKeys: String, CodingKey {
            case settingID = "SettingId"
            case settingValue = "SettingValue"
        }

        package func validate(_ validation: inout Validation) {
            validation.string("settingId", settingID, .required, .length(1...1000))
            validation.string("settingValue", settingValue, .required, .length(1...4096))
        }
    }

    package typealias Output = EmptyOutput
}

package struct ServiceSettingInput: Codable, Sendable, Equatable, Validatable {
    package var settingID: String?

    package init(settingID: String? = nil) {
        self.settingID = settingID
    }

    enum CodingKeys: String, CodingKey {
        case settingID = "SettingId"
    }

    package func validate(_ validation: inout Validation) {
        validation.string("settingId", settingID, .required, .length(1...1000))
    }
}

package struct ServiceSettingOutput: Codable, Sendable, Equatable {
    package var serviceSetting: ServiceSetting

    package init(serviceSetting: ServiceSetting) {
        self.serviceSetting = serviceSetting
    }

    enum CodingKeys: String, CodingKey {
        case serviceSetting = "ServiceSetting"
    }
}

package struct ServiceSetting: Codable, Sendable, Equatable {
    package var settingID: String
    package var settingValue: String
    package var lastModifiedDate: Timestamp?
    package var lastModifiedUser: String?
    package var arn: String
    package var status: Status

    package enum Status: String, Codable, Sendable {
        case `default` = "Default"
        case customized = "Customized"
    }

    package init(
        settingID: String, settingValue: String, lastModifiedDate: Timestamp? = nil, lastModifiedUser: String? = nil, arn: String,
        status: Status
    ) {
        self.settingID = settingID
        self.settingValue = settingValue
        self.lastModifiedDate = lastModifiedDate
        self.lastModifiedUser = lastModifiedUser
        self.arn = arn
        self.status = status
    }

    enum CodingKeys: String, CodingKey {
        case settingID = "SettingId"
        case settingValue = "SettingValue"
        case lastModifiedDate = "LastModifiedDate"
        case lastModifiedUser = "LastModifiedUser"
        case arn = "ARN"
        case status = "Status"
    }
}

internal import FoundationEssentials
package import MusterConfiguration
package import MusterLogging

/// `controller-config/controller.json5`, where every key stands at its default with a comment.
package struct ControllerConfiguration: Sendable, Decodable, Equatable, ConfigurationKeys {
    package static let defaultPath = "/etc/muster/controller.json5"
    package static let environmentPrefix = "MUSTER_CONTROLLER_"

    package struct Listener: Sendable, Decodable, Equatable {
        package var address: String
        package var port: Int
        package var serves: [String]
        package var certificate: String?
        package var key: String?
        package var webSockets: Bool

        package init(
            address: String, port: Int, serves: [String] = ["agents", "operators"], certificate: String? = nil, key: String? = nil,
            webSockets: Bool = true
        ) {
            self.address = address
            self.port = port
            self.serves = serves
            self.certificate = certificate
            self.key = key
            self.webSockets = webSockets
        }

        package init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: Keys.self)
            self.init(
                address: try values.decodeIfPresent(String.self, forKey: .address) ?? "0.0.0.0",
                port: try values.decodeIfPresent(Int.self, forKey: .port) ?? 8443,
                serves: try values.decodeIfPresent([String].self, forKey: .serves) ?? ["agents", "operators"],
                certificate: try values.decodeIfPresent(String.self, forKey: .certificate),
                key: try values.decodeIfPresent(String.self, forKey: .key),
                webSockets: try values.decodeIfPresent(Bool.self, forKey: .webSockets) ?? true)
        }

        private enum Keys: String, CodingKey { case address, port, serves, certificate, key, webSockets }

        /// `ADDRESS:PORT`, with IPv6 addresses in brackets.
        package init(argument: String) throws {
            guard let colon = argument.lastIndex(of: ":"), let port = Int(argument[argument.index(after: colon)...]),
                (0...65535).contains(port)
            else {
                throw ControllerError.badListener(argument)
            }
            var address = String(argument[..<colon])
            if address.hasPrefix("["), address.hasSuffix("]") { address = String(address.dropFirst().dropLast()) }
            guard !address.isEmpty else { throw ControllerError.badListener(argument) }
            self.init(address: address, port: port)
        }
    }

    package var account = "000000000001"
    /// Where everything is: in the ARNs of nodes, documents and sessions.
    package var region = "us-east-1"
    package var regions: [String] = []
    package var dataDirectory = "/var/lib/muster-controller"
    package var listeners = [Listener(address: "0.0.0.0", port: 8443)]
    package var names: [String] = []
    package var certificateHours = 24
    package var offlineSeconds = 60
    package var maximumBodyBytes = 1 << 20
    package var requestsPerSecond = 100
    package var requestBurst = 200
    package var metricsFrom = ["127.0.0.0/8", "::1"]
    package var maximumConnections = 32_768
    package var handshakeSeconds = 10
    package var requestSeconds = 30
    package var historyDays = 30
    package var totalTimeoutSlackSeconds = 30
    package var outputNodeBytes = 10 << 30
    package var outputNodeTotalBytes = 20 << 30
    package var outputTotalBytes = 100 << 30
    package var outputDays = 30
    package var recordingBytes = 1 << 30
    package var recordingPipeBytes = 4 << 20
    package var recordingTotalBytes = 100 << 30
    package var recordingDays = 90
    package var recordingCommitSeconds = 5
    package var auditDays = 365
    package var auditCheckpointSeconds = 3_600
    package var auditFolder: String?
    package var auditS3Bucket: String?
    package var auditS3Prefix = "audit/"
    package var auditSyslog: String?
    package var outputS3Endpoint: String?
    package var outputS3Region = "us-east-1"
    package var outputS3Bucket: String?
    package var outputS3Buckets: [String] = []
    package var outputS3PathStyle = true
    package var outputS3CredentialsFile: String?
    package var diskReserveBytes = 512 << 20
    package var logLevel = "info"
    package var logFormat = LogFormat.logfmt

    package init() {}

    package static let schema: [String: ConfigurationSchema] = [
        "account": .string,
        "region": .string,
        "regions": .strings,
        "dataDirectory": .string,
        "listeners": .list(
            .object([
                "address": .string,
                "port": .integer(0...65535),
                "serves": .list(.choice(["agents", "operators"])),
                "certificate": .optional(.string),
                "key": .optional(.string),
                "webSockets": .boolean,
            ])),
        "names": .strings,
        "certificateHours": .integer(1...8760),
        "offlineSeconds": .integer(30...86_400),
        "maximumBodyBytes": .integer(65_536...16_777_216),
        "requestsPerSecond": .integer(1...100_000),
        "requestBurst": .integer(1...100_000),
        "metricsFrom": .strings,
        "maximumConnections": .integer(256...1_000_000),
        "handshakeSeconds": .integer(1...300),
        "requestSeconds": .integer(1...3_600),
        "historyDays": .integer(1...3_650),
        "totalTimeoutSlackSeconds": .integer(5...3_600),
        "outputNodeBytes": .integer(0...1_099_511_627_776),
        "outputNodeTotalBytes": .integer(0...1_125_899_906_842_624),
        "outputTotalBytes": .integer(0...1_125_899_906_842_624),
        "outputDays": .integer(1...3_650),
        "recordingBytes": .integer(0...1_099_511_627_776),
        "recordingPipeBytes": .integer(0...1_099_511_627_776),
        "recordingTotalBytes": .integer(0...1_125_899_906_842_624),
        "recordingDays": .integer(1...3_650),
        "recordingCommitSeconds": .integer(1...60),
        "auditDays": .integer(1...36_500),
        "auditCheckpointSeconds": .integer(1...86_400),
        "auditFolder": .optional(.string),
        "auditS3Bucket": .optional(.string),
        "auditS3Prefix": .string,
        "auditSyslog": .optional(.string),
        "outputS3Endpoint": .optional(.string),
        "outputS3Region": .string,
        "outputS3Bucket": .optional(.string),
        "outputS3Buckets": .strings,
        "outputS3PathStyle": .boolean,
        "outputS3CredentialsFile": .optional(.string),
        "diskReserveBytes": .integer(0...1_125_899_906_842_624),
        "logLevel": .choice(["trace", "debug", "info", "notice", "warning", "error", "critical"]),
        "logFormat": .choice(LogFormat.allCases.map(\.rawValue)),
    ]

    private enum Keys: String, CodingKey {
        case account, region, regions, dataDirectory, listeners, names, certificateHours, offlineSeconds, maximumBodyBytes
        case maximumConnections, requestsPerSecond, requestBurst, metricsFrom, handshakeSeconds, requestSeconds, historyDays,
            totalTimeoutSlackSeconds, logLevel
        case logFormat
        case outputNodeBytes, outputNodeTotalBytes, outputTotalBytes, outputDays, outputS3Endpoint, outputS3Region, outputS3Bucket,
            outputS3Buckets,
            outputS3PathStyle,
            outputS3CredentialsFile, recordingBytes, recordingPipeBytes, recordingTotalBytes, recordingDays, recordingCommitSeconds,
            diskReserveBytes
        case auditDays, auditCheckpointSeconds, auditFolder, auditS3Bucket, auditS3Prefix, auditSyslog
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Keys.self)
        func value<T: Decodable>(_ key: Keys, _ otherwise: T) throws -> T { try values.decodeIfPresent(T.self, forKey: key) ?? otherwise }
        account = try value(.account, account)
        regions = try value(.regions, regions)
        region = try value(.region, regions.first ?? region)
        dataDirectory = try value(.dataDirectory, dataDirectory)
        listeners = try value(.listeners, listeners)
        names = try value(.names, names)
        certificateHours = try value(.certificateHours, certificateHours)
        offlineSeconds = try value(.offlineSeconds, offlineSeconds)
        maximumBodyBytes = try value(.maximumBodyBytes, maximumBodyBytes)
        requestsPerSecond = try value(.requestsPerSecond, requestsPerSecond)
        requestBurst = try value(.requestBurst, requestBurst)
        metricsFrom = try value(.metricsFrom, metricsFrom)
        maximumConnections = try value(.maximumConnections, maximumConnections)
        handshakeSeconds = try value(.handshakeSeconds, handshakeSeconds)
        requestSeconds = try value(.requestSeconds, requestSeconds)
        historyDays = try value(.historyDays, historyDays)
        totalTimeoutSlackSeconds = try value(.totalTimeoutSlackSeconds, totalTimeoutSlackSeconds)
        outputNodeBytes = try value(.outputNodeBytes, outputNodeBytes)
        outputNodeTotalBytes = try value(.outputNodeTotalBytes, outputNodeTotalBytes)
        outputTotalBytes = try value(.outputTotalBytes, outputTotalBytes)
        outputDays = try value(.outputDays, outputDays)
        recordingBytes = try value(.recordingBytes, recordingBytes)
        recordingPipeBytes = try value(.recordingPipeBytes, recordingPipeBytes)
        recordingTotalBytes = try value(.recordingTotalBytes, recordingTotalBytes)
        recordingDays = try value(.recordingDays, recordingDays)
        recordingCommitSeconds = try value(.recordingCommitSeconds, recordingCommitSeconds)
        auditDays = try value(.auditDays, auditDays)
        auditCheckpointSeconds = try value(.auditCheckpointSeconds, auditCheckpointSeconds)
        auditFolder = try values.decodeIfPresent(String.self, forKey: .auditFolder)
        auditS3Bucket = try values.decodeIfPresent(String.self, forKey: .auditS3Bucket)
        auditS3Prefix = try value(.auditS3Prefix, auditS3Prefix)
        auditSyslog = try values.decodeIfPresent(String.self, forKey: .auditSyslog)
        outputS3Endpoint = try values.decodeIfPresent(String.self, forKey: .outputS3Endpoint)
        outputS3Region = try value(.outputS3Region, outputS3Region)
        outputS3Bucket = try values.decodeIfPresent(String.self, forKey: .outputS3Bucket)
        outputS3Buckets = try value(.outputS3Buckets, outputS3Buckets)
        outputS3PathStyle = try value(.outputS3PathStyle, outputS3PathStyle)
        outputS3CredentialsFile = try values.decodeIfPresent(String.self, forKey: .outputS3CredentialsFile)
        diskReserveBytes = try value(.diskReserveBytes, diskReserveBytes)
        logLevel = try value(.logLevel, logLevel)
        logFormat = try value(.logFormat, logFormat)
        try validate()
    }

    /// From the file, or with the defaults when none is named and none is at its usual place; then the environment.
    package static func load(path: String?, environment: [String: String]) throws -> ControllerConfiguration {
        if let path = path ?? (FileManager.default.fileExists(atPath: defaultPath) ? defaultPath : nil) {
            return try ConfigurationLoader.load(Self.self, path: path, environmentPrefix: environmentPrefix, environment: environment)
        }
        return try ConfigurationLoader.load(
            Self.self, text: "{}", source: "the defaults", environmentPrefix: environmentPrefix, environment: environment)
    }

    /// Listeners at other addresses, alike otherwise to the configured ones.
    package func listening(on addresses: [String]) throws -> [Listener] {
        try addresses.enumerated().map { index, address in
            var listener = try Listener(argument: address)
            listener.webSockets = (index < listeners.count ? listeners[index] : listeners.last)?.webSockets ?? true
            return listener
        }
    }

    /// What the schema cannot say.
    package func validate() throws {
        guard account.utf8.count == 12, account.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            throw ControllerError.badSetting("'account' must be 12 digits; it is \"\(account)\".")
        }
        for (key, region) in [("region", region)] + regions.map({ ("regions", $0) }) where !Self.isRegion(region) {
            throw ControllerError.badSetting(
                "'\(key)' names \"\(region)\". A region is small letters, digits and hyphens, as us-east-1.")
        }
        guard !listeners.isEmpty else { throw ControllerError.badSetting("'listeners' is empty: nobody could reach the controller.") }
        for listener in listeners {
            guard !listener.serves.isEmpty else {
                throw ControllerError.badSetting(
                    "The listener \(listener.address):\(listener.port) serves nobody. Put \"agents\", \"operators\" or both into its 'serves'."
                )
            }
            guard (listener.certificate == nil) == (listener.key == nil) else {
                throw ControllerError.badSetting(
                    "The listener \(listener.address):\(listener.port) has a certificate without a key, or a key without a certificate. Set both or neither."
                )
            }
        }
        for name in names where !Self.isName(name) { throw ControllerError.badName(name) }
        for source in metricsFrom where AddressRange(source) == nil {
            throw ControllerError.badSetting(
                "'metricsFrom' names \"\(source)\", which is no address (10.1.2.3) and no network (10.1.0.0/16, fd00::/8).")
        }
    }

    /// A DNS name (RFC 1123 section 2.1) or an address: what may stand in a certificate.
    package static func isName(_ name: String) -> Bool {
        (1...253).contains(name.utf8.count)
            && (name.utf8.allSatisfy { isHexDigit($0) || $0 == UInt8(ascii: ":") } && name.contains(":")
                || name.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
                    (1...63).contains(label.utf8.count) && label.utf8.allSatisfy { isLetterOrDigit($0) || $0 == UInt8(ascii: "-") }
                        && !label.hasPrefix("-") && !label.hasSuffix("-")
                })
    }

    /// It stands in ARNs and in credential scopes.
    package static func isRegion(_ region: String) -> Bool {
        (1...64).contains(region.utf8.count) && !region.hasPrefix("-") && !region.hasSuffix("-")
            && region.utf8.allSatisfy {
                isLetterOrDigit($0) && !(UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) || $0 == UInt8(ascii: "-")
            }
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"): true
        default: false
        }
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        default: false
        }
    }

    /// What callers may sign for, empty for anything. For its own region a controller can always be called.
    var signingRegions: Set<String> { regions.isEmpty ? [] : Set(regions + [region]) }
}

import Glibc
package import Logging
package import MusterClient
package import MusterConfiguration
package import MusterLogging

/// What agent.json5 holds. Every key has a default; the controller usually comes from the identity that `register` stored.
package struct AgentConfiguration: Sendable, Decodable, ConfigurationKeys, Equatable {
    /// Only a default for `register`; a registered agent talks to the controller it is registered with.
    package var controller: String?
    package var stateDirectory = "/var/lib/muster-agent"
    package var region = "us-east-1"
    package var maximumParallelJobs = 5
    package var queuedJobs = 5
    package var keepAliveSeconds = 20
    package var heartbeatSeconds = 300
    package var logLevel = "info"
    package var logFormat = LogFormat.logfmt
    package var scriptShell = "/bin/sh"
    package var tombstoneHours = 336
    package var transport = TransportChoice.Preference.auto
    package var webSocketRetrySeconds = 60
    package var proxy: String?
    package var proxyPasswordFile: String?
    package var outputBudgetBytes = StepOrder.outputBudget
    package var allowReboot = true
    package var rebootCommand = ["systemctl", "reboot"]
    package var rebootWaitSeconds = 600
    package var rebootPatienceSeconds = 300
    package var bootIDFile = ProcessTable.bootIDFile
    package var sessionsEnabled = true
    package var sessionRunAsDefault: String?
    package var sessionPamService: String?
    package var sessionDeniedTargets = DeniedTargets.standard
    package var maximumSessions = 1000

    package static let environmentPrefix = "MUSTER_AGENT_"
    package static let defaultPath = "/etc/muster/agent.json5"

    package init() {}

    package static let schema: [String: ConfigurationSchema] = [
        "controller": .optional(.string),
        "stateDirectory": .string,
        "region": .string,
        "maximumParallelJobs": .integer(1...1000),
        "queuedJobs": .integer(0...10_000),
        // Home routers forget a silent connection after 30 seconds.
        "keepAliveSeconds": .integer(1...25),
        "heartbeatSeconds": .integer(5...3600),
        "logLevel": .choice(["trace", "debug", "info", "notice", "warning", "error", "critical"]),
        "logFormat": .choice(LogFormat.allCases.map(\.rawValue)),
        "scriptShell": .string,
        "tombstoneHours": .integer(1...8760),
        "transport": .choice(TransportChoice.Preference.allCases.map(\.rawValue)),
        "webSocketRetrySeconds": .integer(1...3600),
        "proxy": .optional(.string),
        "proxyPasswordFile": .optional(.string),
        "outputBudgetBytes": .integer(0...1_099_511_627_776),
        "allowReboot": .boolean,
        "rebootCommand": .strings,
        "rebootWaitSeconds": .integer(0...86_400),
        "rebootPatienceSeconds": .integer(1...3600),
        "bootIdFile": .string,
        "sessionsEnabled": .boolean,
        "sessionRunAsDefault": .optional(.string),
        "sessionPamService": .optional(.string),
        "sessionDeniedTargets": .strings,
        "maximumSessions": .integer(1...10_000),
    ]

    private enum CodingKeys: String, CodingKey {
        case controller, stateDirectory, region, maximumParallelJobs, queuedJobs, keepAliveSeconds, heartbeatSeconds, logLevel, logFormat,
            scriptShell, tombstoneHours, transport, webSocketRetrySeconds, proxy, proxyPasswordFile, outputBudgetBytes,
            allowReboot, rebootCommand, rebootWaitSeconds, rebootPatienceSeconds,
            sessionsEnabled, sessionRunAsDefault, sessionPamService, sessionDeniedTargets, maximumSessions
        case bootIDFile = "bootIdFile"
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        controller = try values.decodeIfPresent(String.self, forKey: .controller)
        func value<T: Decodable>(_ key: CodingKeys, _ standard: T) throws -> T {
            try values.decodeIfPresent(T.self, forKey: key) ?? standard
        }
        let standard = AgentConfiguration()
        stateDirectory = try value(.stateDirectory, standard.stateDirectory)
        region = try value(.region, standard.region)
        maximumParallelJobs = try value(.maximumParallelJobs, standard.maximumParallelJobs)
        queuedJobs = try value(.queuedJobs, standard.queuedJobs)
        keepAliveSeconds = try value(.keepAliveSeconds, standard.keepAliveSeconds)
        heartbeatSeconds = try value(.heartbeatSeconds, standard.heartbeatSeconds)
        logLevel = try value(.logLevel, standard.logLevel)
        logFormat = try value(.logFormat, standard.logFormat)
        scriptShell = try value(.scriptShell, standard.scriptShell)
        tombstoneHours = try value(.tombstoneHours, standard.tombstoneHours)
        transport = try value(.transport, standard.transport)
        webSocketRetrySeconds = try value(.webSocketRetrySeconds, standard.webSocketRetrySeconds)
        proxy = try values.decodeIfPresent(String.self, forKey: .proxy)
        proxyPasswordFile = try values.decodeIfPresent(String.self, forKey: .proxyPasswordFile)
        outputBudgetBytes = try value(.outputBudgetBytes, standard.outputBudgetBytes)
        allowReboot = try value(.allowReboot, standard.allowReboot)
        rebootCommand = try value(.rebootCommand, standard.rebootCommand)
        rebootWaitSeconds = try value(.rebootWaitSeconds, standard.rebootWaitSeconds)
        rebootPatienceSeconds = try value(.rebootPatienceSeconds, standard.rebootPatienceSeconds)
        bootIDFile = try value(.bootIDFile, standard.bootIDFile)
        guard !allowReboot || rebootCommand.first?.isEmpty == false else {
            throw ConfigurationError("'rebootCommand' names no program. Set 'allowReboot' to false if this host is not to be rebooted.")
        }
        sessionsEnabled = try value(.sessionsEnabled, standard.sessionsEnabled)
        sessionRunAsDefault = try values.decodeIfPresent(String.self, forKey: .sessionRunAsDefault)
        sessionPamService = try values.decodeIfPresent(String.self, forKey: .sessionPamService)
        sessionDeniedTargets = try value(.sessionDeniedTargets, standard.sessionDeniedTargets)
        maximumSessions = try value(.maximumSessions, standard.maximumSessions)
        if let sessionRunAsDefault, !RunAsUser.isName(sessionRunAsDefault) {
            throw ConfigurationError("'sessionRunAsDefault' must be the name of a user, and is \(sessionRunAsDefault).")
        }
        if let sessionPamService, !RunAsUser.isName(sessionPamService) {
            throw ConfigurationError("'sessionPamService' must be the name of a file in /etc/pam.d, and is \(sessionPamService).")
        }
        for range in sessionDeniedTargets where DeniedTargets.Range(range, parse: NetworkAddress.init) == nil {
            throw ConfigurationError(
                "'sessionDeniedTargets' must hold addresses and ranges such as \"169.254.0.0/16\", and holds \"\(range)\".")
        }
        guard stateDirectory.hasPrefix("/") else {
            throw ConfigurationError("'stateDirectory' must be an absolute path, and is \(stateDirectory).")
        }
    }

    /// Reads the file, or takes the defaults when it was not named and does not exist; the environment overrides both.
    package static func load(path: String?, environment: [String: String]) throws -> AgentConfiguration {
        // The activation code is a secret of `register`, not configuration.
        let reserved: Set<String> = ["MUSTER_AGENT_CONFIG"]
        let chosen = path ?? environment["MUSTER_AGENT_CONFIG"]
        if chosen == nil, access(defaultPath, F_OK) != 0 {
            return try ConfigurationLoader.load(
                AgentConfiguration.self, text: "{}", environmentPrefix: environmentPrefix, environment: environment, reserved: reserved)
        }
        return try ConfigurationLoader.load(
            AgentConfiguration.self, path: chosen ?? defaultPath, environmentPrefix: environmentPrefix, environment: environment,
            reserved: reserved)
    }

    /// The way to a controller: the proxy that is configured, or else the one that the environment names. "" is none.
    package func proxy(to controller: Endpoint, environment: [String: String]) throws -> HTTPProxy? {
        guard let proxy else { return try HTTPProxy.fromEnvironment(environment, for: controller) }
        guard !proxy.isEmpty else { return nil }
        return try HTTPProxy(url: proxy, password: try proxyPasswordFile.map(Self.password))
    }

    /// The first line of a small file.
    private static func password(in path: String) throws -> String {
        guard let file = fopen(path, "re") else {
            throw AgentError("Cannot read the proxy's password in \(path): \(SystemReason.words(errno))")
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1025)
        let count = fread(&bytes, 1, bytes.count, file)
        guard count <= 1024 else { throw AgentError("\(path) holds more than a password.") }
        return String(decoding: bytes[..<count].prefix { $0 != 10 && $0 != 13 }, as: UTF8.self)
    }

    /// Nil when steps may not reboot this host.
    package var reboot: HostReboot.Settings? {
        guard allowReboot else { return nil }
        return HostReboot.Settings(
            command: rebootCommand, waitForOthers: .seconds(rebootWaitSeconds), patience: .seconds(rebootPatienceSeconds))
    }

    /// To standard error, which systemd keeps.
    package func logger() throws -> Logger {
        guard let level = Logger.Level(rawValue: logLevel) else {
            throw ConfigurationError("'logLevel' is \(logLevel), which is no level.")
        }
        return Logger(program: "muster-agent", format: logFormat, level: level)
    }
}

import FoundationEssentials
import Glibc
import MusterClient
import MusterCrypto
import MusterTLS
import MusterWire

/// A controller and agents of this machine, for trying things out, for tests and for benchmarks.
///
///     DIR/env          what a client needs, as `export NAME=value` lines (0600)
///     DIR/pids         `controller PID`, `agent-0 PID`, …
///     DIR/controller   the controller's data          DIR/agent-0 …   each agent's state
///     DIR/profile      the AWS profile of `init`      DIR/logs        what they print
///
/// Several can run side by side: each has its own folder and its own port on the loopback interface.
package struct Sandbox: Sendable {
    package let directory: String
    private let environment: [String: String]

    /// - Parameter directory: absolute or relative to the working directory; need not exist.
    package init(directory: String, environment: [String: String] = ProcessInfo.processInfo.environment) {
        let absolute = directory.hasPrefix("/") ? directory : FileManager.default.currentDirectoryPath + "/" + directory
        var trimmed = absolute[...]
        while trimmed.count > 1, trimmed.last == "/" { trimmed.removeLast() }
        self.directory = String(trimmed)
        // Keys and endpoints of the caller's own AWS set-up have no business in what scripts see.
        var kept = environment.filter { !$0.key.hasPrefix("AWS_") && !$0.key.hasPrefix("MUSTER_") && $0.key != "SSL_CERT_FILE" }
        // MUSTER_SANDBOX_CONTROLLER_OUTPUT_DAYS sets outputDays of a sandbox's controller; settings of a real one are not meant.
        let prefix = "MUSTER_SANDBOX_"
        for (name, value) in environment where name.hasPrefix(prefix) { kept["MUSTER_" + name.dropFirst(prefix.count)] = value }
        // It lives on the loopback interface, where no proxy of the caller's can reach it.
        let exceptions = kept["no_proxy"] ?? kept["NO_PROXY"] ?? ""
        let exception = exceptions.isEmpty ? "127.0.0.1" : exceptions + ",127.0.0.1"
        if Self.namesProxy(kept) { for name in ["no_proxy", "NO_PROXY"] { kept[name] = exception } }
        self.environment = kept
    }

    private static func userName() -> String {
        getpwuid(geteuid()).map { String(cString: $0.pointee.pw_name) } ?? "root"
    }

    private static func namesProxy(_ environment: [String: String]) -> Bool {
        ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"].contains { environment[$0]?.isEmpty == false }
    }

    // MARK: - Up

    /// - Parameters:
    ///   - agentSettings: for its agents, as environment variables; so are `controllerSettings` for its controller.
    package func up(
        agents: Int, port: Int, agentSettings: [String: String] = [:], controllerSettings: [String: String] = [:]
    ) async throws {
        guard (0...1000).contains(agents) else { throw CommandLineError("--agents takes a number from 0 to 1000.") }
        guard (0...65535).contains(port) else { throw CommandLineError("--port takes a port number, or 0 for a free one.") }
        if FileManager.default.fileExists(atPath: path("sandbox.json")) {
            let record = try read()
            let running = record.processes.filter { ProcessTable.isRunning($0.value) }
            guard running.isEmpty else {
                throw CommandLineError("The sandbox in \(directory) is up already. End it with: muster sandbox down --dir \(directory)")
            }
            throw CommandLineError(
                "\(directory) holds a stopped sandbox. Start it with `muster sandbox start controller`, or remove it with `muster sandbox down`."
            )
        }
        if FileManager.default.fileExists(atPath: directory),
            try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty == false
        {
            throw CommandLineError("\(directory) exists and is not a sandbox; name another folder with --dir.")
        }
        for folder in ["", "/logs"] {
            try FileManager.default.createDirectory(atPath: directory + folder, withIntermediateDirectories: true)
            guard chmod(directory + folder, 0o700) == 0 else {
                throw CommandLineError("Cannot make \(directory + folder) private: \(SystemError.words()).")
            }
        }
        var record = SandboxRecord()
        record.port = port
        // Its agents run on somebody's own machine, and sessions as the user that started it.
        record.agentEnvironment = [
            "MUSTER_AGENT_ALLOW_REBOOT": "false", "MUSTER_AGENT_SESSION_RUN_AS_DEFAULT": Self.userName(),
        ].merging(agentSettings) { $1 }
        record.controllerEnvironment = controllerSettings
        try write(record)
        do {
            try await finish(
                "muster-controller",
                [
                    "init", "--data-dir", path("controller"), "--name", "127.0.0.1", "--name", "localhost",
                    "--profile-dir", path("profile"),
                ], log: "controller")
            try await startController(&record)
            try await enrol(agents, &record)
            for name in record.agentNames { try startAgent(name, &record) }
            try await waitUntilOnline(record, names: record.agentNames)
        } catch {
            try? await down()
            throw error
        }
    }

    private func enrol(_ agents: Int, _ record: inout SandboxRecord) async throws {
        guard agents > 0 else { return }
        let port = record.port
        let settings = record.agentEnvironment ?? [:]
        record.nodes = try await Operator.with(environment: clientEnvironment(record)) { caller in
            let pin = try await caller.pin()
            return try await withThrowingTaskGroup(of: (Int, String).self) { group in
                var nodes = [String](repeating: "", count: agents)
                var next = 0
                func add() {
                    guard next < agents else { return }
                    let index = next
                    next += 1
                    group.addTask { (index, try await enrol(index, caller: caller, port: port, pin: pin, settings: settings)) }
                }
                for _ in 0..<4 { add() }
                while let (index, node) = try await group.next() {
                    nodes[index] = node
                    add()
                }
                return nodes
            }
        }
        try write(record)
    }

    private func enrol(_ index: Int, caller: Operator, port: Int, pin: String, settings: [String: String]) async throws -> String {
        let tags = [Tag(key: "role", value: index.isMultiple(of: 2) ? "web" : "db"), Tag(key: "index", value: "\(index)")]
        let activation = try await caller.api.call(
            CreateActivation.self,
            .init(
                iamRole: "sandbox", defaultInstanceName: "agent-\(index)", registrationLimit: 1, tags: tags))
        try await finish(
            "muster-agent",
            [
                "register", "--controller", "https://127.0.0.1:\(port)", "--activation-id", activation.activationID.rawValue,
                "--pin", pin, "--state-dir", path("agent-\(index)"),
            ],
            log: "agent-\(index)", extra: settings.merging(["MUSTER_ACTIVATION_CODE": activation.activationCode]) { $1 })
        let found = try await caller.api.call(
            DescribeInstanceInformation.self,
            .init(
                filters: [.init(key: "ActivationIds", values: [activation.activationID.rawValue])]))
        guard let node = found.instanceInformationList.first else {
            throw CommandLineError("agent-\(index) registered, but the controller does not list it. See \(path("logs")).")
        }
        return node.instanceID.rawValue
    }

    // MARK: - One process

    package func start(_ name: String) async throws {
        var record = try read()
        try check(name, record)
        if let process = record.processes[name], ProcessTable.isRunning(process) {
            throw CommandLineError("\(name) runs already, as process \(process.pid).")
        }
        if name == "controller" {
            try await startController(&record)
            let living = record.agentNames.filter { record.processes[$0].map(ProcessTable.isRunning) ?? false }
            try await waitUntilOnline(record, names: living)
        } else {
            try startAgent(name, &record)
            if let controller = record.processes["controller"], ProcessTable.isRunning(controller) {
                try await waitUntilOnline(record, names: [name])
            }
        }
    }

    package func stop(_ name: String) async throws {
        let record = try read()
        try check(name, record)
        guard let process = record.processes[name], ProcessTable.isRunning(process) else { return }
        try await end(process, named: name)
    }

    package func restart(_ name: String) async throws {
        try await stop(name)
        try await start(name)
    }

    /// Ends every process of this sandbox and removes its folder.
    package func down() async throws {
        guard FileManager.default.fileExists(atPath: path("sandbox.json")) else {
            throw CommandLineError("There is no sandbox in \(directory).")
        }
        let record = try read()
        for name in record.agentNames + ["controller"] {
            if let process = record.processes[name], ProcessTable.isRunning(process) { try await end(process, named: name) }
        }
        // Sessions outlive their agent, and end with their host.
        for process in ProcessTable.sessionHosts(below: directory) { try await end(process, named: "a session host") }
        // Steps outlive their agent. One whose job is marked as cancelled ends its whole tree, and then itself, when it is told.
        for (process, step) in ProcessTable.supervisors(below: directory) {
            let job = step.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 }
            try PrivateFile.write([], to: job + "/cancelled")
            try await end(process, named: "a step")
        }
        try FileManager.default.removeItem(atPath: directory)
    }

    package struct ProcessState: Encodable, Sendable {
        let process: String
        let pid: Int32?
        let state: String
        let node: String

        private enum CodingKeys: String, CodingKey {
            case process = "Process"
            case pid = "Pid"
            case state = "State"
            case node = "Node"
        }
    }

    package func status(_ printer: Printer) throws {
        let record = try read()
        var table = Table(["PROCESS", "PID", "STATE", "NODE"])
        var states: [ProcessState] = []
        for name in ["controller"] + record.agentNames {
            let process = record.processes[name]
            let running = process.map(ProcessTable.isRunning) ?? false
            let node = name == "controller" ? "https://127.0.0.1:\(record.port)" : record.nodes[record.agentNames.firstIndex(of: name) ?? 0]
            table.add([name, running ? "\(process?.pid ?? 0)" : "-", running ? "running" : "stopped", node])
            states.append(
                ProcessState(process: name, pid: running ? process?.pid : nil, state: running ? "running" : "stopped", node: node))
        }
        try printer.data(states, table)
    }

    package func nextSteps() throws -> String {
        let record = try read()
        return """
            Controller https://127.0.0.1:\(record.port) and \(record.nodes.count) agents are up in \(directory).
            Next:
              . \(path("env"))
              muster nodes
              muster run --all -- uptime
              aws ssm describe-instance-information
              muster sandbox down --dir \(directory)
            """
    }

    // MARK: - Starting and ending

    private func startController(_ record: inout SandboxRecord) async throws {
        let listening = path("controller/listening")
        unlink(listening)
        let process = try DetachedProcess.start(
            try executable("muster-controller"), ["serve", "--data-dir", path("controller"), "--listen", "127.0.0.1:\(record.port)"],
            log: log("controller"), environment: environment.merging(record.controllerEnvironment ?? [:]) { $1 })
        record.processes["controller"] = process
        try write(record)
        try await wait(for: "the controller to listen", on: process, log: "controller") {
            FileManager.default.fileExists(atPath: listening)
        }
        let address = String(decoding: FileManager.default.contents(atPath: listening) ?? Data(), as: UTF8.self).split(separator: "\n")
            .first
        guard let port = address?.split(separator: ":").last.flatMap({ Int($0) }) else {
            throw CommandLineError("Cannot read the controller's port in \(listening).")
        }
        record.port = port
        try write(record)
        try writeClientEnvironment(record)
    }

    private func startAgent(_ name: String, _ record: inout SandboxRecord) throws {
        record.processes[name] = try DetachedProcess.start(
            try executable("muster-agent"), ["run", "--state-dir", path(name)], log: log(name),
            environment: environment.merging(record.agentEnvironment ?? [:]) { $1 })
        try write(record)
    }

    /// Waits until each agent has a connection that is younger than its process and the controller's.
    private func waitUntilOnline(_ record: SandboxRecord, names: [String]) async throws {
        guard !names.isEmpty else { return }
        try await Operator.with(environment: clientEnvironment(record)) { caller in
            var waiting = Set(names)
            for name in names {
                guard let process = record.processes[name], let controller = record.processes["controller"] else { continue }
                try await wait(for: "\(name) to be Online", on: process, log: name, seconds: 90) {
                    guard waiting.contains(name) else { return true }
                    for node in try await NodeDirectory.load(caller.api).nodes
                    where node.pingStatus == .online {
                        guard let index = record.nodes.firstIndex(of: node.instanceID.rawValue), let ping = node.lastPingDateTime,
                            let agent = record.processes["agent-\(index)"], ping >= max(agent.launchedAt, controller.launchedAt)
                        else { continue }
                        waiting.remove("agent-\(index)")
                    }
                    return !waiting.contains(name)
                }
            }
        }
    }

    private func wait(
        for what: String, on process: SandboxRecord.Process, log name: String, seconds: Int = 30, until condition: () async throws -> Bool
    ) async throws {
        let clock = ContinuousClock()
        let deadline = clock.now + .seconds(seconds)
        while true {
            if try await condition() { return }
            guard ProcessTable.isRunning(process) else {
                throw CommandLineError("\(name) ended while waiting for \(what). Its last words, in \(log(name)):\n\(lastWords(name))")
            }
            guard clock.now < deadline else {
                throw CommandLineError("Waited \(seconds) s for \(what) in vain. The log is \(log(name)):\n\(lastWords(name))")
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// SIGTERM, and SIGKILL if that is not heeded within 15 s.
    private func end(_ process: SandboxRecord.Process, named name: String) async throws {
        kill(process.pid, SIGTERM)
        let clock = ContinuousClock()
        let patience = clock.now + .seconds(15)
        var killed = false
        while ProcessTable.isRunning(process) {
            if !killed, clock.now > patience {
                kill(process.pid, SIGKILL)
                killed = true
            }
            guard clock.now < patience + .seconds(10) else { throw CommandLineError("Cannot end \(name), process \(process.pid).") }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Runs one of our programs to its end. Its words are the error if it fails.
    private func finish(_ program: String, _ arguments: [String], log name: String, extra: [String: String] = [:]) async throws {
        let before = size(log(name))
        let process = try DetachedProcess.start(
            try executable(program), arguments, log: log(name), environment: environment.merging(extra) { $1 })
        // The child is ours: waiting off the cooperative pool keeps its threads free.
        let status = await withCheckedContinuation { (continuation: CheckedContinuation<Int32, Never>) in
            Waiter.wait(for: process.pid) { continuation.resume(returning: $0) }
        }
        guard status == 0 else {
            let words = (FileManager.default.contents(atPath: log(name)) ?? Data()).dropFirst(before)
            throw CommandLineError(
                "\(program) \(arguments.first ?? "") ended with status \(status):\n\(String(decoding: words, as: UTF8.self))")
        }
    }

    // MARK: - Files

    private func path(_ name: String) -> String { "\(directory)/\(name)" }
    private func log(_ name: String) -> String { "\(directory)/logs/\(name).log" }

    private func size(_ path: String) -> Int {
        FileManager.default.contents(atPath: path)?.count ?? 0
    }

    private func lastWords(_ name: String) -> String {
        let lines = String(decoding: FileManager.default.contents(atPath: log(name)) ?? Data(), as: UTF8.self).split(separator: "\n")
        return lines.suffix(5).joined(separator: "\n")
    }

    private func check(_ name: String, _ record: SandboxRecord) throws {
        guard name == "controller" || record.agentNames.contains(name) else {
            throw CommandLineError(
                "There is no \(name) in this sandbox: it has controller\(record.nodes.isEmpty ? "" : " and agent-0 to agent-\(record.nodes.count - 1)")."
            )
        }
    }

    private func read() throws -> SandboxRecord {
        guard let bytes = FileManager.default.contents(atPath: path("sandbox.json")) else {
            throw CommandLineError("There is no sandbox in \(directory). Start one with: muster sandbox up")
        }
        return try JSONDecoder().decode(SandboxRecord.self, from: bytes)
    }

    private func write(_ record: SandboxRecord) throws {
        try PrivateFile.write(try JSONCoding.encode(record), to: path("sandbox.json"))
        let pids = (["controller"] + record.agentNames).compactMap { name in record.processes[name].map { "\(name) \($0.pid)\n" } }
        try PrivateFile.write(Array(pids.joined().utf8), to: path("pids"))
    }

    private func clientEnvironment(_ record: SandboxRecord) throws -> [String: String] {
        let profile = try OperatorProfile.load(environment: [
            "AWS_CONFIG_FILE": path("profile/config"), "AWS_SHARED_CREDENTIALS_FILE": path("profile/credentials"), "HOME": directory,
        ])
        var variables = [
            "AWS_ENDPOINT_URL": "https://127.0.0.1:\(record.port)",
            "AWS_ACCESS_KEY_ID": profile.credentials.accessKeyID,
            "AWS_SECRET_ACCESS_KEY": profile.credentials.secretAccessKey,
            "AWS_DEFAULT_REGION": profile.region,
        ]
        if let bundle = profile.caBundle {
            variables["AWS_CA_BUNDLE"] = bundle
            variables["SSL_CERT_FILE"] = bundle
        }
        return variables
    }

    private func writeClientEnvironment(_ record: SandboxRecord) throws {
        var variables = try clientEnvironment(record)
        if Self.namesProxy(environment) { variables["NO_PROXY"] = environment["NO_PROXY"] }
        let lines = variables.sorted { $0.key < $1.key }.map { "export \($0.key)='\($0.value)'\n" }
        try PrivateFile.write(Array(lines.joined().utf8), to: path("env"))
    }

    /// Our programs stand beside this one; failing that, on PATH.
    private func executable(_ name: String) throws -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        if length > 0 {
            let own = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let beside = own.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 } + "/" + name
            if access(beside, X_OK) == 0 { return beside }
        }
        for folder in (environment["PATH"] ?? "").split(separator: ":") where access("\(folder)/\(name)", X_OK) == 0 {
            return "\(folder)/\(name)"
        }
        throw CommandLineError("Cannot find \(name), neither beside muster nor on PATH. Install it, or build it with `make build`.")
    }
}

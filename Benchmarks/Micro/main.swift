import FoundationEssentials
import Glibc
import HTTPTypes
import Logging
import MusterController
import MusterCrypto
import MusterWire
import NIOCore

// What `make bench` runs inside one process: the pure parts that stand on the hot paths.

func measure(_ name: String, _ count: Int, _ body: (Int) throws -> Void) rethrows {
    let clock = ContinuousClock()
    var best = Duration.seconds(1_000)
    for _ in 0..<5 {
        best = min(best, try clock.measure { for index in 0..<count { try body(index) } })
    }
    let nanoseconds = Double(best.components.seconds) * 1e9 + Double(best.components.attoseconds) / 1e9
    let each = nanoseconds / Double(count)
    let text =
        each >= 1e6 ? "\((each / 1e4).rounded() / 100) ms" : each >= 1e3 ? "\((each / 10).rounded() / 100) µs" : "\(each.rounded()) ns"
    let padded =
        name + String(repeating: " ", count: max(0, 58 - name.count)) + " " + String(repeating: " ", count: max(0, 26 - text.count)) + text
    print(padded + "   best of 5")
}

for size in [16, 1024, 65536] {
    let payload = ByteBuffer(repeating: 0x61, count: size)
    var message = AgentMessage(messageType: .outputStreamData, createdDate: .now(), payloadType: .output, payload: payload)
    var buffer = ByteBuffer()
    measure("frame of \(size) bytes, written", 2_000) { index in
        message.sequenceNumber = Int64(index)
        buffer.clear()
        buffer.writeAgentMessage(message)
    }
    buffer.clear()
    buffer.writeAgentMessage(message)
    try measure("frame of \(size) bytes, read and its digest checked", 2_000) { _ in
        var copy = buffer
        _ = try copy.readAgentMessage()
    }
}

do {
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    let now = Timestamp.now()
    let body = Array(#"{"DocumentName":"AWS-RunShellScript","Parameters":{"commands":["uptime"]}}"#.utf8)
    var headers = HTTPFields()
    headers[.contentType] = "application/x-amz-json-1.1"
    headers[.amzTarget] = "AmazonSSM.SendCommand"
    SigV4.sign(
        method: "POST", path: "/", headers: &headers, body: body, host: "127.0.0.1:8443",
        credentials: Credentials(accessKeyID: "AKIDEXAMPLE", secretAccessKey: secret, sessionToken: nil), region: "us-east-1",
        service: "ssm", at: now)
    let authorization = try SigV4.Authorization(header: headers[.authorization] ?? "")
    let received = [(name: "Host", value: "127.0.0.1:8443")] + headers.map { (name: $0.name.rawName, value: $0.value) }
    let cache = SigningKeyCache()
    try measure("SigV4, one request verified", 1_000) { _ in
        try SigV4.verify(
            authorization: authorization, method: "POST", path: "/", query: "", headers: received, body: body, secret: secret, now: now,
            keyCache: cache)
    }
}

for targets in [100, 1_000, 10_000] {
    measure("dispatch machine, a command on \(targets) nodes from start to end", 1) { _ in
        var machine = DispatchMachine(
            targets: Array(repeating: .init(generation: 1), count: targets), maximumConcurrency: .number(500), maximumErrors: .number(0),
            startBy: 3_600_000, deadline: 7_200_000, at: 0)
        for target in 0..<targets { machine.connected(target, generation: 1, at: 0) }
        var running = machine.takeActions(at: 0).jobs
        while !running.isEmpty {
            for target in running {
                machine.acknowledged(target, .accepted, at: 1)
                machine.finished(target, .success)
            }
            running = machine.takeActions(at: 1).jobs
        }
        precondition(machine.isFinished)
    }
}

do {
    let folder = (ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp") + "/muster-bench-\(getpid())"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let database = try SQLiteDatabase(path: folder + "/store.sqlite")
    defer { try? database.close() }
    try await Migrations.run(on: database, now: 1)
    let authority = try CertificateAuthority.create(commonName: "bench", notBefore: 0, notAfter: 4_000_000_000, key: .generate())
    var settings = SessionRecorders.Settings()
    settings.recordingBytes = 0
    let recorders = SessionRecorders(
        archive: try RecordingArchive(path: folder + "/recordings"), database: database, authority: { authority }, settings: settings,
        logger: Logger(label: "bench", factory: { _ in SwiftLogNoOpLogHandler() }))
    for (type, sizes) in [("Standard_Stream", [1, 1024, 65536]), ("Port", [1024, 65536])] {
        for size in sizes {
            let facts = SessionFacts(
                id: .random(owner: "bench"), node: .random(), ownerARN: "arn", ownerName: "bench", document: "bench", sessionType: type,
                started: .now())
            let tap = try await recorders.begin(facts)
            var buffer = ByteBuffer()
            // As the relay gets it: read from the wire, its digest known.
            buffer.writeAgentMessage(
                AgentMessage(
                    messageType: .outputStreamData, createdDate: .now(), payloadType: .output,
                    payload: ByteBuffer(bytes: (0..<size).map { $0 % 80 == 79 ? 0x0a : UInt8(0x20 + $0 % 90) })))
            var frame = try buffer.readAgentMessage()
            var number: Int64 = 0
            try measure("\(type == "Port" ? "flow" : "recording") of a frame of \(size) bytes", 1_000) { _ in
                frame.sequenceNumber = number
                number += 1
                try tap.pass(frame, from: .agent)
            }
        }
    }
}

do {
    // What the end of an invocation costs in the dispatcher's transaction: its record, its digest, its row and its index entries.
    let folder = FileManager.default.temporaryDirectory.path + "/muster-bench-\(getpid())-audit"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let database = try SQLiteDatabase(path: folder + "/store.sqlite")
    defer { try? database.close() }
    try await Migrations.run(on: database, now: 1)
    let command = CommandID.random().description
    let nodes = (0..<10_000).map { _ in NodeID.random().description }
    func events() -> [AuditEvent] {
        let now = Timestamp.now()
        return nodes.map {
            AuditEvent(
                time: now, controllerDid: "EndInvocation", resource: command, related: $0,
                details: ["status": "Success", "statusDetails": "Success"])
        }
    }
    var best = (made: Duration.seconds(1_000), written: Duration.seconds(1_000))
    for _ in 0..<5 {
        let started = ContinuousClock.now
        let made = events()
        best.made = min(best.made, ContinuousClock.now - started)
        let written = try await database.write { tx in
            let started = ContinuousClock.now
            try AuditLog.append(made, in: tx)
            return ContinuousClock.now - started
        }
        best.written = min(best.written, written)
    }
    func microseconds(_ duration: Duration) -> String {
        let each = (Double(duration.components.seconds) * 1e6 + Double(duration.components.attoseconds) / 1e12) / 10_000
        return "\((each * 100).rounded() / 100) µs"
    }
    print("audit record, made: \(microseconds(best.made))   best of 5")
    print("audit record, chained and written, 10,000 in one transaction: \(microseconds(best.written))   best of 5")
}

do {
    // What deciding about a SendCommand costs: policies, tags and keys read in its transaction, then every statement for the document and for
    // each node. A user of three groups with 13 policies of 41 statements, nodes with four tags each.
    let folder = FileManager.default.temporaryDirectory.path + "/muster-bench-\(getpid())-decision"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let database = try SQLiteDatabase(path: folder + "/store.sqlite")
    defer { try? database.close() }
    try await Migrations.run(on: database, now: 1)
    let (account, region) = ("000000000001", "us-east-1")
    let principal = Principal(user: "alice", userID: "AIDABENCHALICE", accessKeyID: "AKIABENCH")
    func statement(_ members: String) -> String { "{" + members + "}" }
    func policy(_ statements: [String]) -> String { #"{"Version":"2012-10-17","Statement":["# + statements.joined(separator: ",") + "]}" }
    let nodes = #""Resource":"arn:aws:ssm:*:*:managed-instance/*""#
    func team(_ name: String) -> String {
        policy([
            statement(
                #""Sid":"Own","Effect":"Allow","Action":"ssm:SendCommand",\#(nodes),"Condition":{"StringEquals":{"ssm:resourceTag/team":"\#(name)"}}"#
            ),
            statement(
                #""Sid":"Shells","Effect":"Allow","Action":"ssm:StartSession",\#(nodes),"Condition":{"StringEquals":{"ssm:resourceTag/team":"\#(name)"}}"#
            ),
            statement(
                #""Sid":"Results","Effect":"Allow","Action":["ssm:Describe*","ssm:List*","ssm:GetCommandInvocation"],"Resource":"*""#),
        ])
    }
    let fleet = policy([
        statement(
            #""Sid":"Documents","Effect":"Allow","Action":"ssm:SendCommand","Resource":["arn:aws:ssm:*:*:document/Approved-*","arn:aws:ssm:*::document/AWS-*"]"#
        ),
        statement(
            #""Sid":"Fleet","Effect":"Allow","Action":"ssm:SendCommand",\#(nodes),"Condition":{"StringLike":{"ssm:resourceTag/env":["prod*","staging"]},"IpAddress":{"aws:SourceIp":["10.0.0.0/8","2001:db8::/32"]}}"#
        ),
        statement(
            #""Sid":"NeverTooMany","Effect":"Deny","Action":"ssm:SendCommand","Resource":"*","Condition":{"NumericGreaterThan":{"muster:TargetCount":20000}}"#
        ),
        statement(
            #""Sid":"Frozen","Effect":"Deny","Action":["ssm:SendCommand","ssm:StartSession"],"Resource":"*","Condition":{"StringEquals":{"ssm:resourceTag/frozen":"true"}}"#
        ),
        statement(
            #""Sid":"Hours","Effect":"Deny","Action":"ssm:SendCommand",\#(nodes),"Condition":{"muster:NotTimeWindow":{"aws:CurrentTime":"daily 00:00-24:00 Asia/Tokyo"}}"#
        ),
    ])
    let held =
        (1...10).map { ("group ops", "team-\($0)", team("team-\($0)")) } + [
            ("group fleet", "fleet", fleet),
            (
                "group leads", "approve",
                policy([
                    statement(
                        #""Effect":"Allow","Action":["muster:ListApprovals","muster:GetApproval","muster:GrantApproval"],"Resource":"*""#),
                    statement(#""Effect":"Allow","Action":"muster:RefuseApproval","Resource":"*""#),
                    statement(#""Effect":"Allow","Action":"muster:RevokeApproval","Resource":"*""#),
                ])
            ),
            (
                "user alice", "own",
                policy([
                    statement(
                        #""Effect":"Allow","Action":["ssm:ResumeSession","ssm:TerminateSession"],"Resource":"arn:aws:ssm:*:*:session/${aws:username}-*""#
                    ),
                    statement(#""Effect":"Allow","Action":["ssm:StartAccessRequest","ssm:GetAccessToken"],"Resource":"*""#),
                    statement(#""Effect":"Allow","Action":"sts:*","Resource":"*""#),
                ])
            ),
        ]
    let ids = (0..<10_000).map { _ in NodeID.random() }
    try await database.write { tx in
        try tx.execute(
            "INSERT INTO users (user_name, user_id, created_at) VALUES ($1, $2, 1)", [.text(principal.user), .text(principal.userID)])
        for group in ["ops", "fleet", "leads"] {
            try tx.execute("INSERT INTO user_groups (group_name, group_id, created_at) VALUES ($1, $1, 1)", [.text(group)])
            try GroupStore.add(principal.user, to: group, in: tx)
        }
        for (holder, name, document) in held {
            let parts = holder.split(separator: " ").map(String.init)
            try tx.execute(
                "INSERT INTO inline_policies (holder_type, holder, policy_name, document) VALUES ($1, $2, $3, $4)",
                [.text(parts[0]), .text(parts[1]), .text(name), .text(document)])
        }
        for (index, id) in ids.enumerated() {
            try TagStore.set(
                [
                    "env": index % 2 == 0 ? "production" : "staging", "team": "team-\(index % 10 + 1)", "role": "web",
                    "site": "s\(index % 7)",
                ],
                of: id.rawValue, type: TagStore.managedInstance, in: tx)
        }
    }
    let caller = Caller(
        accessKeyID: principal.accessKeyID, userName: principal.user, arn: principal.arn(account: account), sourceAddress: "10.1.2.3",
        userAgent: "bench", principal: principal)
    let policies = PolicyReader()
    for count in [1, 100, 10_000] {
        let keys = ConditionKeys(["ssm:DocumentName": ["AWS-RunShellScript"], "muster:TargetCount": [String(count)]])
        let targets =
            [AccessTarget("arn:aws:ssm:\(region):\(account):document/AWS-RunShellScript", keys: keys)]
            + ids.prefix(count).map { AccessTarget("arn:aws:ssm:\(region):\(account):managed-instance/\($0)", keys: keys, node: $0) }
        try await database.read { tx in
            try measure("SendCommand to \(count) nodes, decided", count == 10_000 ? 1 : 100) { _ in
                let check = AccessCheck(
                    caller, action: "ssm:SendCommand", account: account, region: region, now: .now(), policies: .stored(policies),
                    database: database)
                try check.authorize(targets, in: tx)
            }
        }
    }
}

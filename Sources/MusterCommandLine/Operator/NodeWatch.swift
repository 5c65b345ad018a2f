import FoundationEssentials
import Glibc
import MusterClient
package import MusterWire

/// `muster nodes --watch`: on a terminal a table that keeps itself current, elsewhere a line for each change. Ends with Ctrl-C.
package struct NodeWatch: Sendable {
    let caller: Operator
    let printer: Printer
    private let isLive: Bool

    package init(caller: Operator, printer: Printer) {
        self.caller = caller
        self.printer = printer
        isLive = printer.format == .table && Terminal.isThere(STDOUT_FILENO)
    }

    package func run() async throws -> Int32 {
        // The alternate screen leaves what was there before as it was.
        if isLive { Printer.write("\u{1b}[?1049h\u{1b}[?25l", to: STDOUT_FILENO) }
        defer { if isLive { Printer.write("\u{1b}[?25h\u{1b}[?1049l", to: STDOUT_FILENO) } }
        let signals = [SIGINT, SIGTERM, SIGHUP]
        Signals.hold(signals)
        defer { Signals.release(signals) }
        return try await withThrowingTaskGroup(of: Int32.self) { group in
            group.addTask { try await watch() }
            group.addTask {
                for await _ in Signals.stream() { break }
                return 0
            }
            defer { group.cancelAll() }
            return try await group.next() ?? 0
        }
    }

    private func watch() async throws -> Int32 {
        let clock = ContinuousClock()
        var known: [NodeID: NodeChange.Seen]?
        var trouble: String?
        while true {
            let begun = clock.now
            do {
                let nodes = try await NodeDirectory.load(caller.api).nodes
                trouble = nil
                if isLive {
                    draw(nodes)
                } else {
                    let seen = NodeChange.seen(nodes)
                    for change in NodeChange.between(known ?? [:], seen) { try report(change) }
                    guard printer.canWrite else { return 1 }
                    known = seen
                }
            } catch let error as ClientError where [.unreachable, .timedOut, .closed].contains(error.kind) {
                // A controller that restarts is no reason to stop watching; it is said once.
                let text = "\(error) Trying again."
                if isLive {
                    Printer.write(
                        "\u{1b}[H\u{1b}[K" + TextWidth.fitted(text, to: Terminal.size(STDOUT_FILENO)?.columns ?? 79), to: STDOUT_FILENO)
                } else if trouble == nil {
                    printer.note(text)
                }
                trouble = text
            }
            // Large fleets take longer to list: the controller is left alone for most of the time.
            try await Task.sleep(for: max(.seconds(2), (clock.now - begun) * 4))
        }
    }

    private func draw(_ nodes: [InstanceInformation]) {
        let size = Terminal.size(STDOUT_FILENO) ?? (columns: 80, rows: 24)
        let online = nodes.count { $0.pingStatus == .online }
        let head = "\(nodes.count) nodes, \(online) online, \(nodes.count - online) not   \(Timestamp.now().iso8601)   Ctrl-C ends this"
        var lines = [TextWidth.fitted(head, to: size.columns), ""] + NodeCommands.table(nodes).lines(width: size.columns)
        if lines.count > size.rows {
            let hidden = lines.count - size.rows + 1
            lines = lines.prefix(size.rows - 1) + ["… \(hidden) more; a larger window shows them"]
        }
        Printer.write("\u{1b}[H" + lines.map { $0 + "\u{1b}[K" }.joined(separator: "\r\n") + "\u{1b}[J", to: STDOUT_FILENO)
    }

    private func report(_ change: NodeChange) throws {
        switch printer.format {
        case .table: printer.out(change.line)
        case .csv: Printer.write(CSV.record(change.fields) + "\r\n", to: STDOUT_FILENO)
        case .json: printer.out(try Printer.json(change))
        case .yaml:
            Printer.write("---\n" + YAML.text(try JSONCoding.decode(JSONValue.self, from: JSONCoding.encode(change))), to: STDOUT_FILENO)
        }
    }
}

/// One thing that is different about a node. [value]
package struct NodeChange: Encodable, Sendable, Equatable {
    package struct Seen: Sendable, Equatable {
        package let status: String
        package let name: String

        package init(status: String, name: String) {
            self.status = status
            self.name = name
        }
    }

    package let time: String
    package let node: String
    package let name: String
    package let status: String
    /// Nil for a node that was not there before.
    package let formerStatus: String?

    private enum CodingKeys: String, CodingKey {
        case time = "Time"
        case node = "InstanceId"
        case name = "Name"
        case status = "PingStatus"
        case formerStatus = "FormerPingStatus"
    }

    package static func seen(_ nodes: [InstanceInformation]) -> [NodeID: Seen] {
        var seen: [NodeID: Seen] = [:]
        for node in nodes { seen[node.instanceID] = Seen(status: node.pingStatus.rawValue, name: node.givenName ?? "") }
        return seen
    }

    package static func between(_ former: [NodeID: Seen], _ present: [NodeID: Seen], at time: Timestamp = .now()) -> [NodeChange] {
        Set(former.keys).union(present.keys).sorted { $0.rawValue < $1.rawValue }.compactMap { node in
            let (old, new) = (former[node], present[node])
            guard old?.status != new?.status else { return nil }
            return NodeChange(
                time: time.iso8601, node: node.rawValue, name: new?.name ?? old?.name ?? "", status: new?.status ?? "Gone",
                formerStatus: old?.status)
        }
    }

    var fields: [String] { [time, node, name, formerStatus ?? "", status] }

    package var line: String {
        "\(time)  \(node)  \(Table.printable(name))  " + (formerStatus.map { "\($0) -> \(status)" } ?? status)
    }
}

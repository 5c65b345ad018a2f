import MusterClient
import MusterWire
import NIOConcurrencyHelpers

/// Whom a command still waits for, and which of them are away: one that is offline is waited for until its delivery deadline. [value]
struct AwaitedNodes: Equatable {
    private static let shown = 3

    struct Node: Equatable {
        let name: String
        let isOffline: Bool
    }

    let nodes: [Node]

    init(_ nodes: [Node]) {
        // Who is away is why it takes long.
        self.nodes = nodes.filter(\.isOffline) + nodes.filter { !$0.isOffline }
    }

    init(_ invocations: [CommandInvocation], _ known: [InstanceInformation], names: [NodeID: String]) {
        var offline: [NodeID: Bool] = [:]
        for node in known { offline[node.instanceID] = node.pingStatus != .online }
        self.init(
            invocations.filter { !$0.hasEnded }.map {
                // Delayed: it could not be handed over.
                Node(
                    name: Table.printable(names[$0.instanceID] ?? $0.instanceID.rawValue),
                    isOffline: offline[$0.instanceID] ?? ($0.statusDetails == "Delayed"))
            })
    }

    /// Nil when there is nobody.
    var words: String? {
        guard !nodes.isEmpty else { return nil }
        let named = nodes.prefix(Self.shown).map { $0.isOffline ? "\($0.name) (offline)" : $0.name }.joined(separator: ", ")
        let more = nodes.count - Self.shown
        return named + (more > 0 ? " and \(more) more" : "")
    }

    var hasOffline: Bool { nodes.contains(where: \.isOffline) }
}

/// Says whom a command waits for: in the line of progress, and off a terminal once for each set of nodes that are away.
final class AwaitedReport: Sendable {
    private let caller: Operator
    private let printer: Printer
    private let names: [NodeID: String]
    private let last = NIOLockedValueBox<AwaitedNodes?>(nil)

    init(caller: Operator, printer: Printer, names: [NodeID: String]) {
        (self.caller, self.printer, self.names) = (caller, printer, names)
    }

    var words: String? { last.withLockedValue { $0?.words } }

    func take(_ invocations: [CommandInvocation]) async {
        // A filter names at most 50; who may not see nodes is told only which ones have not ended.
        let ids = invocations.prefix(50).map(\.instanceID.rawValue)
        let known = try? await NodeDirectory.load(caller.api, filters: [.init(key: "InstanceIds", values: ids)]).nodes
        let awaited = AwaitedNodes(invocations, known ?? [], names: names)
        let former = last.withLockedValue { last in
            defer { last = awaited }
            return last
        }
        if !printer.showsProgress, awaited.hasOffline, awaited != former, let words = awaited.words {
            printer.note("Waiting for \(words).")
        }
    }
}

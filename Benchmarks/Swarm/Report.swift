import FoundationEssentials

/// One line of the report.
enum Figure: Int, CaseIterable, Sendable {
    case emptyResident, enrolmentRate, enrolmentProcessor, connected, connectedProcessor
    case residentPerAgent, anonymousPerAgent, idleProcessor
    case command, commandWorst, commandProcessor, commandOfFifty, heartbeatProcessor
    case restarted, reconnected, reconnectedProcessor, reconnectedOwnProcessor, operatorDuringReconnect
    case residentPerAgentLater, anonymousPerAgentLater

    var name: String {
        switch self {
        case .emptyResident: "controller without agents, resident"
        case .enrolmentRate: "enrolments a second"
        case .enrolmentProcessor: "  controller's CPU for one"
        case .connected: "all connect for the first time"
        case .connectedProcessor: "  controller's CPU, first heartbeats included"
        case .residentPerAgent: "memory of an idle agent, RSS"
        case .anonymousPerAgent: "  private (RssAnon)"
        case .idleProcessor: "controller's CPU while all are idle"
        case .command: "no-op to all, 100 %, every result durable, median"
        case .commandWorst: "  slowest"
        case .commandProcessor: "  controller's CPU for one command"
        case .commandOfFifty: "no-op to all, 50 at a time"
        case .heartbeatProcessor: "heartbeat, controller's CPU for one"
        case .restarted: "kill -9 and restart: listening again after"
        case .reconnected: "  all are back after"
        case .reconnectedProcessor: "  controller's CPU until then"
        case .reconnectedOwnProcessor: "  agents' CPU until then"
        case .operatorDuringReconnect: "  slowest operator's call meanwhile, new connection"
        case .residentPerAgentLater: "memory of an idle agent after that, RSS"
        case .anonymousPerAgentLater: "  private (RssAnon)"
        }
    }

    var unit: String {
        switch self {
        case .emptyResident: "MB"
        case .enrolmentRate: "/s"
        case .enrolmentProcessor, .heartbeatProcessor: "ms"
        case .residentPerAgent, .anonymousPerAgent, .residentPerAgentLater, .anonymousPerAgentLater: "KB"
        case .idleProcessor: "%"
        default: "s"
        }
    }

    /// Of docs/benchmarks.md, as far as there is one for this size.
    func target(_ agents: Int) -> String {
        switch (self, agents) {
        case (.residentPerAgent, _), (.residentPerAgentLater, _): "≤ 40 KB"
        case (.command, 2_000): "≤ 1.5 s"
        case (.command, 10_000): "≤ 5 s"
        case (.reconnected, 2_000): "≤ 10 s"
        case (.reconnected, 10_000): "≤ 20 s"
        default: ""
        }
    }
}

/// The figures of all sizes side by side, and what an agent more costs between the smallest and the largest.
struct Report {
    let all: [Measurement.Figures]

    func render() -> String {
        guard let first = all.first, let last = all.last else { return "" }
        var lines = [line("agents", all.map { "\($0.agents)" }, "growth ×", "target")]
        for figure in Figure.allCases {
            guard let from = first.values[figure], let to = last.values[figure] else { continue }
            let growth = all.count > 1 && from > 0 ? number(to / from) : ""
            lines.append(
                line(
                    figure.name, all.map { $0.values[figure].map { "\(number($0)) \(figure.unit)" } ?? "-" }, growth,
                    figure.target(last.agents)))
        }
        if all.count > 1 {
            lines.append("")
            // What every fleet shares, such as the cache of the store, is not in it.
            for figure in [Figure.residentPerAgent, .residentPerAgentLater] {
                guard let from = first.values[figure], let to = last.values[figure], last.agents > first.agents else { continue }
                let more = (to * Double(last.agents) - from * Double(first.agents)) / Double(last.agents - first.agents)
                lines.append("\(figure.name), for each of those above \(first.agents): \(number(more)) KB")
            }
            lines.append(
                "growth: the figure at \(last.agents) agents over that at \(first.agents), which are \(number(Double(last.agents) / Double(first.agents))) times as many."
            )
        }
        return lines.joined(separator: "\n")
    }

    private func line(_ name: String, _ values: [String], _ growth: String, _ target: String) -> String {
        pad(name, 54) + values.map { pad($0, 12, right: true) }.joined() + pad(growth, 10, right: true)
            + (target.isEmpty ? "" : "   " + target)
    }

    private func pad(_ text: String, _ width: Int, right: Bool = false) -> String {
        let space = String(repeating: " ", count: max(1, width - text.count))
        return right ? space + text : text + space
    }

    private func number(_ value: Double) -> String {
        let decimals = value < 10 ? 100.0 : 10.0
        let rounded = (value * decimals).rounded() / decimals
        return "\(rounded)"
    }
}

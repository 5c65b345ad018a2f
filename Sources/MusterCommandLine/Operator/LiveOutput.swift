import MusterClient
import MusterCrypto
import MusterWire

/// Shows what the nodes of a command write while they write it: whole lines, each with its node, in order for every stream.
///
/// What is kept here is the begun line of each stream; the controller keeps everything else. Whoever reads too slowly for a command that
/// writes much is told what was left out.
struct LiveOutput: Sendable {
    private struct Place: Hashable {
        let node: NodeID
        let step: String
        let stream: OutputStream
    }

    /// After the end of the command, for outputs that are still on their way.
    private static let patience = Duration.seconds(30)

    let api: APIClient
    let commandID: String
    let names: [NodeID: String]
    let printer: Printer
    let reconnection: Reconnection
    /// Told of each node that something of it is shown.
    let onShown: @Sendable (NodeID) -> Void

    func follow() async throws {
        var positions: [Place: Int64] = [:]
        var lines: [Place: LineAssembler] = [:]
        var lastNews = ContinuousClock.now
        while printer.canWrite {
            let request = FollowRequest(
                positions: positions.map { FollowPosition(node: $0.key.node, step: $0.key.step, stream: $0.key.stream, offset: $0.value) })
            let answer = try await reconnection {
                try JSONCoding.decode(
                    FollowAnswer.self, from: await api.post(OutputRoute.follow + commandID, body: try JSONCoding.encode(request)))
            }
            for piece in answer.pieces {
                guard let bytes = Base64.decode(piece.bytes) else { throw CommandLineError("The controller sent something unreadable.") }
                let place = Place(node: piece.node, step: piece.step, stream: piece.stream)
                if piece.skipped > 0 {
                    if let rest = lines[place]?.skip() { show(rest, place) }
                    printer.note(
                        "\(prefix(place.node))[\(piece.skipped) bytes of \(place.stream) skipped; muster command \(commandID) --output-of \(place.node) has them]"
                    )
                }
                for line in lines[place, default: LineAssembler()].take(bytes) { show(line, place) }
                positions[place] = piece.offset + Int64(bytes.count)
            }
            if !answer.pieces.isEmpty { lastNews = .now }
            guard answer.ended else { continue }
            let isGivenUp = ContinuousClock.now - lastNews > Self.patience
            if answer.waiting.isEmpty || isGivenUp {
                for (place, var assembler) in lines.sorted(by: {
                    ($0.key.node, $0.key.stream.rawValue) < ($1.key.node, $1.key.stream.rawValue)
                }) {
                    if let rest = assembler.end() { show(rest, place) }
                }
                for node in answer.waiting { printer.note("\(prefix(node))[the rest of the output has not arrived yet]") }
                return
            }
        }
    }

    private func prefix(_ node: NodeID) -> String { Table.printable(names[node] ?? node.rawValue) + " | " }

    private func show(_ line: [UInt8], _ place: Place) {
        onShown(place.node)
        let text = prefix(place.node) + DisplayText.outputLine(String(decoding: line, as: UTF8.self))
        if place.stream == .standardOutput { printer.live(text) } else { printer.error(text) }
    }
}

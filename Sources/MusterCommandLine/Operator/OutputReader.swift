package import MusterClient
import MusterCrypto
package import MusterWire

/// Reads complete outputs from the controller, a piece at a time.
package struct OutputReader: Sendable {
    private let api: APIClient
    private let reconnection: Reconnection

    package init(api: APIClient, reconnection: Reconnection) {
        self.api = api
        self.reconnection = reconnection
    }

    package func outputs(_ command: CommandID, _ node: NodeID) async throws -> StoredOutputs {
        do {
            let answer = try await reconnection { try await api.get("\(OutputRoute.read)\(command)/\(node)") }
            return try JSONCoding.decode(StoredOutputs.self, from: answer)
        } catch let error as APIError where error.status == 404 {
            throw CommandLineError("The command \(command) was not sent to \(node), or is not known.")
        }
    }

    /// Hands over what there is, piece by piece, until `take` returns false. Throws when it is not what its digest says.
    package func copy(
        _ output: StoredOutput, _ command: CommandID, _ node: NodeID, to take: ([UInt8]) throws -> Bool
    ) async throws {
        var offset: Int64 = 0
        var digest = SHA256()
        while offset < output.length, output.state != .expired {
            let place = offset
            let answer = try await reconnection {
                try await api.get("\(OutputRoute.read)\(command)/\(node)/\(output.step)/\(output.stream)", query: "offset=\(place)")
            }
            let bytes = Array(answer.prefix(Int(min(output.length - offset, Int64(answer.count)))))
            guard !bytes.isEmpty else {
                throw CommandLineError("The controller has no more of it after \(offset) of \(output.length) bytes.")
            }
            digest.update(bytes)
            offset += Int64(bytes.count)
            guard try take(bytes) else { return }
        }
        if !output.sha256.isEmpty, output.state != .expired, Hex.encode(digest.finalize()) != output.sha256 {
            throw CommandLineError("What the controller sent is not what the node wrote: the SHA-256 differs.")
        }
    }

    /// What has to be said of it; nil when it is complete.
    ///
    /// - Parameter hasEnded: the node has no more to say about the command.
    package static func words(_ output: StoredOutput, hasEnded: Bool = false) -> String? {
        switch output.state {
        case .complete: nil
        case .unknown where hasEnded: "the step was never started, so it wrote nothing"
        case .unknown: "the step has not ended; nothing is here yet"
        case .uploading: "on its way; \(output.length) bytes so far"
        case .truncated:
            "truncated at \(output.length) bytes (\(output.reason.isEmpty ? "the node's budget" : output.reason)); "
                + (output.lost > 0 ? "\(output.lost) more were thrown away" : "the rest was thrown away")
        case .lost: "lost" + (output.reason.isEmpty ? "" : ": \(output.reason)")
        case .expired: "removed when its time was over"
        }
    }
}

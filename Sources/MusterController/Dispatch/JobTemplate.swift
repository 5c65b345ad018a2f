import FoundationEssentials
import MusterCrypto
import MusterDocuments
import MusterWire

/// The agent_job frames of one command. The content differs between targets only by the generation of their identity, so
/// it is written once for all that share one.
struct JobTemplate: Sendable {
    let command: CommandID
    /// Cancelling is a job of its own; its id follows from the command's, so that its acknowledgements are recognised
    /// after a restart too.
    let cancelID: CommandID
    private let content: SendCommandContent
    private var texts: [Int: String] = [:]

    init(_ record: CommandRecord, epoch: StoreIdentity, fence: Int64) throws {
        let json = Array(record.document.utf8)
        let document = try DocumentDecoder.decode(json: json)
        let bindings = try ParameterBindings(record.parameters, for: document)
        command = record.id
        cancelID = Self.cancelID(of: record.id)
        content = SendCommandContent(
            parameters: bindings.values.mapValues(JSONValue.init), documentContent: JSONValue(document.content),
            commandID: record.id.description, documentName: record.documentName,
            startBy: record.startBy.milliseconds, identityGeneration: nil, storeEpoch: epoch.epoch, storeRestoration: epoch.restoration,
            dispatchFence: fence)
    }

    mutating func job(for node: NodeID, generation: Int, messageID: UUID, at now: Timestamp) throws -> AgentMessage {
        let text: String
        if let known = texts[generation] {
            text = known
        } else {
            var content = content
            content.identityGeneration = generation
            text = String(decoding: try JSONCoding.encode(content), as: UTF8.self)
            texts[generation] = text
        }
        let job = AgentJob(content: text, jobID: JobID(command: command, node: node).description, topic: JobTopic.sendCommand)
        return try AgentMessage(.agentJob, createdDate: now, messageID: messageID, payload: job)
    }

    func cancellation(for node: NodeID, at now: Timestamp) throws -> AgentMessage {
        let job = try AgentJob(
            CancelCommandContent(cancelMessageID: JobID(command: command, node: node).description),
            jobID: JobID(command: cancelID, node: node))
        return try AgentMessage(.agentJob, createdDate: now, payload: job)
    }

    /// A version 8 UUID (RFC 9562 §5.8) made from the command's.
    private static func cancelID(of command: CommandID) -> CommandID {
        var bytes = Array(SHA256.hash("muster-cancel " + command.description).prefix(16))
        bytes[6] = bytes[6] & 0x0f | 0x80
        bytes[8] = bytes[8] & 0x3f | 0x80
        let text = [0..<4, 4..<6, 6..<8, 8..<10, 10..<16].map { Hex.encode(Array(bytes[$0])) }.joined(separator: "-")
        return CommandID(text) ?? command
    }
}

extension JSONValue {
    init(_ value: DocumentValue) {
        switch value {
        case .null: self = .null
        case .bool(let value): self = .bool(value)
        case .integer(let value): self = .integer(value)
        case .number(let value): self = .number(value)
        case .string(let value): self = .string(value)
        case .array(let values): self = .array(values.map(JSONValue.init))
        case .object(let members): self = .object(members.mapValues(JSONValue.init))
        }
    }
}

/// Why a WebSocket message is not a frame, or its payload not what the frame says. What the peer sent is never repeated here.
package enum FrameError: Error, Sendable, Equatable, CustomStringConvertible {
    case tooShort(bytes: Int)
    case tooLong(bytes: Int)
    case headerLength(UInt32)
    case messageType
    case createdDate
    case digest
    case payload(String)

    package var description: String {
        switch self {
        case .tooShort(let bytes): "Cannot read a frame of \(bytes) bytes: its header alone takes \(AgentMessage.payloadOffset)."
        case .tooLong(let bytes): "Cannot take a payload of \(bytes) bytes: the limit is \(AgentMessage.maximumPayloadLength)."
        case .headerLength(let length): "Cannot read a frame with HeaderLength \(length): it has to be \(AgentMessage.headerLength)."
        case .messageType: "Cannot read a frame whose MessageType is not 1 to 32 printable ASCII characters."
        case .createdDate: "Cannot read a frame whose CreatedDate is zero or out of range."
        case .digest: "The payload does not have the SHA-256 its frame announces."
        case .payload(let reason): "Cannot read the payload: \(reason)"
        }
    }
}

/// What a peer did to a stream that ends the session. What it sent is not repeated here.
package enum StreamFailure: Error, Sendable, Equatable, CustomStringConvertible {
    /// A sequence number came twice, with different contents.
    case repeatDiffers(sequence: Int64)
    case sequence(Int64)
    case acknowledgement

    package var description: String {
        switch self {
        case .repeatDiffers(let sequence): "The peer repeated frame \(sequence) with other contents."
        case .sequence(let sequence): "The peer sent a frame with the sequence number \(sequence)."
        case .acknowledgement: "The peer sent an acknowledgement that cannot be read."
        }
    }
}

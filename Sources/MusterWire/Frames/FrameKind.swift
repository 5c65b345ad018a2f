/// What a frame's payload is to the end that takes it: the same bytes are keys, a window's size or a handshake. [value]
///
/// A repeat has the kind and the payload of the frame that it repeats. Its date and MessageId are its own: no end acts on them.
package struct FrameKind: Sendable, Equatable {
    package let payloadType: PayloadType
    package let flags: UInt64

    package init(payloadType: PayloadType, flags: UInt64) {
        self.payloadType = payloadType
        self.flags = flags
    }
}

extension AgentMessage {
    package var kind: FrameKind { FrameKind(payloadType: self.payloadType, flags: self.flags) }
}

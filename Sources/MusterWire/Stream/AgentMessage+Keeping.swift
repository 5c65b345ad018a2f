import NIOCore

extension AgentMessage {
    /// The same frame for those who keep it: a short payload that is a slice of a large buffer would keep all of the buffer alive.
    package func holdingLittle() -> AgentMessage {
        let bytes = self.payload.readableBytes
        guard self.payload.storageCapacity > 4 * bytes + 1024 else { return self }
        var copy = ByteBuffer()
        copy.writeImmutableBuffer(self.payload)
        return self.replacingPayload(withEqual: copy)
    }
}

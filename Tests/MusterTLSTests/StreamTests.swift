import MusterCrypto
import MusterTLS
import NIOCore
import NIOEmbedded
import Testing

@Suite("The stream: ends, cuts, records, and what is held")
struct StreamTests {
    private func connected() throws -> EmbeddedPair {
        let authority = try TestAuthority(), pair = try EmbeddedPair(authority.client(), authority.server())
        try pair.exchange()
        #expect(pair.client.observer.handshakes == 1 && pair.server.observer.handshakes == 1)
        pair.client.wire = []
        pair.server.wire = []
        return pair
    }

    @Test("close sends close_notify, and the other side answers it and closes without an error", arguments: [true, false])
    func closes(byClient: Bool) throws {
        let pair = try connected(), one = byClient ? pair.client : pair.server, other = byClient ? pair.server : pair.client
        one.channel.write(ByteBuffer(string: "last words"), promise: nil)
        one.channel.flush()
        one.channel.close(promise: nil)
        #expect(!one.channel.isActive)
        try pair.exchange()
        #expect(other.observer.received == Array("last words".utf8))
        #expect(!other.channel.isActive)
        #expect(other.observer.errors.isEmpty && one.observer.errors.isEmpty)
        #expect(recordTypes(one.wire).count == 2 && recordTypes(other.wire).count == 1, "data and close_notify; close_notify")
    }

    @Test("a connection goes on in another channel, at any byte of a record, and its former one closes without a word")
    func moves() throws {
        for length in 0..<32 {
            let pair = try connected()
            pair.client.write(Array("0123456789".utf8))
            var wire = try #require(try pair.client.takeCiphertext())
            let half = wire.readSlice(length: length)
            try pair.server.channel.writeInbound(try #require(half))
            let former = try #require(try pair.moveServer(early: Array("before ".utf8)))
            former.channel.close(promise: nil)
            #expect(try former.channel.readOutbound(as: ByteBuffer.self) == nil && !former.channel.isActive)
            #expect(former.observer.errors.isEmpty && former.observer.received.isEmpty)
            try pair.server.channel.writeInbound(wire)
            #expect(pair.server.observer.received == Array("before 0123456789".utf8))
            pair.server.write(Array("answer".utf8))
            try pair.exchange()
            #expect(pair.client.observer.received == Array("answer".utf8))
            pair.server.channel.close(promise: nil)
            try pair.exchange()
            #expect(pair.client.observer.errors.isEmpty && !pair.client.channel.isActive)
        }
    }

    @Test("what is not open, or has something to send, stays where it is")
    func staysWhereItIs() throws {
        let authority = try TestAuthority(), opening = try EmbeddedPair(authority.client(), authority.server())
        #expect(try opening.moveServer() == nil, "in the handshake")
        let pair = try connected()
        pair.server.channel.write(ByteBuffer(string: "not flushed"), promise: nil)
        #expect(try pair.moveServer() == nil)
        pair.server.channel.flush()
        #expect(try pair.moveServer() != nil)
        #expect(try connected().moveServer() != nil)
        let closing = try connected()
        closing.server.channel.close(promise: nil)
        #expect(try closing.moveServer() == nil)
    }

    @Test("a stream cut at any byte without close_notify is an error for the reader, after the data")
    func cuts() throws {
        let authority = try TestAuthority(), client = try authority.client(), server = try authority.server()
        for length in 0..<66 {
            let pair = try EmbeddedPair(client, server)
            try pair.exchange()
            pair.server.write(Array("0123456789".utf8))
            pair.server.write(Array("abcdefghij".utf8))
            var wire: [UInt8] = []
            while let bytes = try pair.server.takeCiphertext() { wire += Array(buffer: bytes) }
            #expect(wire.count == 64, "two records with 10 bytes, each with 22 around it")
            try pair.client.channel.writeInbound(ByteBuffer(bytes: wire.prefix(length)))
            if length.isMultiple(of: 2) {
                pair.client.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
            } else {
                pair.client.channel.pipeline.fireChannelInactive()
            }
            #expect(pair.client.observer.received.count == length / 32 * 10 - (length / 32 > 2 ? 10 : 0))
            #expect(pair.client.observer.codes == [.uncleanShutdown])
        }
    }

    @Test("a connection that ends within the handshake is an error", arguments: [true, false])
    func cutHandshake(inactive: Bool) throws {
        let authority = try TestAuthority(), pair = try EmbeddedPair(authority.client(), authority.server())
        for end in [pair.client, pair.server] {
            if inactive {
                end.channel.pipeline.fireChannelInactive()
            } else {
                end.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
            }
            #expect(end.observer.codes == [.handshake])
        }
    }

    @Test("any changed byte of a record is an error, and its data is not delivered")
    func changedRecords() throws {
        let authority = try TestAuthority(), client = try authority.client(), server = try authority.server()
        for index in 0..<32 {
            let pair = try EmbeddedPair(client, server)
            try pair.exchange()
            pair.server.write(Array("0123456789".utf8))
            var bytes = try #require(try pair.server.takeCiphertext())
            bytes.setInteger(bytes.getInteger(at: index, as: UInt8.self)! ^ 0x20, at: index)
            _ = try? pair.client.channel.writeInbound(bytes)
            pair.client.channel.pipeline.fireChannelInactive()  // a longer length still waits for its bytes
            #expect(pair.client.observer.received.isEmpty)
            #expect(pair.client.observer.codes.count == 1)
        }
    }

    @Test("a header and its payload share a record; large buffers fill theirs")
    func coalescing() throws {
        let pair = try connected()
        var completed = 0
        func write(_ count: Int) {
            let promise = pair.client.channel.eventLoop.makePromise(of: Void.self)
            promise.futureResult.assumeIsolated().whenSuccess { completed += 1 }
            pair.client.channel.write(ByteBuffer(repeating: 7, count: count), promise: promise)
        }
        write(10)
        write(0)
        write(1_000)
        pair.client.channel.flush()
        try pair.exchange()
        #expect(completed == 3)
        #expect(recordTypes(pair.client.wire).count == 1)
        #expect(pair.server.observer.received.count == 1_010)
        pair.client.wire = []
        write(10)
        write(50_000)
        write(5)
        pair.client.channel.flush()
        try pair.exchange()
        #expect(completed == 6)
        #expect(recordTypes(pair.client.wire).count == 4)
        #expect(pair.server.observer.received.count == 51_025)
    }

    @Test("any sizes of writes and flushes arrive in order, and every promise is kept")
    func manySizes() throws {
        let pair = try connected()
        var sent: [UInt8] = [], writes = 0, completed = 0
        for step in 0..<300 {
            let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: step), count: (step * 7_919) % 40_013 >> (step % 9))
            sent += bytes
            writes += 1
            let promise = pair.client.channel.eventLoop.makePromise(of: Void.self)
            promise.futureResult.assumeIsolated().whenSuccess { completed += 1 }
            pair.client.channel.write(ByteBuffer(bytes: bytes), promise: promise)
            if step % 7 == 0 { pair.client.channel.flush() }
            if step % 31 == 0 { try pair.exchange() }
        }
        pair.client.channel.flush()
        try pair.exchange()
        #expect(pair.server.observer.received == sent)
        #expect(completed == writes)
    }

    @Test("records of one byte each, in pieces of one byte")
    func oneByteRecords() throws {
        let pair = try connected(), text = Array("one byte at a time".utf8)
        for byte in text { pair.client.write([byte]) }
        try pair.exchange(pieces: 1)
        #expect(recordTypes(pair.client.wire).count == text.count)
        #expect(pair.server.observer.received == text)
    }

    @Test("what is written before the handshake is held up to a limit")
    func heldWrites() throws {
        let authority = try TestAuthority(), pair = try EmbeddedPair(authority.client(), authority.server())
        var errors: [any Error] = []
        for _ in 0..<20 {
            let promise = pair.client.channel.eventLoop.makePromise(of: Void.self)
            promise.futureResult.assumeIsolated().whenFailure { errors.append($0) }
            pair.client.channel.writeAndFlush(ByteBuffer(repeating: 1, count: 65_536), promise: promise)
        }
        #expect(errors.count == 4)
        #expect(errors.allSatisfy { ($0 as? TLSError)?.code == .tooMuchPending })
        try pair.exchange()
        #expect(pair.server.observer.received.count == 1 << 20)
    }

    @Test("unflushed writes are lost at close, and their promises fail; so do later ones")
    func writesAtClose() throws {
        let pair = try connected()
        var failures = 0
        func promise() -> EventLoopPromise<Void> {
            let promise = pair.client.channel.eventLoop.makePromise(of: Void.self)
            promise.futureResult.assumeIsolated().whenFailure { _ in failures += 1 }
            return promise
        }
        pair.client.channel.write(ByteBuffer(string: "lost"), promise: promise())
        pair.client.channel.close(promise: nil)
        pair.client.channel.writeAndFlush(ByteBuffer(string: "late"), promise: promise())
        try pair.exchange()
        #expect(failures == 2)
        #expect(pair.server.observer.received.isEmpty)
    }

    @Test("a reader that closes in the middle of what has arrived gets no more of it")
    func closeWhileReading() throws {
        let pair = try connected()
        pair.server.observer.onRead = { $0.close(promise: nil) }
        pair.client.write([UInt8](repeating: 1, count: 400_000))
        try pair.exchange()
        #expect(pair.server.observer.reads == 1)
        #expect(!pair.server.channel.isActive && !pair.client.channel.isActive)
        #expect(pair.server.observer.errors.isEmpty)
    }

    @Test("a reader that writes while it reads does not disturb the reading")
    func writeWhileReading() throws {
        let pair = try connected()
        pair.server.observer.onRead = { context in
            context.writeAndFlush(NIOAny(ByteBuffer(string: "!")), promise: nil)
        }
        for _ in 0..<50 { pair.client.write([UInt8](repeating: 1, count: 5_000)) }
        try pair.exchange()
        #expect(pair.server.observer.received.count == 250_000)
        #expect(pair.client.observer.received.count == pair.server.observer.reads)
        #expect(pair.server.observer.errors.isEmpty && pair.client.observer.errors.isEmpty)
    }
}

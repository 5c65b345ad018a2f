import MusterCrypto
package import NIOCore
import NIOTLS

/// TLS 1.3 and 1.2 for a channel, as server or client (RFC 8446, RFC 5246), over OpenSSL.
///
/// What happens when is the state machine's business, what is encrypted how the connection's; the handler moves the bytes.
///
/// - After the handshake it fires `TLSUserEvent.handshakeCompleted(negotiatedProtocol: nil)`; `peer` says who is there.
/// - Errors are fired as `TLSError`, and the channel closes. A stream that ends without close_notify is such an error.
/// - Writes are encrypted when they are flushed and handed to the channel, whose own buffer and `isWritable` hold the writer
///   back; small ones between two flushes share a record. Before the end of the handshake a bounded amount is held.
/// - It sets no deadline for the handshake: whoever owns the channel does.
package final class TLSHandler: ChannelDuplexHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private static let maximumHeldBytes = 1 << 20
    /// Ciphertext goes on to the channel in pieces of about this size.
    private static let pieceBytes = 1 << 16
    /// How long our last bytes may take to leave before the channel closes without them.
    private static let closingTime = TimeAmount.seconds(5)

    private let tls: TLSContext
    private let serverName: String?
    private var machine = TLSStateMachine()
    private var connection: TLSConnection?
    private var writes = PendingWrites()
    /// The reader has asked for bytes and has got none yet.
    private var isReadWanted = false
    private var closePromises: [EventLoopPromise<Void>] = []
    private var closingDeadline: Scheduled<Void>?
    /// Decrypted by the handler before this one.
    private var early = ByteBuffer()

    /// - Parameter serverName: whom a client expects, a host name (also sent as SNI) or an IP address. Nil on servers.
    package init(context: TLSContext, serverName: String?) {
        tls = context
        self.serverName = context.configuration.isServer ? nil : serverName
    }

    /// Goes on with a connection whose former handler has surrendered it, over the same socket.
    package init(_ passage: TLSPassage) {
        tls = passage.connection.context
        serverName = passage.connection.serverName
        connection = passage.connection
        early = passage.early
        machine = .adopted
    }

    /// Lets go of the connection: this handler does nothing more, and closes its channel without a word. Nil when the connection is not
    /// open, or something is still to be sent on it.
    ///
    /// - Parameter early: what this handler has decrypted, and nobody has taken.
    package func surrender(early: ByteBuffer) -> TLSPassage? {
        guard machine.writeRequested() == .encrypt, writes.bytes == 0, let connection, connection.outgoingBytes == 0 else { return nil }
        _ = machine.failed()
        self.connection = nil
        return TLSPassage(connection, early: early)
    }

    /// Who is at the other end, once the handshake is complete. Event loop only; made anew at each call, so keep it.
    package var peer: TLSPeer? {
        machine.hasPeer ? connection?.peer : nil
    }

    // MARK: Life

    package func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { perform(machine.connected(), context) }
    }

    package func channelActive(context: ChannelHandlerContext) {
        perform(machine.connected(), context)
        context.fireChannelActive()
        readAdopted(context)
    }

    /// What came before its connection was here, decrypted or not.
    private func readAdopted(_ context: ChannelHandlerContext) {
        guard machine.ciphertextReceived() == .decrypt else { return }
        let early = self.early
        self.early = ByteBuffer()
        if early.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(early)) }
        decrypt(context)
        context.fireChannelReadComplete()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        perform(machine.inputEnded(), context)
        _ = machine.failed()
        end()
        context.fireChannelInactive()
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        _ = machine.failed()
        end()
    }

    private func end() {
        closingDeadline?.cancel()
        closingDeadline = nil
        writes.fail(ChannelError.ioOnClosedChannel)
        connection = nil
        let promises = closePromises
        closePromises = []
        for promise in promises { promise.succeed() }
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed {
            // Half a connection is none here. All that was received before has been decrypted by now.
            perform(machine.inputEnded(), context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    private func perform(_ action: TLSStateMachine.Action, _ context: ChannelHandlerContext) {
        switch action {
        case .none:
            break
        case .handshake:
            handshake(context)
        case .decrypt:
            decrypt(context)
        case .announceHandshake:
            context.fireUserInboundEventTriggered(TLSUserEvent.handshakeCompleted(negotiatedProtocol: nil))
            encryptFlushed(context)
            perform(machine.ciphertextReceived(), context)  // the peer may have sent data right behind its last message
        case .closeOutput:
            closeOutput(context)
        case .closeGracefully:
            connection?.sendCloseNotify()
            closeWhenWritten(context)
        case .close:
            context.close(promise: nil)
        case .reportInterruptedHandshake:
            context.fireErrorCaught(
                TLSError(.handshake, "complete the TLS handshake\(partner)", reasons: ["the connection ended in the middle of it"]))
            context.close(promise: nil)
        case .reportTruncation:
            context.fireErrorCaught(
                TLSError(
                    .uncleanShutdown, "read the TLS connection\(partner) to its end",
                    reasons: ["it was cut off without close_notify, so what was read may be incomplete"]))
            context.close(promise: nil)
        }
    }

    private var partner: String {
        " with \(serverName ?? "a client")"
    }

    /// Tells the peer (OpenSSL has its alert ready), then the reader, then closes.
    private func fail(_ error: TLSError, _ context: ChannelHandlerContext) {
        guard machine.failed() else { return }
        writes.fail(error)
        sendOutgoing(context)
        context.fireErrorCaught(error)
        closeWhenWritten(context)
    }

    // MARK: Handshake

    private func handshake(_ context: ChannelHandlerContext) {
        // A server holds nothing for a client that has said nothing yet.
        guard !tls.configuration.isServer || connection != nil else { return context.read() }
        guard let connection = begun(context) else { return }
        switch connection.handshake() {
        case .failed(let error):
            fail(error, context)
        case .wantsInput:
            sendOutgoing(context)
            context.read()  // the handshake needs input, whether or not anyone wants to read yet
        case .completed:
            sendOutgoing(context)
            perform(machine.handshakeCompleted(), context)
        }
    }

    /// Nil when it cannot be begun; the channel closes then.
    private func begun(_ context: ChannelHandlerContext) -> TLSConnection? {
        if let connection { return connection }
        do throws(TLSError) {
            let connection = try TLSConnection(context: tls, serverName: serverName)
            self.connection = connection
            return connection
        } catch {
            fail(error, context)
            return nil
        }
    }

    // MARK: Reading

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var ciphertext = unwrapInboundIn(data)
        let action = machine.ciphertextReceived()
        guard action != .none, let connection = begun(context) else { return }
        connection.receive(&ciphertext)
        perform(action, context)
    }

    private func decrypt(_ context: ChannelHandlerContext) {
        // The reader may close the channel, or write, at each piece that it gets.
        while machine.ciphertextReceived() == .decrypt, let connection {
            var plaintext = ByteBuffer()
            let outcome = connection.read(into: &plaintext, limit: Self.pieceBytes)
            sendOutgoing(context)  // the answer to a key update
            if plaintext.readableBytes > 0 {
                isReadWanted = false
                context.fireChannelRead(wrapInboundOut(plaintext))
            }
            switch outcome {
            case .bytes:
                continue
            case .wantsInput:
                return
            case .closeNotify:
                return perform(machine.closeNotifyReceived(), context)
            case .failed(let error):
                return fail(error, context)
            }
        }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        // Ciphertext may hold no plaintext: half a record, or a ticket. The reader's wish is then still open.
        if isReadWanted || machine.isHandshaking { context.read() }
    }

    package func read(context: ChannelHandlerContext) {
        isReadWanted = true
        context.read()
    }

    // MARK: Writing

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let plaintext = unwrapOutboundIn(data)
        switch machine.writeRequested() {
        case .refuse:
            promise?.fail(ChannelError.ioOnClosedChannel)
        case .hold:
            guard writes.bytes + plaintext.readableBytes <= Self.maximumHeldBytes else {
                promise?.fail(
                    TLSError(
                        .tooMuchPending, "hold \(writes.bytes + plaintext.readableBytes) bytes until the end of the TLS handshake",
                        reasons: ["the limit is \(Self.maximumHeldBytes); wait for handshakeCompleted"]))
                return
            }
            writes.append(plaintext, promise)
        case .encrypt:
            writes.append(plaintext, promise)
            // What has grown beyond a few records waits for its flush in the channel, which counts it for isWritable.
            if writes.bytes >= Self.pieceBytes {
                writes.markFlush()
                encrypt(context)
            }
        }
    }

    package func flush(context: ChannelHandlerContext) {
        writes.markFlush()
        guard machine.writeRequested() == .encrypt else { return }
        encrypt(context)
        context.flush()
    }

    private func encryptFlushed(_ context: ChannelHandlerContext) {
        guard machine.writeRequested() == .encrypt, writes.hasFlushed else { return }
        encrypt(context)
        context.flush()
    }

    /// Encrypts all that is marked and writes it to the channel, without a flush.
    private func encrypt(_ context: ChannelHandlerContext) {
        guard let connection else { return }
        var done: [EventLoopPromise<Void>] = []
        while let piece = writes.next() {
            done.append(contentsOf: piece.promises)
            if let error = piece.bytes.withUnsafeReadableBytes({ connection.write($0) }) {
                for promise in done { promise.fail(error) }
                return fail(error, context)
            }
            if connection.outgoingBytes >= Self.pieceBytes {
                context.write(wrapOutboundOut(connection.takeOutgoing()), promise: Self.one(of: done, context))
                done = []
            }
        }
        if connection.outgoingBytes > 0 || !done.isEmpty {
            context.write(wrapOutboundOut(connection.takeOutgoing()), promise: Self.one(of: done, context))
        }
    }

    /// A promise that completes all of them.
    private static func one(of promises: [EventLoopPromise<Void>], _ context: ChannelHandlerContext) -> EventLoopPromise<Void>? {
        if promises.count <= 1 { return promises.first }
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.whenComplete { result in
            for promise in promises { promise.completeWith(result) }
        }
        return promise
    }

    private func sendOutgoing(_ context: ChannelHandlerContext) {
        guard let connection, connection.outgoingBytes > 0 else { return }
        context.writeAndFlush(wrapOutboundOut(connection.takeOutgoing()), promise: nil)
    }

    // MARK: Closing

    package func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        switch mode {
        case .all:
            if let promise { closePromises.append(promise) }
            // As with any channel, what was flushed is sent and what was not is lost.
            encryptFlushed(context)
            writes.fail(ChannelError.ioOnClosedChannel)
            let action = machine.closeRequested()
            if action == .close {
                // Before the handshake, or after a failure that has not finished telling the peer.
                closeNow(context)
            } else {
                perform(action, context)
            }
        case .output:
            encryptFlushed(context)
            switch machine.outputCloseRequested() {
            case .closeOutput:
                closeOutput(context, promise)
            case .close:
                context.close(promise: promise)
            default:
                promise?.fail(ChannelError.outputClosed)
            }
        case .input:
            // The peer's close_notify could no longer be told from a cut.
            promise?.fail(ChannelError.operationUnsupported)
        }
    }

    private func closeOutput(_ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>? = nil) {
        writes.fail(ChannelError.outputClosed)
        connection?.sendCloseNotify()
        let isWritten = context.eventLoop.makePromise(of: Void.self)
        isWritten.futureResult.assumeIsolated().whenComplete { _ in
            context.close(mode: .output, promise: promise)
        }
        context.writeAndFlush(wrapOutboundOut(connection?.takeOutgoing() ?? ByteBuffer()), promise: isWritten)
    }

    /// NIO drops what is still in the channel's buffer when it closes, so wait for the last bytes, but not for ever:
    /// the peer may have stopped reading. Its own close_notify is not waited for (RFC 8446 §6.1).
    private func closeWhenWritten(_ context: ChannelHandlerContext) {
        guard closingDeadline == nil else { return }
        let isWritten = context.eventLoop.makePromise(of: Void.self)
        closingDeadline = context.eventLoop.assumeIsolated().scheduleTask(in: Self.closingTime) { [weak self] in
            self?.closeNow(context)
        }
        isWritten.futureResult.assumeIsolated().whenComplete { [weak self] _ in
            self?.closeNow(context)
        }
        context.writeAndFlush(wrapOutboundOut(connection?.takeOutgoing() ?? ByteBuffer()), promise: isWritten)
    }

    private func closeNow(_ context: ChannelHandlerContext) {
        closingDeadline?.cancel()
        closingDeadline = nil
        let promises = closePromises
        closePromises = []
        context.close(promise: Self.one(of: promises, context))
    }
}

/// It belongs to its channel's event loop.
@available(*, unavailable)
extension TLSHandler: Sendable {}

package import MusterTLS
package import NIOCore
package import NIOHTTP1

/// One HTTP/1.1 request (RFC 9112) whose body is in memory.
package struct HTTPRequest: Sendable {
    package var method: HTTPMethod
    package var path: String
    package var headers: HTTPHeaders
    package var body: [UInt8]

    package init(method: HTTPMethod = .POST, path: String = "/", headers: HTTPHeaders = [:], body: [UInt8] = []) {
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
    }
}

package struct HTTPResponse: Sendable {
    package let status: Int
    package let headers: HTTPHeaders
    package let body: [UInt8]
}

/// One connection to a controller, one request at a time on it.
package final class HTTPConnection: Sendable {
    private let endpoint: Endpoint
    private let secured: SecureChannel
    private let maxBodyBytes: Int

    private init(endpoint: Endpoint, secured: SecureChannel, maxBodyBytes: Int) {
        self.endpoint = endpoint
        self.secured = secured
        self.maxBodyBytes = maxBodyBytes
    }

    package static func connect(
        endpoint: Endpoint,
        tls: TLSContext,
        group: any EventLoopGroup,
        deadline: NIODeadline,
        maxBodyBytes: Int = 16 << 20
    ) async throws(ClientError) -> HTTPConnection {
        let secured = try await SecureChannel.connect(to: endpoint, tls: tls, group: group, deadline: deadline)
        let channel = secured.channel
        do {
            try await channel.eventLoop.submit {
                try channel.pipeline.syncOperations.addHTTPClientHandlers(leftOverBytesStrategy: .dropBytes)
                try channel.pipeline.syncOperations.addHandler(HTTPExchangeHandler(endpoint: endpoint))
            }.get()
        } catch {
            channel.close(promise: nil)
            throw await secured.failure(or: ClientError(.closed, "\(endpoint) closed the connection before the first request."))
        }
        return HTTPConnection(endpoint: endpoint, secured: secured, maxBodyBytes: maxBodyBytes)
    }

    /// Whether another request may be tried on it. The other side can close it at any moment all the same.
    package var isOpen: Bool { secured.channel.isActive }

    /// This end's address, without its port.
    package var localAddress: String? { secured.channel.localAddress?.ipAddress }

    /// Sends one request and waits for the whole answer. After any error the connection is closed.
    package func send(_ request: HTTPRequest, deadline: NIODeadline) async throws(ClientError) -> HTTPResponse {
        let channel = secured.channel
        let answer = channel.eventLoop.makePromise(of: HTTPResponse.self)
        let exchange = HTTPExchange(request: request, answer: answer, deadline: deadline, maxBodyBytes: maxBodyBytes)
        do {
            return try await withTaskCancellationHandler {
                let written = channel.eventLoop.makePromise(of: Void.self)
                written.futureResult.cascadeFailure(to: answer)
                channel.writeAndFlush(exchange, promise: written)
                return try await answer.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch {
            channel.close(promise: nil)
            let fallback =
                error as? ClientError ?? ClientError(.closed, "The connection to \(endpoint) ended before the answer: \(describe(error)).")
            switch fallback.kind {
            case .closed: throw await secured.failure(or: fallback)
            default: throw fallback
            }
        }
    }

    package func close() {
        secured.channel.close(promise: nil)
    }
}

/// What goes down the pipeline: a request and where its answer belongs.
struct HTTPExchange: Sendable {
    let request: HTTPRequest
    let answer: EventLoopPromise<HTTPResponse>
    let deadline: NIODeadline
    let maxBodyBytes: Int
}

/// Turns an exchange into HTTP parts and the parts of the answer into a response, within its limits.
private final class HTTPExchangeHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = HTTPExchange
    typealias OutboundOut = HTTPClientRequestPart

    private struct Pending {
        let exchange: HTTPExchange
        let timer: Scheduled<Void>
        var head: HTTPResponseHead?
        var body: [UInt8] = []
    }

    private let endpoint: Endpoint
    private var pending: Pending?

    init(endpoint: Endpoint) {
        self.endpoint = endpoint
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let exchange = Self.unwrapOutboundIn(data)
        guard pending == nil else {
            promise?.fail(ClientError(.protocolViolation, "A second request was begun on a connection to \(endpoint) that is in use."))
            return
        }
        let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let timer = context.eventLoop.scheduleTask(deadline: exchange.deadline) {
            let (handler, context) = loopBound.value
            handler.fail(ClientError(.timedOut, "\(handler.endpoint) did not answer in time."), context: context)
        }
        pending = Pending(exchange: exchange, timer: timer)

        var head = HTTPRequestHead(version: .http1_1, method: exchange.request.method, uri: exchange.request.path)
        head.headers = exchange.request.headers
        if !head.headers.contains(name: "host") { head.headers.add(name: "host", value: endpoint.authority) }
        head.headers.replaceOrAdd(name: "content-length", value: String(exchange.request.body.count))
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        if !exchange.request.body.isEmpty {
            let body = context.channel.allocator.buffer(bytes: exchange.request.body)
            context.write(Self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
        context.write(Self.wrapOutboundOut(.end(nil)), promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard pending != nil else {
            // Nobody asked: the two sides disagree about where an answer ends.
            context.close(promise: nil)
            return
        }
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            pending?.head = head
            if let text = head.headers.first(name: "content-length"), let length = Int(text) {
                checkSize(length, context: context)
            }
        case .body(let part):
            pending?.body.append(contentsOf: part.readableBytesView)
            checkSize(pending?.body.count ?? 0, context: context)
        case .end:
            guard let done = pending, let head = done.head else { return }
            pending = nil
            done.timer.cancel()
            if !head.isKeepAlive { context.close(promise: nil) }
            done.exchange.answer.succeed(HTTPResponse(status: Int(head.status.code), headers: head.headers, body: done.body))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(ClientError(error, on: endpoint), context: context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(ClientError(.closed, "\(endpoint) closed the connection before its answer was complete."), context: context)
        context.fireChannelInactive()
    }

    private func checkSize(_ bytes: Int, context: ChannelHandlerContext) {
        guard let limit = pending?.exchange.maxBodyBytes, bytes > limit else { return }
        fail(ClientError(.tooLarge, "The answer of \(endpoint) is larger than \(limit) bytes."), context: context)
    }

    private func fail(_ error: ClientError, context: ChannelHandlerContext) {
        if let failed = pending {
            pending = nil
            failed.timer.cancel()
            failed.exchange.answer.fail(error)
        }
        context.close(promise: nil)
    }
}

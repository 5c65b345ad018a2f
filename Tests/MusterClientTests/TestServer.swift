import MusterClient
import MusterCrypto
import MusterTLS
import MusterWire
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket

/// A controller's certificates, made for one test.
struct TestAuthority {
    let authority: CertificateAuthority
    let server: TLSIdentity

    init(now: Int64 = testNow, serverFrom: Int64 = -3600, serverUntil: Int64 = 3600, name: String = "test CA") throws {
        let caKey = try PrivateKey.generate()
        authority = try .create(commonName: name, notBefore: now - 400 * 86_400, notAfter: now + 400 * 86_400, key: caKey)
        let key = try PrivateKey.generate()
        let leaf = try authority.issue(
            CertificateTemplate(
                commonName: "controller", dnsNames: ["localhost"], ipAddresses: ["127.0.0.1"], notBefore: now + serverFrom,
                notAfter: now + serverUntil, usage: .server),
            for: key.publicKey)
        server = TLSIdentity(chain: [leaf, authority.certificate], key: key)
    }

    func client() throws -> TLSContext {
        try TLSContext(.client(trust: .authorities([authority.certificate])))
    }
}

let testNow = Timestamp.now().milliseconds / 1000

/// What the server does with one HTTP request: raw bytes, so that it can also do what a server must not.
enum Script: Sendable {
    case send(String)
    case sendThenClose(String)
    case silence
    case reset
}

/// A TLS server on a free port of the loopback, gone when the body of `withServer` returns.
struct TestServer: Sendable {
    let endpoint: Endpoint

    static func withHTTP<Result>(
        _ authority: TestAuthority,
        clientAuthorities: [Certificate]? = nil,
        answer: @escaping @Sendable (_ head: String, _ body: String) -> Script,
        _ body: (TestServer, MultiThreadedEventLoopGroup) async throws -> Result
    ) async throws -> Result {
        try await run(authority, clientAuthorities, body) { channel in
            try channel.pipeline.syncOperations.addHandler(ScriptHandler(answer: answer))
        }
    }

    static func withWebSocket<Result>(
        _ authority: TestAuthority,
        headers: HTTPHeaders = [:],
        allow: Bool = true,
        open: @escaping @Sendable (any Channel) -> Void = { _ in },
        frame: @escaping @Sendable (WebSocketFrame, any Channel) -> Void,
        _ body: (TestServer, MultiThreadedEventLoopGroup) async throws -> Result
    ) async throws -> Result {
        try await run(authority, nil, body) { channel in
            let upgrader = NIOWebSocketServerUpgrader(
                maxFrameSize: 1 << 22, automaticErrorHandling: false,
                shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture(allow ? headers : nil) },
                upgradePipelineHandler: { channel, _ in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(FrameHandler(frame: frame))
                        open(channel)
                    }
                }
            )
            try channel.pipeline.syncOperations.configureHTTPServerPipeline(
                withPipeliningAssistance: false, withServerUpgrade: (upgraders: [upgrader], completionHandler: { _ in }))
        }
    }

    /// Accepts connections and says nothing.
    static func withSilence<Result>(_ body: (TestServer, MultiThreadedEventLoopGroup) async throws -> Result) async throws -> Result {
        try await run(nil, nil, body) { _ in }
    }

    private static func run<Result>(
        _ authority: TestAuthority?,
        _ clientAuthorities: [Certificate]?,
        _ body: (TestServer, MultiThreadedEventLoopGroup) async throws -> Result,
        pipeline: @escaping @Sendable (any Channel) throws -> Void
    ) async throws -> Result {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let tls = try authority.map { try TLSContext(.server(identity: $0.server, clientAuthorities: clientAuthorities)) }
        let listener = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls { try channel.pipeline.syncOperations.addHandler(TLSHandler(context: tls, serverName: nil)) }
                    try pipeline(channel)
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = listener.localAddress?.port ?? 0
        do {
            let result = try await body(TestServer(endpoint: Endpoint(url: "https://127.0.0.1:\(port)")), group)
            try await group.shutdownGracefully()
            return result
        } catch {
            try await group.shutdownGracefully()
            throw error
        }
    }
}

private final class ScriptHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let answer: @Sendable (String, String) -> Script
    private var received = ""

    init(answer: @escaping @Sendable (String, String) -> Script) {
        self.answer = answer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received += String(buffer: Self.unwrapInboundIn(data))
        while let (head, body) = request() {
            switch answer(head, body) {
            case .send(let text):
                context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
            case .sendThenClose(let text):
                context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
                context.close(promise: nil)
            case .silence:
                break
            case .reset:
                context.close(promise: nil)
            }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func request() -> (String, String)? {
        let bytes = Array(received.utf8)
        guard let end = (0..<max(0, bytes.count - 3)).first(where: { Array(bytes[$0..<$0 + 4]) == Array("\r\n\r\n".utf8) }) else {
            return nil
        }
        let head = String(decoding: bytes[..<end], as: UTF8.self)
        let length =
            head.lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
            .flatMap { Int($0.split(separator: " ").last ?? "") } ?? 0
        guard bytes.count >= end + 4 + length else { return nil }
        received = String(decoding: bytes[(end + 4 + length)...], as: UTF8.self)
        return (head, String(decoding: bytes[(end + 4)..<(end + 4 + length)], as: UTF8.self))
    }
}

private final class FrameHandler: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame

    private let frame: @Sendable (WebSocketFrame, any Channel) -> Void

    init(frame: @escaping @Sendable (WebSocketFrame, any Channel) -> Void) {
        self.frame = frame
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        frame(Self.unwrapInboundIn(data), context.channel)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

func json(_ body: String, status: String = "200 OK", headers: [String] = []) -> String {
    (["HTTP/1.1 \(status)", "Content-Type: application/x-amz-json-1.1", "Content-Length: \(body.utf8.count)"] + headers).joined(
        separator: "\r\n")
        + "\r\n\r\n" + body
}

/// The kind of the `ClientError` that `body` throws, nil if it throws none.
func kind(_ body: () async throws -> some Any) async throws -> ClientError.Kind? {
    do {
        _ = try await body()
        return nil
    } catch let error as ClientError {
        return error.kind
    }
}

import MusterTLS
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOWebSocket
import Testing

@testable import MusterClient

struct WebSocketConnectionTests {
    private func connect(
        _ server: TestServer, _ group: any EventLoopGroup, _ authority: TestAuthority, maxMessageBytes: Int = 1 << 20,
        keepAlive: TimeAmount = .seconds(20), within: TimeAmount = .seconds(40)
    ) async throws -> WebSocketConnection {
        try await WebSocketConnection.connect(
            endpoint: server.endpoint, path: "/v1/x?role=subscribe", tls: try authority.client(), maxMessageBytes: maxMessageBytes,
            keepAlive: keepAlive, group: group, deadline: .now() + within)
    }

    @Test func messagesGoBothWays() async throws {
        let authority = try TestAuthority()
        try await TestServer.withWebSocket(
            authority, headers: ["x-muster-server-time": "5"],
            frame: { frame, channel in
                // A client must mask what it sends.
                guard frame.maskKey != nil, frame.opcode == .text || frame.opcode == .binary else { return }
                channel.writeAndFlush(WebSocketFrame(fin: true, opcode: frame.opcode, data: frame.unmaskedData), promise: nil)
            }
        ) { server, group in
            let socket = try await connect(server, group, authority)
            #expect(socket.header("x-muster-server-time") == "5")
            var iterator = socket.inbound.makeAsyncIterator()
            for text in ["", "hello", String(repeating: "é", count: 60_000)] {
                try await socket.send(text: text)
                #expect(try await iterator.next() == .text(text))
            }
            let bytes = ByteBuffer(repeating: 7, count: 200_000)
            try await socket.send(binary: bytes)
            #expect(try await iterator.next() == .binary(bytes))
            await socket.close()
            #expect(try await iterator.next() == nil)
        }
    }

    @Test func fragmentsBecomeOneMessageWithPingsBetween() async throws {
        let authority = try TestAuthority()
        let pongs = NIOLockedValueBox<[String]>([])
        try await TestServer.withWebSocket(
            authority,
            open: { channel in
                channel.write(WebSocketFrame(fin: false, opcode: .text, data: ByteBuffer(string: "he")), promise: nil)
                channel.write(WebSocketFrame(fin: true, opcode: .ping, data: ByteBuffer(string: "are you there")), promise: nil)
                channel.write(WebSocketFrame(fin: false, opcode: .continuation, data: ByteBuffer(string: "ll")), promise: nil)
                channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .continuation, data: ByteBuffer(string: "o")), promise: nil)
            },
            frame: { frame, channel in
                guard frame.opcode == .pong else { return }
                pongs.withLockedValue { $0.append(String(buffer: frame.unmaskedData)) }
                channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .connectionClose, data: ByteBuffer()), promise: nil)
            }
        ) { server, group in
            let socket = try await connect(server, group, authority)
            var messages: [WebSocketConnection.Message] = []
            for try await message in socket.inbound { messages.append(message) }
            #expect(messages == [.text("hello")])
        }
        #expect(pongs.withLockedValue { $0 } == ["are you there"])
    }

    @Test func aMessageBeyondTheLimitEndsIt() async throws {
        let authority = try TestAuthority()
        for fragments in [1, 3] {
            try await TestServer.withWebSocket(
                authority,
                open: { channel in
                    for index in 0..<fragments {
                        let part = ByteBuffer(repeating: 1, count: 1200 / fragments)
                        channel.writeAndFlush(
                            WebSocketFrame(fin: index == fragments - 1, opcode: index == 0 ? .binary : .continuation, data: part),
                            promise: nil)
                    }
                },
                frame: { _, _ in }
            ) { server, group in
                let socket = try await connect(server, group, authority, maxMessageBytes: 1000)
                let ended = try await kind { for try await _ in socket.inbound {} }
                #expect(ended == .tooLarge)
            }
        }
    }

    @Test func aTextThatIsNoTextEndsIt() async throws {
        let authority = try TestAuthority()
        try await TestServer.withWebSocket(
            authority,
            open: { $0.writeAndFlush(WebSocketFrame(fin: true, opcode: .text, data: ByteBuffer(bytes: [0xC3])), promise: nil) },
            frame: { _, _ in }
        ) { server, group in
            let socket = try await connect(server, group, authority)
            let ended = try await kind { for try await _ in socket.inbound {} }
            #expect(ended == .protocolViolation)
        }
    }

    @Test func aSilentServerIsNoticed() async throws {
        let authority = try TestAuthority()
        let pings = NIOLockedValueBox(0)
        try await TestServer.withWebSocket(authority, frame: { frame, _ in if frame.opcode == .ping { pings.withLockedValue { $0 += 1 } } })
        {
            server, group in
            let socket = try await connect(server, group, authority, keepAlive: .milliseconds(500))
            let refusal = try await kind { for try await _ in socket.inbound {} }
            #expect(refusal == .timedOut)
        }
        #expect(pings.withLockedValue { $0 } >= 1)
    }

    @Test func answeredPingsKeepItAlive() async throws {
        let authority = try TestAuthority()
        let pings = NIOLockedValueBox(0)
        try await TestServer.withWebSocket(
            authority,
            frame: { frame, channel in
                guard frame.opcode == .ping else { return }
                let isEnough = pings.withLockedValue { count in
                    count += 1
                    return count == 4
                }
                channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .pong, data: frame.unmaskedData), promise: nil)
                if isEnough {
                    channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .text, data: ByteBuffer(string: "enough")), promise: nil)
                }
            }
        ) { server, group in
            let socket = try await connect(server, group, authority, keepAlive: .milliseconds(400))
            var iterator = socket.inbound.makeAsyncIterator()
            #expect(try await iterator.next() == .text("enough"))
            await socket.close()
        }
    }

    @Test(arguments: [
        (WebSocketErrorCode.policyViolation, ClientError.Kind.denied), (.unknown(4000), .closed), (.protocolError, .closed),
    ])
    func theServersReasonIsKept(code: WebSocketErrorCode, expected: ClientError.Kind) async throws {
        let authority = try TestAuthority()
        try await TestServer.withWebSocket(
            authority,
            open: { channel in
                var data = ByteBuffer()
                data.write(webSocketErrorCode: code)
                data.writeString("because\n")
                channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .connectionClose, data: data), promise: nil)
            },
            frame: { _, _ in }
        ) { server, group in
            let socket = try await connect(server, group, authority)
            do {
                for try await _ in socket.inbound {}
                Issue.record("the end has to have a reason")
            } catch let error as ClientError {
                #expect(error.kind == expected)
                #expect(error.description.contains("because"))
                #expect(!error.description.contains("\n"))
            }
            let refusal = try await kind { try await socket.send(text: "late") }
            #expect(refusal == .closed)
        }
    }

    @Test(arguments: [(403, ClientError.Kind.denied), (401, .denied), (503, .refused(status: 503)), (200, .refused(status: 200))])
    func aRefusedUpgradeSaysItsStatus(status: Int, expected: ClientError.Kind) async throws {
        let authority = try TestAuthority()
        try await TestServer.withHTTP(authority, answer: { _, _ in .send(json("{}", status: "\(status) Nope")) }) { server, group in
            let refusal = try await kind { try await connect(server, group, authority) }
            #expect(refusal == expected)
        }
    }

    @Test func aWrongKeyIsRefused() async throws {
        let authority = try TestAuthority()
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n"
        try await TestServer.withHTTP(authority, answer: { _, _ in .send(answer) }) { server, group in
            let refusal = try await kind { try await connect(server, group, authority) }
            #expect(refusal != nil)
        }
    }

    @Test func aSlowOrTruncatedUpgradeEnds() async throws {
        let authority = try TestAuthority()
        try await TestServer.withHTTP(authority, answer: { _, _ in .silence }) { server, group in
            let refusal = try await kind { try await connect(server, group, authority, within: .milliseconds(300)) }
            #expect(refusal == .timedOut)
        }
        try await TestServer.withHTTP(authority, answer: { _, _ in .sendThenClose("HTTP/1.1 101 Swi") }) { server, group in
            let refusal = try await kind { try await connect(server, group, authority) }
            #expect(refusal == .closed)
        }
    }

    @Test func aDroppedConnectionIsAnError() async throws {
        let authority = try TestAuthority()
        try await TestServer.withWebSocket(authority, open: { $0.close(promise: nil) }, frame: { _, _ in }) { server, group in
            let socket = try await connect(server, group, authority)
            let refusal = try await kind { for try await _ in socket.inbound {} }
            #expect(refusal == .closed)
        }
    }
}

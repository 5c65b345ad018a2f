import Logging
import MusterWire
import NIOConcurrencyHelpers
import NIOCore
import NIOWebSocket
import Testing

@testable import MusterClient

/// The channel against the other end's stream behind a real WebSocket that is cut now and then.
@Suite(.serialized) struct DataChannelTests {
    /// The agent's end: sends back what comes in, and drops the connection after so many frames.
    private final class Echo: Sendable {
        struct State {
            var stream = ReliableStream(role: .agent, limits: .native)
            var frames = 0
            var connections = 0
            var pending: [ByteBuffer] = []
            /// What a connection that is being closed still delivers is nobody's.
            var current: ObjectIdentifier?
            var channel: (any Channel)?
        }

        private let state = NIOLockedValueBox(State())
        private let dropAfter: Int

        init(dropAfter: Int) { self.dropAfter = dropAfter }

        var connections: Int { state.withLockedValue { $0.connections } }

        func cut() {
            state.withLockedValue { $0.channel }?.close(promise: nil)
        }

        func opened(_ channel: any Channel) {
            let frames = state.withLockedValue { state in
                state.connections += 1
                state.frames = 0
                state.current = ObjectIdentifier(channel)
                state.channel = channel
                return state.stream.reconnected(now: .now())
            }
            send(frames, on: channel)
            // What was lost with the connection before is sent again, as every end of a session does.
            let timer = channel.eventLoop.scheduleRepeatedTask(initialDelay: .milliseconds(50), delay: .milliseconds(50)) { _ in
                self.send(self.state.withLockedValue { $0.stream.due(now: .now()) }, on: channel)
            }
            channel.closeFuture.whenComplete { _ in timer.cancel() }
        }

        func frame(_ frame: WebSocketFrame, _ channel: any Channel) {
            var bytes = frame.unmaskedData
            switch frame.opcode {
            case .ping:
                channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .pong, data: bytes), promise: nil)
            case .binary:
                guard let message = try? bytes.readAgentMessage() else { return }
                let (answers, drops): ([AgentMessage], Bool) = state.withLockedValue { state in
                    guard state.current == ObjectIdentifier(channel) else { return ([], true) }
                    var step = state.stream.received(message, now: .now(), date: .now())
                    state.pending += step.deliver.map(\.payload)
                    while state.stream.room > 0, !state.pending.isEmpty {
                        step.send += state.stream.send(.output, state.pending.removeFirst(), now: .now(), date: .now())
                    }
                    state.frames += 1
                    if state.frames > dropAfter { state.current = nil }
                    return (step.send, state.frames > dropAfter)
                }
                if drops { return channel.close(promise: nil) }
                send(answers, on: channel)
            default:
                break
            }
        }

        private func send(_ frames: [AgentMessage], on channel: any Channel) {
            for message in frames {
                var bytes = ByteBuffer()
                bytes.writeAgentMessage(message)
                channel.write(WebSocketFrame(fin: true, opcode: .binary, data: bytes), promise: nil)
            }
            channel.flush()
        }
    }

    private func channel(to server: TestServer, _ authority: TestAuthority, group: any EventLoopGroup) throws -> DataChannel {
        let tls = try authority.client()
        return DataChannel(
            role: .client, limits: .native,
            connect: { _ in
                try await DataChannel.open(
                    endpoint: server.endpoint, path: "/v1/data-channel/x?role=publish_subscribe", tls: tls, text: "{}", group: group,
                    deadline: .now() + .seconds(10))
            }, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    private func echo(_ total: Int, dropAfter: Int) async throws -> (connections: Int, isWhole: Bool) {
        let echo = Echo(dropAfter: dropAfter)
        let authority = try TestAuthority()
        return try await TestServer.withWebSocket(
            authority, open: { echo.opened($0) }, frame: { echo.frame($0, $1) }
        ) { server, group in
            let channel = try channel(to: server, authority, group: group)
            let isWhole = await withTaskGroup(of: Bool.self) { tasks in
                tasks.addTask {
                    _ = await channel.run()
                    return true
                }
                tasks.addTask {
                    var sent = 0
                    while sent < total {
                        let count = min(total - sent, 100_000)
                        let piece = ByteBuffer(bytes: (sent..<(sent + count)).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) })
                        guard (try? await channel.send(.output, piece)) != nil else { return false }
                        sent += count
                    }
                    return true
                }
                var received = 0
                var isRight = true
                for await incoming in channel.inbound {
                    guard case .data(_, let payload, _) = incoming else { continue }
                    for byte in payload.readableBytesView {
                        if byte != UInt8(truncatingIfNeeded: received &* 31 &+ received >> 8) { isRight = false }
                        received += 1
                    }
                    if received >= total { break }
                }
                let isDrained = await channel.drain(within: .seconds(10))
                await channel.close()
                for await result in tasks where !result { isRight = false }
                return isRight && isDrained && received == total
            }
            return (echo.connections, isWhole)
        }
    }

    @Test(.timeLimit(.minutes(2))) func bytesArriveOnceAndInOrder() async throws {
        let outcome = try await echo(1_500_000, dropAfter: .max)
        #expect(outcome.isWhole && outcome.connections == 1)
    }

    @Test(.timeLimit(.minutes(2))) func aConnectionThatIsCutAgainAndAgainCostsNothing() async throws {
        let outcome = try await echo(1_500_000, dropAfter: 25)
        #expect(outcome.isWhole && outcome.connections > 1)
    }

    /// Stops after each delivery: goes on within the delivery, a little later, or when the connection it has cut is lost.
    private final class Hesitant: DataChannelReceiver {
        struct State {
            var received = 0
            var deliveries = 0
            var isRight = true
            var waitsForCut = false
        }

        let state = NIOLockedValueBox(State())
        private let total: Int
        private let isDone: AsyncStream<Void>.Continuation
        private let channel: DataChannel
        private let echo: Echo

        init(_ channel: DataChannel, _ echo: Echo, total: Int, isDone: AsyncStream<Void>.Continuation) {
            self.channel = channel
            self.echo = echo
            self.total = total
            self.isDone = isDone
        }

        func deliver(_ incoming: DataChannel.Incoming) {
            if case .disconnected = incoming, state.withLockedValue({ $0.waitsForCut }) {
                state.withLockedValue { $0.waitsForCut = false }
                return channel.resumeDelivery()
            }
            guard case .data(_, let payload, _) = incoming else { return }
            channel.pauseDelivery()
            let turn = state.withLockedValue { state in
                for byte in payload.readableBytesView {
                    if byte != UInt8(truncatingIfNeeded: state.received &* 31 &+ state.received >> 8) { state.isRight = false }
                    state.received += 1
                }
                if state.received >= total { isDone.finish() }
                state.deliveries += 1
                state.waitsForCut = state.deliveries % 7 == 0
                return state.deliveries % 7
            }
            switch turn {
            case 0: echo.cut()
            case 1: Task { channel.resumeDelivery() }
            default: channel.resumeDelivery()
            }
        }

        func acknowledged() {}
    }

    @Test(.timeLimit(.minutes(2))) func aReaderThatStopsAndGoesOnGetsEverythingInOrder() async throws {
        let total = 1_500_000
        let echo = Echo(dropAfter: .max)
        let authority = try TestAuthority()
        try await TestServer.withWebSocket(authority, open: { echo.opened($0) }, frame: { echo.frame($0, $1) }) { server, group in
            let channel = try channel(to: server, authority, group: group)
            let (done, isDone) = AsyncStream<Void>.makeStream()
            let reader = Hesitant(channel, echo, total: total, isDone: isDone)
            channel.attach(reader)
            async let end = channel.run()
            for start in stride(from: 0, to: total, by: 100_000) {
                let bytes = (start..<(start + 100_000)).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
                try await channel.send(.output, ByteBuffer(bytes: bytes))
            }
            for await _ in done {}
            await channel.close()
            _ = await end
            let outcome = reader.state.withLockedValue { $0 }
            #expect(outcome.isRight && outcome.received == total && echo.connections > 1)
        }
    }

    /// Answers each delivery with the same bytes, or not at all; takes it in a turn of its own if it is told to.
    private final class Answering: DataChannelReceiver {
        private let channel: DataChannel
        private let answers: Bool
        private let isLater: Bool

        init(_ channel: DataChannel, answers: Bool, isLater: Bool) {
            (self.channel, self.answers, self.isLater) = (channel, answers, isLater)
        }

        func deliver(_ incoming: DataChannel.Incoming) {
            if case .connected = incoming, isLater { channel.pauseDelivery() }
            guard case .data(let type, var payload, _) = incoming, answers else { return }
            _ = channel.write(type, &payload)
        }

        func acknowledged() {
            if isLater { channel.resumeDelivery() }
        }
    }

    /// What the other end hears after a key, until it has heard this many frames.
    private func heardAfterKey(answers: Bool, isLater: Bool, frames count: Int) async throws -> [MessageType] {
        let authority = try TestAuthority()
        let (frames, more) = AsyncStream<MessageType>.makeStream()
        return try await TestServer.withWebSocket(
            authority,
            open: { channel in
                var stream = ReliableStream(role: .agent, limits: .native)
                for message in stream.send(.output, ByteBuffer(string: "x"), now: .now(), date: .now()) {
                    var bytes = ByteBuffer()
                    bytes.writeAgentMessage(message)
                    channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .binary, data: bytes), promise: nil)
                }
            },
            frame: { frame, _ in
                var bytes = frame.unmaskedData
                if frame.opcode == .binary, let message = try? bytes.readAgentMessage() { more.yield(message.messageType) }
            }
        ) { server, group in
            let channel = try channel(to: server, authority, group: group)
            let receiver = Answering(channel, answers: answers, isLater: isLater)
            channel.attach(receiver)
            async let end = channel.run()
            var types: [MessageType] = []
            for await type in frames {
                types.append(type)
                if types.count == count { break }
            }
            await channel.close()
            _ = await end
            return types
        }
    }

    @Test(.timeLimit(.minutes(1))) func theAcknowledgementOfAKeyLeavesBehindItsEcho() async throws {
        #expect(try await heardAfterKey(answers: true, isLater: false, frames: 2) == [.inputStreamData, .acknowledge])
    }

    @Test(.timeLimit(.minutes(1)), arguments: [false, true]) func aKeyWithoutAnEchoIsAcknowledgedByItself(isLater: Bool) async throws {
        #expect(try await heardAfterKey(answers: false, isLater: isLater, frames: 1) == [.acknowledge])
    }

    @Test(.timeLimit(.minutes(1))) func aSessionThatIsOverIsNotTriedAgain() async throws {
        let channel = DataChannel(
            role: .client, limits: .native, connect: { _ in throw DataChannelGone("over") }, logger: Logger(label: "test"))
        #expect(await channel.run() == .gone("over"))
        await #expect(throws: ClientError.self) { try await channel.send(.output, ByteBuffer(string: "x")) }
        for await _ in channel.inbound { #expect(Bool(false)) }
    }

    @Test(.timeLimit(.minutes(1))) func closingEndsItAtOnceEvenBetweenTries() async throws {
        let tries = NIOLockedValueBox(0)
        let channel = DataChannel(
            role: .client, limits: .native,
            connect: { _ in
                tries.withLockedValue { $0 += 1 }
                throw ClientError(.unreachable, "nobody")
            }, logger: Logger(label: "test"))
        async let end = channel.run()
        while tries.withLockedValue({ $0 }) < 2 { await Task.yield() }
        await channel.close()
        #expect(await end == .finished)
    }

    @Test func masking() {
        for count in 0..<40 {
            let key: UInt32 = 0x0102_0304
            var bytes = (0..<count).map { UInt8($0) }
            bytes.withUnsafeMutableBytes { WebSocketMask.apply(key, to: $0) }
            let expected = (0..<count).map { UInt8($0) ^ [1, 2, 3, 4][$0 % 4] }
            #expect(bytes == expected)
        }
    }
}

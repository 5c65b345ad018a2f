import MusterCrypto
import NIOCore
import Testing

@testable import MusterWire

@Suite struct MultiplexerTests {
    private let now = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func hex(_ text: String) -> ByteBuffer { ByteBuffer(bytes: Hex.decode(text)!) }

    private func text(_ text: String) -> ByteBuffer { ByteBuffer(string: text) }

    private func opened(_ multiplexer: inout Multiplexer) throws -> UInt32 {
        let id = multiplexer.open(now: now)
        return try #require(id)
    }

    private func write(_ multiplexer: inout Multiplexer, _ id: UInt32, _ text: String) {
        var bytes = ByteBuffer(string: text)
        multiplexer.write(id, &bytes)
        #expect(bytes.readableBytes == 0)
    }

    /// Observed from session-manager-plugin (protocol.md 3.3).
    @Test func goldenUnitsAreWritten() throws {
        var client = Multiplexer(role: .client)
        let id = try opened(&client)
        #expect(id == 3)
        #expect(client.take(upTo: 1024) == hex("0100000003000000"))
        write(&client, id, "hi")
        #expect(client.take(upTo: 1024) == hex("01020200030000006869"))
        client.close(id, now: now)
        #expect(client.take(upTo: 1024) == hex("0101000003000000"))
        #expect(client.take(upTo: 1024) == nil)
        #expect(client.openStreams == 0)
        #expect(client.open(now: now) == 5)
    }

    static let golden = "0100000003000000" + "01020200030000006869" + "0103000000000000" + "0102000003000000" + "0101000003000000"

    @Test func goldenUnitsAreRead() {
        var agent = Multiplexer(role: .agent)
        #expect(agent.received(hex(Self.golden), now: now) == [.opened(3), .data(3, text("hi")), .closed(3)])
        agent.close(3, now: now)
        #expect(agent.take(upTo: 1024) == hex("0101000003000000"))
        #expect(agent.openStreams == 0)
    }

    @Test func oneByteAtATimeIsTheSame() {
        var agent = Multiplexer(role: .agent)
        var events: [Multiplexer.Event] = []
        for byte in Hex.decode(Self.golden)! { events += agent.received(ByteBuffer(bytes: [byte]), now: now) }
        #expect(events == [.opened(3), .data(3, text("h")), .data(3, text("i")), .closed(3)])
    }

    @Test func cutAnywhereItGoesOn() {
        let all = Hex.decode(Self.golden)!
        for cut in 0...all.count {
            var agent = Multiplexer(role: .agent)
            let first = agent.received(ByteBuffer(bytes: all[..<cut]), now: now)
            let second = agent.received(ByteBuffer(bytes: all[cut...]), now: now)
            #expect(joined(first + second) == [.opened(3), .data(3, text("hi")), .closed(3)])
        }
    }

    private func joined(_ events: [Multiplexer.Event]) -> [Multiplexer.Event] {
        var result: [Multiplexer.Event] = []
        for event in events {
            if case .data(let id, var bytes) = event, case .data(let last, var before)? = result.last, id == last {
                before.writeBuffer(&bytes)
                result[result.count - 1] = .data(id, before)
            } else {
                result.append(event)
            }
        }
        return result
    }

    @Test func whatIsNotSmuxEndsTheSession() {
        for (unit, failure) in [
            ("0200000003000000", MultiplexerFailure.version(2)), ("0000000003000000", .version(0)), ("0104000003000000", .command(4)),
            ("01ff000003000000", .command(255)), ("0100010003000000", .length), ("0101ffff03000000", .length),
            ("0103010000000000", .length),
        ] {
            var agent = Multiplexer(role: .agent)
            #expect(agent.received(hex(unit), now: now) == [.failed(failure)])
            #expect(agent.received(hex("0100000003000000"), now: now).isEmpty)
        }
    }

    @Test func unknownStreamsAreIgnored() {
        var agent = Multiplexer(role: .agent)
        #expect(agent.received(hex("01020200090000006869" + "0101000009000000" + "0100000003000000"), now: now) == [.opened(3)])
        #expect(agent.received(hex("0100000003000000"), now: now).isEmpty)
        #expect(agent.unreadBytes == 0)
        // A client accepts nothing.
        var client = Multiplexer(role: .client)
        #expect(client.received(hex("0100000002000000"), now: now).isEmpty)
        #expect(client.take(upTo: 100) == hex("0101000002000000"))
    }

    @Test func streamsAreBoundedAndSoAreTheAnswers() {
        var limits = Multiplexer.Limits()
        limits.maximumStreams = 2
        var agent = Multiplexer(role: .agent, limits: limits)
        let opened = agent.received(hex("0100000003000000" + "0100000005000000" + "0100000007000000"), now: now)
        #expect(opened == [.opened(3), .opened(5)])
        #expect(agent.take(upTo: 100) == hex("0101000007000000"))
        var failure: MultiplexerFailure?
        for id in UInt32(10)..<20_000 {
            var unit = ByteBuffer()
            unit.writeInteger(1 | UInt64(id) << 32, endianness: .little)
            if case .failed(let reason)? = agent.received(unit, now: now).first { failure = reason }
        }
        #expect(failure == .tooManyRefused)

        var client = Multiplexer(role: .client, limits: limits)
        #expect(client.open(now: now) != nil && client.open(now: now) != nil)
        #expect(client.open(now: now) == nil)
    }

    @Test func aClosedStreamTakesNothingMore() throws {
        var agent = Multiplexer(role: .agent)
        _ = agent.received(hex("0100000003000000"), now: now)
        write(&agent, 3, "late")
        // The peer has closed both directions: what waited for it is not sent.
        #expect(agent.received(hex("0101000003000000"), now: now) == [.closed(3)])
        #expect(agent.room(3) == 0)
        #expect(agent.queuedBytes == 0)
        #expect(agent.take(upTo: 100) == nil)
        // Nothing comes after FIN, even if the peer sends it.
        #expect(agent.received(hex("01020200030000006869"), now: now).isEmpty)
        agent.close(3, now: now)
        #expect(agent.take(upTo: 100) == hex("0101000003000000"))

        var client = Multiplexer(role: .client)
        let id = try opened(&client)
        write(&client, id, "hi")
        client.close(id, now: now)
        var more = text("more")
        client.write(id, &more)
        #expect(more.readableBytes == 4)
        #expect(client.take(upTo: 100) == hex("0100000003000000" + "01020200030000006869" + "0101000003000000"))
    }

    @Test func aQueueIsBounded() throws {
        var client = Multiplexer(role: .client)
        let id = try opened(&client)
        var bytes = ByteBuffer(repeating: 1, count: 300 << 10)
        client.write(id, &bytes)
        #expect(bytes.readableBytes == 44 << 10)
        #expect(client.room(id) == 0)
        _ = client.take(upTo: 64 << 10)
        #expect(client.room(id) > 60 << 10)
    }

    @Test(arguments: [9, 10, 17, 24, 100, 1024, 65_536]) func onlyWholeUnitsGoOut(size: Int) throws {
        var client = Multiplexer(role: .client)
        var agent = Multiplexer(role: .agent)
        for _ in 0..<5 {
            let id = try opened(&client)
            write(&client, id, String(repeating: "\(id)", count: 1000))
            client.close(id, now: now)
        }
        var received: [UInt32: Int] = [:]
        var closed = 0
        while let bytes = client.take(upTo: size) {
            #expect(bytes.readableBytes <= size)
            for event in agent.received(bytes, now: now) {
                switch event {
                case .data(let id, let data): received[id, default: 0] += data.readableBytes
                case .closed: closed += 1
                case .opened: break
                case .stalled, .failed: Issue.record("\(event)")
                }
            }
        }
        #expect(closed == 5)
        #expect(received == [3: 1000, 5: 1000, 7: 1000, 9: 1000, 11: 2000])
        #expect(client.take(upTo: 8) == nil)
    }

    @Test func twoHundredStreamsAreServedInTurn() throws {
        var client = Multiplexer(role: .client)
        var agent = Multiplexer(role: .agent)
        let ids = try (0..<200).map { _ in try opened(&client) }
        for id in ids {
            var bytes = ByteBuffer(repeating: 1, count: 200 << 10)
            client.write(id, &bytes)
        }
        // One comes late, with little to say.
        var received: [UInt32: Int] = [:]
        var wire = 0
        func round(_ bytes: Int) {
            var left = bytes
            while left > 0, let piece = client.take(upTo: 64 << 10) {
                left -= piece.readableBytes
                wire += piece.readableBytes
                for case .data(let id, let data) in agent.received(piece, now: now) {
                    received[id, default: 0] += data.readableBytes
                    agent.consumed(id, data.readableBytes, now: now)
                }
            }
        }
        round(5 << 20)
        #expect(received.count == 200)
        #expect(received.values.max()! - received.values.min()! <= 32 << 10)
        let late = try opened(&client)
        write(&client, late, "ping")
        round(4 << 20)
        #expect(received[late] == 4)
    }

    @Test func aReaderThatStallsHoldsUpTheOthersForABoundedTime() {
        var limits = Multiplexer.Limits()
        limits.maximumUnread = 100_000
        var agent = Multiplexer(role: .agent, limits: limits)
        func feed(_ id: UInt32, _ count: Int, _ now: NIODeadline) {
            var unit = ByteBuffer()
            unit.writeInteger(1 | 2 << 8 | UInt64(count) << 16 | UInt64(id) << 32, endianness: .little)
            unit.writeRepeatingByte(1, count: count)
            _ = agent.received(unit, now: now)
        }
        _ = agent.received(hex("0100000003000000" + "0100000005000000"), now: now)
        feed(3, 60_000, now)
        feed(5, 1000, now)
        agent.consumed(5, 1000, now: now)
        #expect(agent.wantsInput)
        #expect(agent.nextDeadline == nil)
        // The slow one is not held against the others before the bound is reached.
        feed(3, 50_000, now)
        #expect(!agent.wantsInput)
        #expect(agent.nextDeadline == now + .seconds(10))
        #expect(agent.due(now: now + .seconds(9)).isEmpty)
        #expect(agent.due(now: now + .seconds(10)) == [.stalled(3)])
        #expect(agent.wantsInput)
        #expect(agent.unreadBytes == 0)
        #expect(agent.take(upTo: 100) == hex("0101000003000000"))
        feed(3, 100, now)
        #expect(agent.unreadBytes == 0)
    }

    @Test func aSlowReaderIsNotGivenUp() {
        var limits = Multiplexer.Limits()
        limits.maximumUnread = 1000
        var agent = Multiplexer(role: .agent, limits: limits)
        _ = agent.received(hex("0100000003000000" + "0100000005000000"), now: now)
        var unit = hex("0102d00703000000")
        unit.writeRepeatingByte(1, count: 2000)
        _ = agent.received(unit, now: now)
        agent.consumed(3, 10, now: now + .seconds(9))
        #expect(agent.due(now: now + .seconds(10)).isEmpty)
        #expect(agent.nextDeadline == now + .seconds(20))
        // Alone, it may take as long as it likes.
        agent.close(5, now: now)
        _ = agent.take(upTo: 100)
        #expect(agent.nextDeadline == nil)
    }

    @Test func consumingMoreThanCameIsNothing() {
        var agent = Multiplexer(role: .agent)
        _ = agent.received(hex("0100000003000000" + "01020200030000006869"), now: now)
        agent.consumed(3, 1_000_000, now: now)
        agent.consumed(3, -5, now: now)
        agent.consumed(99, 5, now: now)
        #expect(agent.unreadBytes == 0)
    }

    @Test(arguments: UInt64(1)...100) func nothingTrapsAndNothingGrows(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var limits = Multiplexer.Limits()
        limits.maximumStreams = 5
        limits.maximumUnread = 10_000
        limits.maximumQueued = 1000
        var multiplexer = Multiplexer(role: seed.isMultiple(of: 2) ? .client : .agent, limits: limits)
        var now = now
        for _ in 0..<500 {
            var unit = ByteBuffer()
            let command = UInt64.random(in: 0...(Int.random(in: 0..<50, using: &random) == 0 ? 255 : 3), using: &random)
            let length = command == 2 ? UInt64.random(in: 0...500, using: &random) : 0
            let id = UInt32.random(in: 0...12, using: &random)
            unit.writeInteger(1 | command << 8 | length << 16 | UInt64(id) << 32, endianness: .little)
            unit.writeRepeatingByte(1, count: Int(length))
            while let piece = unit.readSlice(length: min(unit.readableBytes, Int.random(in: 1...600, using: &random))),
                piece.readableBytes > 0
            {
                if multiplexer.wantsInput { _ = multiplexer.received(piece, now: now) }
            }
            var bytes = ByteBuffer(repeating: 1, count: Int.random(in: 0...2000, using: &random))
            multiplexer.write(id, &bytes)
            multiplexer.consumed(id, Int.random(in: 0...1000, using: &random), now: now)
            if Int.random(in: 0..<10, using: &random) == 0 { multiplexer.close(id, now: now) }
            if Int.random(in: 0..<3, using: &random) == 0 { _ = multiplexer.open(now: now) }
            if Bool.random(using: &random) { _ = multiplexer.take(upTo: Int.random(in: 0...2000, using: &random)) }
            now = now + .milliseconds(Int64.random(in: 0...1000, using: &random))
            _ = multiplexer.due(now: now)
            #expect(multiplexer.openStreams <= 5)
            #expect(multiplexer.unreadBytes <= 10_600 && multiplexer.unreadBytes >= 0)
            #expect(multiplexer.queuedBytes <= 5000 && multiplexer.queuedBytes >= 0)
        }
    }
}

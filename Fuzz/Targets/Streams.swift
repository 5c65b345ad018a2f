import NIOCore

@testable import MusterWire

extension FuzzTarget {
    /// The stream of a session under a peer that sends what it likes, the multiplexer in it, and the messages of a copy.
    static let streams = FuzzTarget(name: "streams") { bytes in
        var input = FuzzInput(bytes)
        switch input.byte() % 4 {
        case 0: try stream(.agent, &input)
        case 1: try stream(.client, &input)
        case 2: try multiplexer(&input)
        default: try copy(input.all())
        }
    }

    private static func stream(_ role: ReliableStream.Role, _ input: inout FuzzInput) throws {
        let limits = ReliableStream.Limits(
            maximumPayload: 64, maximumUnacknowledgedBytes: 1024, maximumUnacknowledgedMessages: 32, maximumReordered: 16,
            isForStockClient: input.byte() & 1 == 1)
        var stream = ReliableStream(role: role, limits: limits)
        var now = NIODeadline.uptimeNanoseconds(1_000_000_000)
        let date = Timestamp(milliseconds: 1_700_000_000_000)
        var delivered = 0
        while !input.isEmpty {
            now = now + .milliseconds(Int64(input.byte() & 0x1f))
            switch input.byte() % 8 {
            case 0:
                let room = stream.room
                _ = stream.send(.output, ByteBuffer(bytes: input.bytes(min(Int(input.byte()), room))), now: now, date: date)
            case 1: _ = stream.flushed(now: now)
            case 2:
                if let due = stream.nextDeadline { now = max(now, due) }
                _ = stream.due(now: now)
            case 3: stream.disconnected()
            case 4: _ = stream.reconnected(now: now)
            case 5:
                let type = [MessageType.pausePublication, .startPublication, .acknowledge, .channelClosed][Int(input.byte() % 4)]
                let step = stream.received(
                    AgentMessage(messageType: type, createdDate: date, payload: ByteBuffer(bytes: input.bytes(Int(input.byte())))),
                    now: now,
                    date: date)
                if step.failure != nil { return }
            default:
                // Far numbers are rare among random ones.
                let sequence = input.byte()
                let number = sequence < 0xf0 ? Int64(sequence) : Int64(bitPattern: UInt64(sequence) << 56 | UInt64(input.word()))
                let isAcknowledgement = input.byte() & 1 == 1
                var message = AgentMessage(
                    messageType: role.incoming, createdDate: date, sequenceNumber: number, flags: UInt64(input.byte() & 7),
                    payloadType: PayloadType(rawValue: UInt32(input.byte())),
                    payload: ByteBuffer(bytes: input.bytes(Int(input.byte() % 80))))
                if isAcknowledgement { message = .acknowledging(message, createdDate: date) }
                let step = stream.received(message, isReady: input.byte() & 3 != 0, now: now, date: date)
                delivered += step.deliver.count
                if step.failure != nil { return }
            }
            try Finding.unless(stream.reordered.messages <= limits.maximumReordered, "more frames wait than may: \(stream.reordered)")
            try Finding.unless(stream.reordered.bytes <= limits.maximumUnacknowledgedBytes, "more bytes wait than may: \(stream.reordered)")
            try Finding.unless(stream.unacknowledgedBytes >= 0, "less than nothing is on its way")
        }
    }

    private static func multiplexer(_ input: inout FuzzInput) throws {
        var limits = Multiplexer.Limits()
        limits.maximumStreams = 8
        limits.maximumQueued = 512
        limits.maximumUnread = 2048
        var multiplexer = Multiplexer(role: input.byte() & 1 == 0 ? .agent : .client, limits: limits)
        var now = NIODeadline.uptimeNanoseconds(1_000_000_000)
        while !input.isEmpty {
            now = now + .milliseconds(Int64(input.byte()))
            switch input.byte() % 8 {
            case 0: _ = multiplexer.open(now: now)
            case 1:
                var bytes = ByteBuffer(bytes: input.bytes(Int(input.byte())))
                multiplexer.write(UInt32(input.byte()), &bytes)
            case 2: multiplexer.close(UInt32(input.byte()), now: now)
            case 3: multiplexer.consumed(UInt32(input.byte()), input.word(), now: now)
            case 4: while let out = multiplexer.take(upTo: 64), out.readableBytes > 0 {}
            case 5: _ = multiplexer.due(now: now)
            default: _ = multiplexer.received(ByteBuffer(bytes: input.bytes(Int(input.byte()))), now: now)
            }
            try Finding.unless(multiplexer.openStreams <= limits.maximumStreams, "more streams than may be")
        }
    }

    private static func copy(_ bytes: [UInt8]) throws {
        var buffer = ByteBuffer(bytes: bytes)
        while let message = try? CopyMessage.read(from: &buffer) {
            var written = ByteBuffer()
            message.write(into: &written)
            try Finding.unless(try CopyMessage.read(from: &written) == message, "a message is another one after writing and reading")
            if case .entry(let entry) = message, let components = CopyPath.components(entry.path) {
                try Finding.unless(!components.contains(Array("..".utf8)) && !components.contains([]), "a path leads out of its folder")
            }
        }
    }
}

import MusterCrypto

@testable import MusterWire

extension FuzzTarget {
    /// Lines of recordings and of their chains, and any bytes of a terminal there and back.
    static let recordings = FuzzTarget(name: "recordings") { bytes in
        var input = FuzzInput(bytes)
        switch input.byte() % 3 {
        case 0:
            let line = input.all()
            guard let event = RecordingEvent(line: line) else { return }
            try Finding.unless(RecordingEvent(line: event.line) == event, "an event is another one after writing and reading")
        case 1:
            guard let session = SessionID("alice-0123456789abcdef0") else { return }
            var verifier = RecordingVerifier(session)
            while !input.isEmpty { verifier.take(input.part(until: 10) + [10], RecordingLink(input.part(until: 10))) }
            let verdict = verifier.end(nextLink: nil, seal: nil, authority: nil)
            try Finding.unless(!verdict.isProven, "lines that nobody signed are proven")
        default:
            try there(andBack: &input)
        }
    }

    private static func there(andBack input: inout FuzzInput) throws {
        var writer = RecordingText(.output), reader = RecordingBytes(.output)
        var sent: [UInt8] = [], read: [UInt8] = []
        func take(_ events: [RecordingEvent]) throws {
            for event in events {
                guard let line = RecordingEvent(line: event.line) else { throw Finding(description: "an event cannot be read") }
                read += reader.take(line)
            }
        }
        while !input.isEmpty {
            let piece = input.bytes(Int(input.byte()))
            sent += piece
            try take(writer.events(of: piece, time: 0))
        }
        try take(writer.end(time: 1))
        try Finding.unless(read + reader.rest == sent, "a recording has other bytes than were shown")
    }
}

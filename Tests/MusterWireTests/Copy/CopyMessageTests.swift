import MusterWire
import NIOCore
import Testing

@Suite struct CopyMessageTests {
    private static let digest = [UInt8](0..<32)
    private static let all: [CopyMessage] = [
        .request(
            CopyRequest(
                direction: .upload, isRecursive: true, wantsFolder: false, destination: Array("/srv/ü".utf8),
                sources: [Array("a b".utf8), [], [0xFF, 0xFE]])),
        .accepted,
        .entry(
            CopyEntry(
                kind: .link, source: 7, path: Array("d/e".utf8), mode: 0o4755, modifiedSeconds: -5, modifiedNanoseconds: 999_999_999,
                size: 1 << 40, target: Array("../x".utf8))),
        .have(offset: 1 << 33, digest: digest), .from(5), .data(ByteBuffer(bytes: [1, 2, 3])), .data(ByteBuffer()), .end(digest: digest),
        .result(problem: nil), .result(problem: "No."), .problem("Gone."), .finished, .failed("Why."),
    ]

    private static var bytes: ByteBuffer {
        var buffer = ByteBuffer()
        for message in all { message.write(into: &buffer) }
        return buffer
    }

    @Test func thereAndBack() throws {
        var buffer = Self.bytes
        for message in Self.all { #expect(try CopyMessage.read(from: &buffer) == message) }
        #expect(try CopyMessage.read(from: &buffer) == nil && buffer.readableBytes == 0)
    }

    @Test func golden() {
        var buffer = ByteBuffer()
        CopyMessage.from(258).write(into: &buffer)
        CopyMessage.result(problem: "No").write(into: &buffer)
        #expect(Array(buffer.readableBytesView) == [5, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2, 8, 0, 0, 0, 4, 0, 2, 78, 111])
    }

    @Test func dripped() throws {
        var buffer = ByteBuffer()
        var found: [CopyMessage] = []
        for byte in Self.bytes.readableBytesView {
            buffer.writeInteger(byte)
            while let message = try CopyMessage.read(from: &buffer) { found.append(message) }
        }
        #expect(found == Self.all)
    }

    /// Whatever is cut off or changed: never a trap, and never more than what is there.
    @Test func damaged() {
        let whole = Array(Self.bytes.readableBytesView)
        for index in whole.indices {
            for value: UInt8 in [0, 1, 0x7F, 0xFF] {
                var bytes = whole
                bytes[index] = value
                var buffer = ByteBuffer(bytes: bytes)
                while (try? CopyMessage.read(from: &buffer)) != nil, buffer.readableBytes > 0 {
                    let before = buffer.readableBytes
                    guard let next = try? CopyMessage.read(from: &buffer), next != nil, buffer.readableBytes < before else { break }
                }
            }
        }
        for message in Self.all {
            var one = ByteBuffer()
            message.write(into: &one)
            guard one.readableBytes > 5 else { continue }
            // A payload that is one byte short, by its own length.
            var short = ByteBuffer(bytes: Array(one.readableBytesView.dropLast()))
            short.setInteger(UInt32(one.readableBytes - 6), at: 1)
            if case .data = message { continue }
            #expect(throws: CopyFailure.self, "\(message)") { _ = try CopyMessage.read(from: &short) }
        }
        var large = ByteBuffer(bytes: [6, 0xFF, 0xFF, 0xFF, 0xFF])
        #expect(throws: CopyFailure.self) { _ = try CopyMessage.read(from: &large) }
    }

    @Test func paths() {
        func names(_ path: String) -> [String]? { CopyPath.components(Array(path.utf8))?.map { String(decoding: $0, as: UTF8.self) } }
        #expect(names("") == [] && names("a/b c") == ["a", "b c"] && names("...") == ["..."])
        for bad in ["/", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/.", "a\u{0}b", String(repeating: "x", count: 256)] {
            #expect(names(bad) == nil, "\(bad)")
        }
        #expect(CopyPath.name(of: Array("/srv/x/".utf8)) == Array("x".utf8))
        #expect(CopyPath.name(of: Array("/".utf8)) == nil && CopyPath.name(of: Array("a/..".utf8)) == nil)
    }
}

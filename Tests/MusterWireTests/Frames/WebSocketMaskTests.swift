import MusterWire
import NIOCore
import Testing

struct WebSocketMaskTests {
    /// RFC 6455 §5.7: "Hello" under 37 fa 21 3d.
    @Test func theExampleOfTheRFC() {
        let bytes = ByteBuffer(bytes: [0x7f, 0x9f, 0x4d, 0x51, 0x58])
        #expect(String(buffer: bytes.applyingWebSocketMask(0x37fa_213d)) == "Hello")
    }

    @Test(arguments: 0...200)
    func eachByteByItsPlace(length: Int) {
        let plain = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 37) }
        let key: [UInt8] = [0x01, 0x80, 0xfe, 0x55]
        let masked = plain.enumerated().map { $1 ^ key[$0 % 4] }
        var bytes = ByteBuffer(bytes: [9, 9, 9] + plain)
        bytes.moveReaderIndex(forwardBy: 3)
        #expect(Array(bytes.applyingWebSocketMask(0x0180_fe55).readableBytesView) == masked)
        #expect(Array(bytes.readableBytesView) == plain)
        bytes.withUnsafeMutableReadableBytes { WebSocketMask.apply(0x0180_fe55, to: $0) }
        bytes.moveReaderIndex(to: 0)
        #expect(Array(bytes.readableBytesView) == [9, 9, 9] + masked)
    }
}

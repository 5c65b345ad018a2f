/// Lines out of pieces that are read one after the other. [value] No line is longer than a frame can make it: what is, ends as if it had
/// been cut there.
package struct LineSource {
    /// The largest payload as base64, or with every byte as an escape of six.
    package static let maximumLine = 8 << 20

    private let read: (Int64) throws -> [UInt8]
    private var offset: Int64 = 0
    private var buffer: [UInt8] = []
    private var start = 0
    private var isAtEnd = false

    /// - Parameter read: some bytes from there on; none at the end.
    package init(_ read: @escaping (_ offset: Int64) throws -> [UInt8]) {
        self.read = read
    }

    /// With its line feed, which only a last line may lack.
    package mutating func next() throws -> [UInt8]? {
        var searched = start
        while true {
            if let end = buffer[searched...].firstIndex(of: 0x0a) {
                defer { start = end + 1 }
                return Array(buffer[start...end])
            }
            searched = buffer.count
            guard !isAtEnd, buffer.count - start <= Self.maximumLine else { break }
            let more = try read(offset)
            offset += Int64(more.count)
            if more.isEmpty { isAtEnd = true }
            if start > 0 {
                buffer.removeFirst(start)
                searched -= start
                start = 0
            }
            buffer += more
        }
        guard start < buffer.count else { return nil }
        defer { start = buffer.count }
        return Array(buffer[start...])
    }
}

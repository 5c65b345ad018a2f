import Glibc

/// What a reply shows of a step's two streams: bounded, valid text, made from the head of each stream alone.
///
/// Lengths are Unicode scalars. A text that was cut is exactly as long as its limit with the marker in it, and never cut
/// inside a character; bytes that are not UTF-8 show as U+FFFD. Titles, markers and the rule of who gives way are those
/// of amazon-ssm-agent (agent/framework/processor/executer/iohandler), which counts bytes instead.
package struct BoundedOutput: Sendable, Equatable {
    package static let outputLimit = 2500
    package static let streamLimit = 24_000

    package private(set) var standardOutput: String
    package private(set) var standardError: String
    package private(set) var output: String

    private static let errorTitle = Array("\n----------ERROR-------\n".unicodeScalars)
    private static let outputMarker = Array("\n---Output truncated---".unicodeScalars)
    private static let errorMarker = Array("\n---Error truncated----".unicodeScalars)
    private static let streamMarker = Array("--output truncated--".unicodeScalars)

    /// The first scalars of a stream, and whether there is more.
    package struct Head: Sendable, Equatable {
        package private(set) var scalars: [Unicode.Scalar]
        package private(set) var hasMore: Bool
        /// What is shown after a stream that was cut: the reason of a failure is not lost to a long output.
        fileprivate var ending: [Unicode.Scalar] = []

        /// Four bytes are the longest a scalar can take: this many always hold `streamLimit` whole ones.
        package static let bytesNeeded = 4 * BoundedOutput.streamLimit + 4

        /// `bytes` are the first of the stream, at least `bytesNeeded` of them if it has that many.
        package init(bytes: [UInt8], hasMore: Bool) {
            let decoded = String(decoding: bytes, as: UTF8.self).unicodeScalars
            scalars = Array(decoded.prefix(BoundedOutput.streamLimit + 1))
            self.hasMore = hasMore || scalars.count > BoundedOutput.streamLimit
            scalars.removeLast(max(0, scalars.count - BoundedOutput.streamLimit))
        }

        package init(_ text: String = "") { self.init(bytes: Array(text.utf8), hasMore: false) }

        package mutating func append(_ text: String) {
            if !hasMore, scalars.count + text.unicodeScalars.count < BoundedOutput.streamLimit {
                return scalars.append(contentsOf: text.unicodeScalars)
            }
            hasMore = true
            ending = Array((ending + Array(text.unicodeScalars)).prefix(4000))
        }
    }

    package init(standardOutput: Head, standardError: Head) {
        self.standardOutput = Self.stream(standardOutput)
        self.standardError = Self.stream(standardError)
        output = Self.combine(standardOutput.scalars, standardError.scalars)
    }

    /// A step that has nothing but a text of ours to show.
    package init(notice: String, isError: Bool) {
        // Also where readers of one stream look: GetCommandInvocation shows the streams, and not `output`.
        self.init(standardOutput: Head(isError ? "" : notice), standardError: Head(isError ? notice : ""))
        output = Self.combine(Array(notice.unicodeScalars), [])
    }

    /// The head of a stream's file; an absent file is an empty stream.
    package static func head(of name: String, in folder: Folder) throws(FileError) -> Head {
        guard try folder.contains(name) else { return Head() }
        let file = try folder.openForReading(name)
        let bytes = try file.read(atMost: Head.bytesNeeded + 1, path: folder.path(of: name))
        return Head(bytes: Array(bytes.prefix(Head.bytesNeeded)), hasMore: bytes.count > Head.bytesNeeded)
    }

    /// At most `limit` scalars, the marker among them when something was cut.
    package static func cut(_ text: String, to limit: Int) -> String {
        let scalars = Array(text.unicodeScalars.prefix(limit + 1))
        guard scalars.count > limit else { return text }
        return Self.text(scalars.prefix(max(0, limit - streamMarker.count)) + streamMarker.prefix(limit))
    }

    private static func stream(_ head: Head) -> String {
        guard head.hasMore || head.scalars.count >= streamLimit else { return text(head.scalars) }
        return text(head.scalars.prefix(streamLimit - streamMarker.count - head.ending.count) + streamMarker + head.ending)
    }

    private static func combine(_ out: [Unicode.Scalar], _ err: [Unicode.Scalar]) -> String {
        let title = err.isEmpty ? [] : errorTitle
        let room = outputLimit - title.count
        // Strictly less: a text that fills the room exactly is cut as well.
        if out.count + err.count < room { return text(out + title + err) }
        if out.count > room / 2 && err.count > room / 2 {
            let each = (room - outputMarker.count - errorMarker.count) / 2
            return text([out.prefix(each), outputMarker[...], title[...], err.prefix(each), errorMarker[...]].joined())
        }
        if out.count <= room / 2 {
            return text([out[...], title[...], err.prefix(room - errorMarker.count - out.count), errorMarker[...]].joined())
        }
        return text([out.prefix(room - outputMarker.count - err.count), outputMarker[...], title[...], err[...]].joined())
    }

    private static func text(_ scalars: some Sequence<Unicode.Scalar>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }
}

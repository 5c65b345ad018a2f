import MusterWire
import Testing

@Suite struct SessionNoticeTests {
    @Test func golden() throws {
        let notice = SessionNotice(sessionID: try #require(SessionID("alice-07a16060613c408b5")), text: "ends soon")
        let json = #"{"SessionId":"alice-07a16060613c408b5","Text":"ends soon"}"#
        #expect(try JSONCoding.decode(SessionNotice.self, from: Array(json.utf8)) == notice)
        #expect(try JSONCoding.decode(SessionNotice.self, from: JSONCoding.encode(notice)) == notice)
    }

    @Test func nothingReachesTheTerminalButText() throws {
        let notice = SessionNotice(sessionID: try #require(SessionID("alice-07a16060613c408b5")), text: "a\u{1B}[31m\nb\u{9B}c\u{7F}é")
        #expect(notice.line == "a[31mbcé")
        #expect(SessionNotice(sessionID: notice.sessionID, text: String(repeating: "x", count: 9_000)).line.count == 500)
    }
}

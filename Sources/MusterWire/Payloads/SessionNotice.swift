/// Payload of `session_notice`, from the controller to the agent: words for whoever sits at the session. Ours; an agent that does not know
/// it shows nothing.
package struct SessionNotice: Codable, Sendable, Equatable {
    private static let longest = 500

    package var sessionID: SessionID
    package var text: String

    package init(sessionID: SessionID, text: String) {
        self.sessionID = sessionID
        self.text = text
    }

    /// Safe to write to a terminal.
    package var line: String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.prefix(Self.longest).filter { $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) }))
    }

    enum CodingKeys: String, CodingKey {
        case sessionID = "SessionId"
        case text = "Text"
    }
}

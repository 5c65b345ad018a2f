package import MusterWire

/// The session that somebody named.
package struct SessionName: Sendable {
    package let id: SessionID

    package init(_ text: String) throws {
        guard let id = SessionID(text) else { throw CommandLineError("\(Table.printable(text)) is no session's id.") }
        self.id = id
    }
}

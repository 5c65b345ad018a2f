/// What serves one connection. It is told one thing after the other, and the end last.
package protocol MessageReceiver: Sendable {
    func began() async
    /// False when nothing more is to be read.
    func received(_ message: WebSocketPeer.Message) async -> Bool
    /// Once, after everything else.
    func ended() async
}

extension MessageReceiver {
    /// Serves a connection that has a task of its own, until it ends.
    package func run(_ messages: some AsyncSequence<WebSocketPeer.Message, Never>) async {
        await began()
        for await message in messages {
            guard await received(message) else { break }
        }
        await ended()
    }
}

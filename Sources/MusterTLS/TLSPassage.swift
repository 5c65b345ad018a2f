import NIOCore

/// A TLS connection between two event loops: the handler that carried it has let go of it, and the next one takes it once.
///
/// Sendable: nobody uses what is in it while it is on its way, and each loop gives it away, or gets it, whole.
package final class TLSPassage: @unchecked Sendable {
    let connection: TLSConnection
    /// Decrypted, and read by nobody yet.
    let early: ByteBuffer

    init(_ connection: TLSConnection, early: ByteBuffer) {
        self.connection = connection
        self.early = early
    }
}

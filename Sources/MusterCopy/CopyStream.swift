package import NIOCore

/// Bytes in order to and from the other end of a copy, for a thread that may wait: pipes at the node, a session at the operator's.
package protocol CopyStream: AnyObject {
    /// Waits until there is something. Nil: the other end sends no more.
    func read() throws -> ByteBuffer?
    /// Without waiting: whether `read` would return at once.
    var hasInput: Bool { get }
    /// Waits while there is no room.
    func write(_ bytes: ByteBuffer) throws
}

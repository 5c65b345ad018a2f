internal import MusterWire
internal import NIOCore

/// On which event loop the legs of a session live: both on the same, so that a frame wakes one thread of the controller and not two.
struct SessionLoops: Sendable {
    private let loops: [any EventLoop]

    init(_ group: any EventLoopGroup) { loops = Array(group.makeIterator()) }

    func home(of session: SessionID) -> any EventLoop {
        loops[Int(UInt(bitPattern: session.hashValue) % UInt(loops.count))]
    }
}

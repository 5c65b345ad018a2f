import MusterWire
import NIOCore

/// What a session does at the node, once it has begun: a program on a terminal, a program on pipes, or connections. All calls, in both
/// directions, are on the event loop.
protocol SessionWorker: AnyObject {
    func start()
    /// - Parameter isLast: the client sends no more.
    func input(_ payload: ByteBuffer, isLast: Bool)
    func resize(_ size: TerminalSize)
    func flag(_ flag: StreamFlag)
    /// There is room for output again.
    func mayRead()
    /// Ends everything. `ended` follows all the same.
    func end()
}

/// The session, as its worker sees it.
protocol SessionWorkerOwner: AnyObject {
    /// False: stop reading, until `mayRead`.
    var takesOutput: Bool { get }
    /// Bytes that go out at once.
    var outputRoom: Int { get }
    func output(_ type: PayloadType, _ payload: ByteBuffer)
    /// Why what comes next failed, in words for the user.
    func explain(_ words: String)
    /// The worker cannot take input for now: back-pressure.
    func inputFull()
    func inputDrained()
    func transferred(_ transfer: SessionTransfer)
    /// The last call.
    func ended(_ result: SessionResult)
}

import CLinux
import Glibc
import MusterWire
import NIOCore
import NIOPosix

/// A program of a session, through its launcher: on a terminal (shells, interactive commands) or on pipes.
///
/// Over when the launcher has told how it ended and everything it wrote has been read; the launcher has ended the whole tree by then.
final class SessionProcess: SessionWorker {
    enum Shape: Sendable {
        /// - Parameter profile: lines that are typed into the shell at its start.
        case terminal(profile: String)
        case pipes(
            separate: Bool, standardOutputPrefix: [UInt8], standardErrorPrefix: [UInt8], takesInput: Bool,
            reportsTransfers: Bool = false)
    }

    /// Where the session's input goes. What comes before the descriptor is a channel waits for it.
    private enum Input {
        case opening([(ByteBuffer, isLast: Bool)])
        case open(any Channel)
        /// The program takes no more.
        case closed
    }

    private let order: LaunchOrder
    private let shape: Shape
    private let launchers: LauncherServer
    private let loop: any EventLoop
    private weak var owner: (any SessionWorkerOwner)?

    private var control: (any Channel)?
    private var terminal: FileDescriptor?
    private var input = Input.opening([])
    private var outputs: [any Channel] = []
    /// Pumps that have not come to their end.
    private var reading = 0
    private var line = ""
    private var reports = ByteBuffer()
    private var outcome: SessionResult?
    private var isControlClosed = false
    private var isOver = false
    private var size: TerminalSize?
    private var prefixes: [(PayloadType, LinePrefix)] = []
    private var deadline: Scheduled<Void>?

    /// How long the rest of the output is waited for when the program and its tree have ended. Only somebody outside of the tree can
    /// still hold it then.
    private static let closingTime = TimeAmount.seconds(5)

    init(order: LaunchOrder, shape: Shape, launchers: LauncherServer, loop: any EventLoop, owner: any SessionWorkerOwner) {
        self.order = order
        self.shape = shape
        self.launchers = launchers
        self.loop = loop
        self.owner = owner
    }

    func start() {
        do {
            try launch()
        } catch {
            finish(.failed("Cannot start the session: \(error)"))
        }
    }

    private func launch() throws {
        guard let bytes = order.bytes else { throw FileError("write", "an order with these arguments", EINVAL) }
        var pair: [Int32] = [-1, -1]
        guard muster_socket_pair(&pair, 0) == 0 else { throw FileError("make a socket for", "the session", errno) }
        let ours = FileDescriptor(pair[0])
        let theirs = FileDescriptor(pair[1])
        switch shape {
        case .terminal(let profile):
            var (master, slave): (Int32, Int32) = (-1, -1)
            guard muster_open_terminal(&master, &slave) == 0 else { throw FileError("open", "a terminal", errno) }
            let (masterEnd, slaveEnd) = (FileDescriptor(master), FileDescriptor(slave))
            terminal = masterEnd
            apply(size ?? TerminalSize(columns: 80, rows: 24))
            try launchers.launch([theirs.number, slaveEnd.number])
            let reader = try duplicate(masterEnd)
            reading += 1
            open(reader, .both, type: .output) { channel in
                self.outputs.append(channel)
                if !profile.isEmpty { channel.writeAndFlush(channel.allocator.buffer(string: profile + "\n"), promise: nil) }
                self.inputOpened(channel)
            }
        case .pipes(let separate, let standardOutputPrefix, let standardErrorPrefix, let takesInput, _):
            let stdin = try takesInput ? pipe() : (FileDescriptor(muster_open("/dev/null", O_RDONLY, 0)), nil)
            let stdout = try pipe()
            let stderr = try separate ? pipe() : (stdout.0, stdout.1)
            guard let out = stdout.1, let error = stderr.1 else { return }
            try launchers.launch([theirs.number, stdin.0.number, out.number, error.number])
            prefixes = [
                (.output, LinePrefix(standardOutputPrefix)), (.standardError, LinePrefix(standardErrorPrefix)),
            ]
            if let writer = stdin.1 {
                open(try duplicate(writer), .writing, type: .output) { self.inputOpened($0) }
            }
            reading += 1
            open(try duplicate(stdout.0), .reading, type: .output) { self.outputs.append($0) }
            if separate {
                reading += 1
                open(try duplicate(stderr.0), .reading, type: .standardError) { self.outputs.append($0) }
            }
        }
        follow(try duplicate(ours), order: bytes)
    }

    private func pipe() throws(FileError) -> (FileDescriptor, FileDescriptor?) {
        var ends: [Int32] = [-1, -1]
        guard muster_pipe(&ends) == 0 else { throw FileError("make a pipe for", "the session", errno) }
        return (FileDescriptor(ends[0]), FileDescriptor(ends[1]))
    }

    /// For a channel, which closes its own.
    private func duplicate(_ descriptor: FileDescriptor) throws(FileError) -> Int32 {
        let copy = muster_duplicate(descriptor.number)
        guard copy >= 0 else { throw FileError("keep", "a descriptor of the session", errno) }
        return copy
    }

    // MARK: Channels

    private enum Direction { case reading, writing, both }

    private func open(_ descriptor: Int32, _ direction: Direction, type: PayloadType, opened: @escaping (any Channel) -> Void) {
        let bound = NIOLoopBound((self, opened), eventLoop: loop)
        let bootstrap = NIOPipeBootstrap(group: loop)
            .channelOption(.autoRead, value: false)
            .channelOption(.maxMessagesPerRead, value: 16)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let (process, _) = bound.value
                    try channel.pipeline.syncOperations.addHandler(process.pump(type, reads: direction != .writing))
                }
            }
        let future: EventLoopFuture<any Channel>
        switch direction {
        case .reading: future = bootstrap.takingOwnershipOfDescriptor(input: descriptor)
        case .writing: future = bootstrap.takingOwnershipOfDescriptor(output: descriptor)
        case .both: future = bootstrap.takingOwnershipOfDescriptor(inputOutput: descriptor)
        }
        future.whenComplete { result in
            let (process, opened) = bound.value
            switch result {
            case .success(let channel):
                if process.isOver { return channel.close(promise: nil) }
                opened(channel)
            case .failure(let error):
                close(descriptor)
                process.finish(.failed("Cannot use the terminal of the session: \(error)."))
            }
        }
    }

    private func pump(_ type: PayloadType, reads: Bool) -> SessionPump {
        SessionPump(
            mayRead: { [weak self] in reads && self?.owner?.takesOutput == true },
            received: { [weak self] in self?.read(type, $0) },
            writable: { [weak self] isWritable in
                if isWritable { self?.owner?.inputDrained() } else { self?.owner?.inputFull() }
            },
            closed: { [weak self] in
                guard let self else { return }
                if !reads { return self.inputClosed() }
                self.reading -= 1
                self.settle()
            })
    }

    private func read(_ type: PayloadType, _ bytes: ByteBuffer) {
        if type == .standardError, case .pipes(_, _, _, _, true) = shape { return transfersReported(bytes) }
        guard let index = prefixes.firstIndex(where: { $0.0 == type }) else {
            owner?.output(type, bytes)
            return
        }
        owner?.output(type, prefixes[index].1.push(bytes))
    }

    /// Of a copy, standard error is for us: one transfer a line.
    private func transfersReported(_ bytes: ByteBuffer) {
        reports.writeImmutableBuffer(bytes)
        while let end = reports.readableBytesView.firstIndex(of: 0x0A) {
            let line = reports.readBytes(length: end - reports.readerIndex) ?? []
            reports.moveReaderIndex(forwardBy: 1)
            if let transfer = try? JSONCoding.decode(SessionTransfer.self, from: line) { owner?.transferred(transfer) }
        }
        // No transfer is that long.
        if reports.readableBytes > 64 << 10 { reports.clear() }
        reports.discardReadBytes()
    }

    private func follow(_ descriptor: Int32, order: [UInt8]) {
        let bound = NIOLoopBound(self, eventLoop: loop)
        ClientBootstrap(group: loop).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(
                    SessionPump(
                        mayRead: { true }, received: { bound.value.reported($0) }, writable: { _ in },
                        closed: { bound.value.controlClosed() }))
            }
        }.withConnectedSocket(descriptor).whenComplete { result in
            switch result {
            case .success(let channel):
                if bound.value.isOver { return channel.close(promise: nil) }
                bound.value.control = channel
                var bytes = channel.allocator.buffer(capacity: order.count + 4)
                bytes.writeInteger(UInt32(order.count))
                bytes.writeBytes(order)
                channel.writeAndFlush(bytes, promise: nil)
            case .failure(let error):
                close(descriptor)
                bound.value.finish(.failed("Cannot follow the session: \(error)."))
            }
        }
    }

    // MARK: The launcher

    private func reported(_ bytes: ByteBuffer) {
        line += String(buffer: bytes)
        while let end = line.firstIndex(of: "\n") {
            let words = line[..<end].split(separator: " ", maxSplits: 1)
            line = String(line[line.index(after: end)...])
            guard let first = words.first else { continue }
            let rest = words.count > 1 ? String(words[1]) : ""
            switch first {
            case "exit":
                let numbers = rest.split(separator: " ").compactMap { Int($0) }
                outcome = SessionResult(exitCode: numbers.first)
                if numbers.count > 1 { outcome?.output = "\(numbers[1]) processes of the session could not be ended." }
            case "unexecutable":
                // As a shell says it: 127 for what is not there, 126 for what cannot be executed.
                let parts = rest.split(separator: " ", maxSplits: 1)
                let words = parts.count > 1 ? String(parts[1]) : ""
                outcome = SessionResult(isSuccess: false, exitCode: parts.first.flatMap { Int($0) }, output: words)
                refused(words)
            case "failed":
                outcome = .failed(rest)
            default:
                break
            }
        }
        // A launcher says little.
        if line.utf8.count > 4096 { line = "" }
    }

    /// On standard error, where our client looks for it; others are told with the end of the session.
    private func refused(_ words: String) {
        guard case .pipes(true, _, _, true, _) = shape else { return }
        owner?.output(.standardError, ByteBuffer(string: words + "\n"))
    }

    private func controlClosed() {
        isControlClosed = true
        settle()
    }

    private func settle() {
        guard isControlClosed, !isOver else { return }
        guard reading > 0 else { return finish(outcome ?? .failed("The launcher of the session was killed.")) }
        guard deadline == nil else { return }
        let bound = NIOLoopBound(self, eventLoop: loop)
        deadline = loop.scheduleTask(in: Self.closingTime) {
            bound.value.finish(bound.value.outcome ?? .failed("The launcher of the session was killed."))
        }
    }

    private func finish(_ result: SessionResult) {
        guard !isOver else { return }
        isOver = true
        deadline?.cancel()
        for channel in outputs { channel.close(promise: nil) }
        if case .open(let channel) = input { channel.close(promise: nil) }
        control?.close(promise: nil)
        terminal = nil
        let owner = self.owner
        self.owner = nil
        owner?.ended(result)
    }

    // MARK: SessionWorker

    func input(_ payload: ByteBuffer, isLast: Bool) {
        guard !isOver else { return }
        if case .pipes(_, _, _, takesInput: false, _) = shape { return signals(in: payload) }
        switch input {
        case .opening(let early): input = .opening(early + [(payload, isLast)])
        case .open(let channel): write(payload, isLast: isLast, to: channel)
        case .closed: break
        }
    }

    private func write(_ payload: ByteBuffer, isLast: Bool, to channel: any Channel) {
        if payload.readableBytes > 0 { channel.writeAndFlush(payload, promise: nil) }
        // After what was written before it. A terminal has no end of input but Ctrl-D.
        guard isLast, case .pipes = shape else { return }
        channel.writeAndFlush(ByteBuffer()).whenComplete { _ in channel.close(promise: nil) }
    }

    private func inputOpened(_ channel: any Channel) {
        guard case .opening(let early) = input else { return }
        input = .open(channel)
        for (payload, isLast) in early { write(payload, isLast: isLast, to: channel) }
    }

    /// What still comes is dropped, and does not hold up what is not input: the end of the session, the size of its terminal.
    private func inputClosed() {
        input = .closed
        owner?.inputDrained()
    }

    /// A command without standard input still hears Ctrl-C and Ctrl-\ (as with the stock agent).
    private func signals(in payload: ByteBuffer) {
        for byte in payload.readableBytesView {
            switch byte {
            case 0x03: tell(UInt8(SIGINT))
            case 0x1C: tell(UInt8(SIGQUIT))
            default: break
            }
        }
    }

    private func tell(_ order: UInt8) {
        control?.writeAndFlush(ByteBuffer(integer: order), promise: nil)
    }

    func resize(_ size: TerminalSize) {
        self.size = size
        apply(size)
    }

    private func apply(_ size: TerminalSize) {
        guard let terminal else { return }
        _ = muster_set_terminal_size(terminal.number, Int32(clamping: min(size.columns, 0xFFFF)), Int32(clamping: min(size.rows, 0xFFFF)))
    }

    func flag(_ flag: StreamFlag) {
        if flag == .terminateSession { end() }
        if let signal = flag.signal, [SIGINT, SIGQUIT, SIGTERM, SIGHUP].contains(Int32(signal)) { tell(signal) }
    }

    func mayRead() {
        for channel in outputs { channel.read() }
    }

    func end() {
        guard !isOver else { return }
        if control == nil {
            // Not started yet, or just being started: the end of the control socket ends it.
            finish(SessionResult())
        } else {
            tell(SessionSignal.end)
        }
    }
}

/// Puts a text before the output, and again behind each piece that ended with a line (stdOutSeparatorPrefix of the stock agent). Pure.
struct LinePrefix: Sendable, Equatable {
    private let text: [UInt8]
    private var isDue = true

    init(_ text: [UInt8]) { self.text = text }

    mutating func push(_ bytes: ByteBuffer) -> ByteBuffer {
        guard !text.isEmpty, bytes.readableBytes > 0 else { return bytes }
        var whole = ByteBuffer()
        if isDue { whole.writeBytes(text) }
        whole.writeImmutableBuffer(bytes)
        isDue = bytes.readableBytesView.last == 0x0A
        return whole
    }
}

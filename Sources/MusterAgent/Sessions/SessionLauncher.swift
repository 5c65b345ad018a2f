import CLinux
import Glibc

/// The processes that own what runs in sessions. One process waits for orders and forks for each: without threads, Foundation or an
/// event loop, so that a session costs the few pages in which its launcher differs from the others.
///
///     session host ─spawn─▶ session-launch ─fork─▶ launcher (own session, subreaper) ─fork─▶ bash (own session, terminal)
///          ▲                                         │ PAM session, login uid                        │
///          ├──────────── control socket ─────────────┘                                               │
///          └──────────── terminal or pipes ──────────────────────────────────────────────────────────┘
///
/// The end of the control socket is the end of the session: a launcher without a host ends its whole tree.
package enum SessionLauncher {
    /// Where the socket that brings orders is.
    package static let descriptor: Int32 = 3

    package static func main() -> Int32 {
        signal(SIGPIPE, SIG_IGN)
        // Launchers are nobody's concern here; each tells its host how it ended.
        signal(SIGCHLD, SIG_IGN)
        umask(0o022)
        _ = muster_forbid_dumps()
        var descriptors: [Int32] = [-1, -1, -1, -1]
        while true {
            let count = Int(muster_receive_descriptors(descriptor, &descriptors))
            if count == 0 { return 0 }
            guard count > 0 else {
                if errno == EBADMSG || errno == EAGAIN { continue }
                return 1
            }
            let process = muster_fork()
            if process == 0 {
                close(descriptor)
                var launch = Launch(control: descriptors[0], descriptors: Array(descriptors[1..<count]))
                muster_exit_now(launch.run())
            }
            if process < 0 {
                Launch.report("failed Cannot start a process for the session: \(String(cString: strerror(errno))).", to: descriptors[0])
            }
            for number in descriptors[..<count] { close(number) }
        }
    }
}

/// One session, in the launcher's process.
private struct Launch {
    private let control: Int32
    private let descriptors: [Int32]
    private var child: pid_t = 0
    private var status: Int32?

    init(control: Int32, descriptors: [Int32]) {
        self.control = control
        self.descriptors = descriptors
    }

    /// A line that the host understands: `started`, `exit N`, `unexecutable N WORDS`, `failed WORDS`.
    static func report(_ line: String, to control: Int32) {
        let bytes = Array((line.filter { $0 != "\n" } + "\n").utf8)
        var offset = 0
        while offset < bytes.count {
            let written = bytes.withUnsafeBytes { send(control, $0.baseAddress! + offset, $0.count - offset, Int32(MSG_NOSIGNAL)) }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { return }
            offset += written
        }
    }

    mutating func run() -> Int32 {
        signal(SIGCHLD, SIG_DFL)
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCHLD] { sigaddset(&signals, number) }
        sigprocmask(SIG_BLOCK, &signals, nil)
        setsid()
        let signalDescriptor = muster_signalfd(&signals)
        guard muster_become_subreaper() == 0, signalDescriptor >= 0 else { return fail("Cannot prepare the session", errno) }
        guard let order = readOrder() else { return 1 }

        if order.switchesUser { Self.setLoginUser(order.userID) }
        var pam: PAMSession?
        // Groups first: a PAM module may add to them (login(1) does the same).
        if order.switchesUser, muster_init_groups(order.user, order.groupID) != 0 {
            return fail("Cannot take on the groups of \(order.user)", errno)
        }
        var environment = order.environment
        if order.switchesUser, !order.pamService.isEmpty {
            do {
                let terminal = order.kind == .terminal ? descriptors.first.flatMap { ttyname($0) }.map { String(cString: $0) } : nil
                let opened = try PAMSession(
                    service: order.pamService, user: order.user, terminal: terminal, opens: order.kind != .connect)
                pam = opened
                environment = order.environment(replacedBy: opened.environment)
            } catch {
                Self.report("failed \(error)", to: control)
                return 1
            }
        }
        defer { pam?.close() }
        switch order.kind {
        case .connect: return connect(order)
        case .terminal, .pipes: break
        }
        guard descriptors.count == (order.kind == .terminal ? 1 : 3) else { return fail("Cannot start the session", EINVAL) }
        if order.kind == .terminal, order.switchesUser {
            // As login(1) does: nobody else reads it, write(1) may write to it.
            let group = getgrnam("tty").map { $0.pointee.gr_gid }
            _ = fchown(descriptors[0], order.userID, group ?? order.groupID)
            _ = fchmod(descriptors[0], group == nil ? 0o600 : 0o620)
        }
        if let failure = spawn(order, environment) {
            Self.report(failure, to: control)
            return 1
        }
        for number in descriptors { close(number) }
        Self.report("started", to: control)
        let isReported = follow(signalDescriptor)
        let left = endTree()
        if isReported {
            Self.report(left > 0 ? "exit \(status ?? 1) \(left)" : "exit \(status ?? 1)", to: control)
        }
        return 0
    }

    private func fail(_ what: String, _ code: Int32) -> Int32 {
        Self.report("failed \(what): \(String(cString: strerror(code))).", to: control)
        return 1
    }

    /// Four bytes of length, then the order. The host sends it right behind the descriptors.
    private func readOrder() -> LaunchOrder? {
        _ = muster_set_receive_timeout(control, 10)
        func take(_ count: Int) -> [UInt8]? {
            var bytes = [UInt8](repeating: 0, count: count)
            var filled = 0
            while filled < count {
                let got = bytes.withUnsafeMutableBytes { read(control, $0.baseAddress! + filled, count - filled) }
                if got < 0 && errno == EINTR { continue }
                guard got > 0 else { return nil }
                filled += got
            }
            return bytes
        }
        guard let head = take(4) else { return nil }
        let length = head.reduce(0) { $0 << 8 | Int($1) }
        guard length <= LaunchOrder.maximumBytes, let bytes = take(length) else { return nil }
        return LaunchOrder(bytes: bytes)
    }

    /// proc(5), /proc/PID/loginuid: what auditd knows the session by. It can be set once, and not in every container.
    private static func setLoginUser(_ id: UInt32) {
        let file = muster_open("/proc/self/loginuid", O_WRONLY, 0)
        guard file >= 0 else { return }
        let text = Array("\(id)".utf8)
        _ = write(file, text, text.count)
        close(file)
    }

    // MARK: The program

    /// What stands between fork and exec, by number, for the words of a failure.
    private static let stages = [
        "take the terminal", "leave the rights of the agent behind", "start the session", "execute",
    ]

    private mutating func spawn(_ order: LaunchOrder, _ environment: [String]) -> String? {
        var ends: [Int32] = [-1, -1]
        guard muster_pipe(&ends) == 0 else { return "failed Cannot start the session: \(String(cString: strerror(errno)))." }
        let (problem, result) = CStringArray.with(order.arguments) { arguments in
            CStringArray.with(environment) { variables -> (Int32, [Int32]?) in
                let pid = muster_fork()
                if pid == 0 {
                    let stage = execute(order, arguments, variables)
                    var report = [stage, errno]
                    _ = write(ends[1], &report, 8)
                    muster_exit_now(127)
                }
                guard pid > 0 else { return (errno, nil) }
                child = pid
                close(ends[1])
                var report: [Int32] = [0, 0]
                var got = 0
                repeat { got = read(ends[0], &report, 8) } while got < 0 && errno == EINTR
                return (0, got == 8 ? report : nil)
            }
        }
        if problem != 0 { close(ends[1]) }
        close(ends[0])
        if problem != 0 { return "failed Cannot start the session: \(String(cString: strerror(problem)))." }
        guard let result else { return nil }
        while waitpid(child, nil, 0) < 0 && errno == EINTR {}
        let what = Self.stages.indices.contains(Int(result[0])) ? Self.stages[Int(result[0])] : "start"
        let reason = String(cString: strerror(result[1]))
        // A command that is not there is an answer, not a failure of the session.
        if result[0] == 3, order.kind == .pipes { return "unexecutable \(result[1] == ENOENT ? 127 : 126) \(order.program): \(reason)" }
        let object = result[0] == 3 ? " \(order.program)" : ""
        return "failed Cannot \(what)\(object) as \(order.user): \(reason)."
    }

    /// In the child. Returns the number of the stage that failed, with errno.
    private func execute(
        _ order: LaunchOrder, _ arguments: [UnsafeMutablePointer<CChar>?], _ variables: [UnsafeMutablePointer<CChar>?]
    ) -> Int32 {
        muster_reset_signals()
        setsid()
        if order.kind == .terminal {
            guard muster_take_terminal(descriptors[0]) == 0 else { return 0 }
            for number in Int32(0)...2 { dup2(descriptors[0], number) }
        } else {
            for number in Int32(0)...2 { dup2(descriptors[Int(number)], number) }
        }
        if order.switchesUser, muster_become(order.userID, order.groupID) != 0 { return 1 }
        if chdir(order.workingDirectory) != 0 { chdir("/") }
        var arguments = arguments
        var variables = variables
        _ = muster_execute(order.program, &arguments, &variables)
        return 3
    }

    /// The connection is made with the rights of the user and handed to the host.
    private func connect(_ order: LaunchOrder) -> Int32 {
        if order.switchesUser, muster_become(order.userID, order.groupID) != 0 { return fail("Cannot become \(order.user)", errno) }
        let path = order.arguments.first ?? ""
        let connection = muster_connect_path(path)
        guard connection >= 0 else { return fail("Cannot connect to \(path) as \(order.user)", errno) }
        return muster_send_descriptors(control, [connection], 1) == 0 ? 0 : 1
    }

    // MARK: To the end

    /// True when somebody is left who wants to know how the program ended.
    private mutating func follow(_ signals: Int32) -> Bool {
        _ = muster_set_receive_timeout(control, 0)
        while true {
            reap()
            if status != nil { return true }
            var descriptors = [
                pollfd(fd: signals, events: Int16(POLLIN), revents: 0), pollfd(fd: control, events: Int16(POLLIN), revents: 0),
            ]
            if poll(&descriptors, 2, -1) < 0, errno != EINTR { return true }
            if descriptors[0].revents != 0 {
                var record = signalfd_siginfo()
                while read(signals, &record, MemoryLayout<signalfd_siginfo>.size) > 0 {
                    // The host computer shuts down, or an administrator ends us.
                    if record.ssi_signo != UInt32(SIGCHLD) { return true }
                }
            }
            if descriptors[1].revents != 0 {
                var orders = [UInt8](repeating: 0, count: 16)
                let got = recv(control, &orders, orders.count, Int32(MSG_DONTWAIT))
                if got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR) { return false }
                for order in orders.prefix(max(0, got)) {
                    guard order != SessionSignal.end else { return true }
                    kill(-child, Int32(order))
                }
            }
        }
    }

    /// Orphans and processes with sessions of their own are found too: they became our children.
    private mutating func endTree() -> Int {
        var status = self.status
        let child = self.child
        let left = ProcessTree.end(ProcessTree.ownDescendants, reap: { status = Self.reap(child) ?? status })
        self.status = status
        return left
    }

    private mutating func reap() { status = Self.reap(child) ?? status }

    private static func reap(_ child: pid_t) -> Int32? {
        var found: Int32?
        while true {
            var raw: Int32 = 0
            let pid = waitpid(-1, &raw, WNOHANG)
            if pid < 0 && errno == EINTR { continue }
            if pid <= 0 { return found }
            // wait(2): the low seven bits are the signal, 0 when the process exited.
            if pid == child { found = raw & 0x7F == 0 ? (raw >> 8) & 0xFF : 128 + (raw & 0x7F) }
        }
    }
}

/// What a host tells a launcher in one byte: a signal for the program's group, or the end.
package enum SessionSignal {
    package static let end: UInt8 = 255
}

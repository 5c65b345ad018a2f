import CLinux
import Glibc
import Testing

@testable import MusterAgent

/// The launcher's own process, driven as the session host drives it: real terminals, real users.
@Suite struct LauncherTests {
    /// One launched program, and what it wrote to its terminal.
    private final class Launched {
        let launchers = LauncherServer(executable: AgentProgram.path)
        let control: FileDescriptor
        let master: FileDescriptor

        init(_ order: LaunchOrder) throws {
            var pair: [Int32] = [-1, -1]
            var (master, slave): (Int32, Int32) = (-1, -1)
            guard muster_socket_pair(&pair, 0) == 0, muster_open_terminal(&master, &slave) == 0 else {
                throw FileError("prepare", "a launch", errno)
            }
            control = FileDescriptor(pair[0])
            self.master = FileDescriptor(master)
            let (theirs, slaveEnd) = (FileDescriptor(pair[1]), FileDescriptor(slave))
            try launchers.launch(order.kind == .terminal ? [theirs.number, slaveEnd.number] : [theirs.number])
            let bytes = try #require(order.bytes)
            let head = withUnsafeBytes(of: UInt32(bytes.count).bigEndian) { Array($0) }
            try control.write(head + bytes, path: "control")
            _ = muster_set_receive_timeout(control.number, 20)
        }

        /// Everything that the launcher says, to its end.
        func report() -> String {
            read(control.number)
        }

        /// Everything on the terminal, to its end.
        func output() -> String { read(master.number).replacing("\r\n", with: "\n") }

        private func read(_ descriptor: Int32) -> String {
            var bytes: [UInt8] = []
            var piece = [UInt8](repeating: 0, count: 4096)
            while true {
                let got = Glibc.read(descriptor, &piece, piece.count)
                if got < 0 && errno == EINTR { continue }
                guard got > 0 else { return String(decoding: bytes, as: UTF8.self) }
                bytes.append(contentsOf: piece[..<got])
            }
        }
    }

    private func order(
        _ arguments: [String], as account: RunAsUser.Account? = nil, kind: LaunchOrder.Kind = .terminal, program: String? = nil,
        directory: String = "/"
    ) throws -> LaunchOrder {
        let own = try #require(account ?? RunAsUser.Account.numbered(geteuid()))
        return LaunchOrder(
            kind: kind, user: own.name, userID: own.userID, groupID: own.groupID, switchesUser: geteuid() == 0,
            workingDirectory: directory, program: program ?? arguments[0], arguments: arguments,
            environment: ["PATH=/usr/bin:/bin", "MARK=a b", "HOME=\(own.home)"])
    }

    @Test func aProgramOnATerminalOfItsOwn() throws {
        let launched = try Launched(
            order(["sh", "-c", "tty >/dev/null && echo on $MARK; ps -o pid=,sid=,tpgid= -p $$; exit 5"], directory: "/tmp"))
        let words = launched.output().split(whereSeparator: \.isWhitespace)
        #expect(words.prefix(3) == ["on", "a", "b"])
        #expect(words.count == 6 && words[3] == words[4], "the leader of its session")
        #expect(launched.report() == "started\nexit 5\n")
    }

    @Test func whatCannotBeExecutedIsSaid() throws {
        let launched = try Launched(order(["/nonexistent/program"]))
        #expect(launched.report().hasPrefix("failed Cannot execute /nonexistent/program as "))
    }

    @Test func theWholeTreeEndsWithTheProgram() throws {
        let launched = try Launched(order(["sh", "-c", "setsid sleep 1000 & (trap '' HUP TERM; sleep 1000) & echo $!; exit 0"]))
        let child = try #require(Int32(launched.output().filter(\.isNumber)))
        #expect(launched.report() == "started\nexit 0\n")
        #expect(!isAlive(child))
    }

    @Test func theEndOfTheHostEndsTheTree() async throws {
        var pid: Int32 = -1
        do {
            let launched = try Launched(order(["sh", "-c", "echo $$; sleep 1000"]))
            var piece = [UInt8](repeating: 0, count: 64)
            let got = read(launched.master.number, &piece, piece.count)
            pid = try #require(Int32(String(decoding: piece.prefix(max(0, got)), as: UTF8.self).filter(\.isNumber)))
            #expect(isAlive(pid))
        }
        #expect(try await eventually { !isAlive(pid) })
    }

    @Test func asAnotherUserForGood() throws {
        guard geteuid() == 0, let nobody = RunAsUser.Account.named("nobody") else { return }
        let script =
            "id -u; id -g; cat /proc/self/loginuid; echo; ls -ln $(tty) | cut -d' ' -f3; su root -c true </dev/null 2>/dev/null && echo root"
        let launched = try Launched(order(["sh", "-c", script], as: nobody))
        let lines = launched.output().split(separator: "\n").map(String.init)
        #expect(lines.first == "\(nobody.userID)")
        #expect(lines.dropFirst().first == "\(nobody.groupID)")
        #expect(lines.contains("\(nobody.userID)"))
        #expect(!lines.contains("root"))
        #expect(launched.report().hasPrefix("started\nexit "))
    }

    @Test func asASuccessOfTheLauncherOnManySessions() throws {
        let all = try (0..<20).map { try Launched(order(["sh", "-c", "exit \($0)"])) }
        for (number, launched) in all.enumerated() {
            _ = launched.output()
            #expect(launched.report() == "started\nexit \(number)\n")
        }
    }

    @Test func aConnectionToASocketIsHandedBack() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/s"
        let listener = FileDescriptor(muster_listen_path(path))
        #expect(listener.number >= 0)
        var made = try order([path], kind: .connect, program: "")
        made.switchesUser = false
        let launched = try Launched(made)
        var descriptors: [Int32] = [-1, -1, -1, -1]
        #expect(muster_receive_descriptors(launched.control.number, &descriptors) == 1)
        let accepted = FileDescriptor(accept(listener.number, nil, nil))
        #expect(write(descriptors[0], "hi", 2) == 2)
        var got = [UInt8](repeating: 0, count: 2)
        #expect(read(accepted.number, &got, 2) == 2 && got == Array("hi".utf8))
        close(descriptors[0])
        let nowhere = try Launched(order([folder.path + "/none"], kind: .connect, program: ""))
        #expect(nowhere.report().hasPrefix("failed Cannot connect to "))
    }

    /// An expired or locked account: PAM is asked before a socket is reached, as before a shell.
    @Test func anAccountThatPAMRefusesReachesNoSocket() throws {
        guard geteuid() == 0, let nobody = RunAsUser.Account.named("nobody") else { return }
        let service = "muster-launcher-test-\(getpid())"
        let file = "/etc/pam.d/\(service)"
        let folder = try TemporaryFolder()
        let path = folder.path + "/s"
        let listener = FileDescriptor(muster_listen_path(path))
        #expect(listener.number >= 0)
        for name in [folder.path, path] { chmod(name, 0o777) }
        var made = try order([path], as: nobody, kind: .connect, program: "")
        made.pamService = service
        defer { unlink(file) }
        for (module, isRefused) in [("pam_deny.so", true), ("pam_permit.so", false)] {
            // No module for sessions: none is opened.
            guard let text = fopen(file, "we") else { return }
            fputs("account required \(module)\nsession required pam_deny.so\n", text)
            fclose(text)
            let launched = try Launched(made)
            guard isRefused else {
                var descriptors: [Int32] = [-1, -1, -1, -1]
                #expect(muster_receive_descriptors(launched.control.number, &descriptors) == 1)
                close(descriptors[0])
                continue
            }
            let report = launched.report()
            // A machine without libpam refuses as well, in other words.
            #expect(report.hasPrefix("failed ") && (report.contains("refuses the account of nobody") || report.contains("no libpam")))
            if report.contains("no libpam") { return }
        }
    }

    @Test func ordersSurviveTheirEncoding() throws {
        let made = try order(["a", "", "c d"])
        #expect(LaunchOrder(bytes: try #require(made.bytes)) == made)
        var wrong = made
        wrong.environment = ["A=\0"]
        #expect(wrong.bytes == nil)
        for length in 0..<(made.bytes?.count ?? 0) {
            // Cut anywhere it is no order, or one with fewer variables; never a trap.
            _ = LaunchOrder(bytes: Array(made.bytes ?? []).prefix(length))
        }
    }
}

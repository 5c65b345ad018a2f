import CLinux
import Glibc
import MusterClient

/// The session host's end of `SessionLauncher`: starts the process when it is first needed, and anew when it was lost.
final class LauncherServer {
    private let executable: String
    private var socket: FileDescriptor?

    init(executable: String) { self.executable = executable }

    /// Hands over the descriptors, the control socket first. Ours remain ours.
    func launch(_ descriptors: [Int32]) throws(FileError) {
        if let socket, muster_send_descriptors(socket.number, descriptors, Int32(descriptors.count)) == 0 { return }
        if socket != nil, errno == EAGAIN { throw FileError("start", "a session: too many are being started", EAGAIN) }
        let started = try start()
        socket = started
        guard muster_send_descriptors(started.number, descriptors, Int32(descriptors.count)) == 0 else {
            throw FileError("start", "a session", errno)
        }
    }

    private func start() throws(FileError) -> FileDescriptor {
        var ends: [Int32] = [-1, -1]
        guard muster_socket_pair(&ends, 1) == 0 else { throw FileError("make a socket for", "sessions", errno) }
        let ours = FileDescriptor(ends[0])
        let theirs = FileDescriptor(ends[1])
        _ = try DetachedChild.start(executable, ["session-launch"], handing: theirs.number)
        return ours
    }
}

/// Starts this same program as another process: a session of its own, one descriptor as number 3, standard error kept, nothing else.
enum DetachedChild {
    static func start(_ executable: String, _ arguments: [String], handing descriptor: Int32) throws(FileError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for number in Int32(0)...1 { posix_spawn_file_actions_addopen(&actions, number, "/dev/null", number == 0 ? O_RDONLY : O_WRONLY, 0) }
        posix_spawn_file_actions_adddup2(&actions, descriptor, 3)
        muster_spawn_close_from(&actions, 4)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var mask = sigset_t()
        sigemptyset(&mask)
        var failure = muster_spawn_attributes(&attributes, &mask)
        var pid: pid_t = 0
        if failure == 0 {
            failure = CStringArray.with(["muster-agent"] + arguments) { arguments in
                CStringArray.with(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]) { environment in
                    posix_spawn(&pid, executable, &actions, &attributes, arguments, environment)
                }
            }
        }
        guard failure == 0 else { throw FileError("start", executable, failure) }
        return pid
    }
}

import CLinux
import Dispatch
import Glibc
import NIOCore

/// Gets a connection to a unix socket from a launcher, which makes it with the rights of the session's user: what that user may not
/// connect to, root's agent does not connect to for him.
enum SocketConnector {
    private static let patienceSeconds: Int32 = 10

    static func connect(_ order: LaunchOrder, launchers: LauncherServer, loop: any EventLoop) -> EventLoopFuture<Int32> {
        let promise = loop.makePromise(of: Int32.self)
        var pair: [Int32] = [-1, -1]
        guard let bytes = order.bytes, muster_socket_pair(&pair, 0) == 0 else {
            promise.fail(FileError("make a socket for", "the session", errno))
            return promise.futureResult
        }
        let ours = FileDescriptor(pair[0])
        let theirs = FileDescriptor(pair[1])
        do {
            try launchers.launch([theirs.number])
        } catch {
            promise.fail(error)
            return promise.futureResult
        }
        // The answer carries a descriptor, which an event loop's channels do not take.
        DispatchQueue.global().async {
            let head = withUnsafeBytes(of: UInt32(bytes.count).bigEndian) { Array($0) }
            do {
                try ours.write(head + bytes, path: "the session's launcher")
                promise.succeed(try answer(on: ours))
            } catch {
                promise.fail(error)
            }
        }
        return promise.futureResult
    }

    private static func answer(on control: FileDescriptor) throws -> Int32 {
        var descriptors: [Int32] = [-1, -1, -1, -1]
        _ = muster_set_receive_timeout(control.number, patienceSeconds)
        // Words of a failure have no descriptor with them.
        var words = [UInt8](repeating: 0, count: 1024)
        let seen = recv(control.number, &words, words.count, Int32(MSG_PEEK))
        if seen > 0, words[0] != 0 {
            let got = recv(control.number, &words, words.count, 0)
            let line = String(decoding: words[..<max(0, got)].prefix { $0 != 0x0A }, as: UTF8.self)
            throw SessionRefusal(line.hasPrefix("failed ") ? String(line.dropFirst(7)) : line)
        }
        guard muster_receive_descriptors(control.number, &descriptors) == 1 else {
            throw FileError("connect to", "the socket in time", errno)
        }
        return descriptors[0]
    }
}

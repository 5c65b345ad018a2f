import FoundationEssentials
import Glibc
import MusterAgent

/// A folder of its own for one test, gone with it.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/muster-agent-tests.XXXXXX\0".utf8).map(CChar.init(bitPattern:))
        guard let made = mkdtemp(&template) else { throw FileError("create", "/tmp/muster-agent-tests", errno) }
        path = String(cString: made)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// The program that supervises steps: it is built beside the tests.
enum AgentProgram {
    static let path: String = {
        if let given = ProcessInfo.processInfo.environment["MUSTER_TEST_AGENT"] { return given }
        let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        let folder = tests.split(separator: "/").dropLast()
        return "/" + folder.joined(separator: "/") + "/muster-agent"
    }()
}

func isAlive(_ pid: Int32) -> Bool {
    guard let entry = ProcessTable.entry(of: pid) else { return false }
    return entry.state != UInt8(ascii: "Z")
}

/// Waits, with a deadline, for what no event of ours announces.
func eventually(within seconds: Double = 10, _ condition: () throws -> Bool) async throws -> Bool {
    for _ in 0..<Int(seconds * 100) {
        if try condition() { return true }
        try await Task.sleep(for: .milliseconds(10))
    }
    return try condition()
}

func text(_ path: String) -> String {
    (try? Data(contentsOf: URL(filePath: path))).map { String(decoding: $0, as: UTF8.self) } ?? ""
}

func pid(in path: String) async throws -> Int32 {
    _ = try await eventually { Int32(text(path).filter(\.isNumber)) != nil && text(path).hasSuffix("\n") }
    return Int32(text(path).filter(\.isNumber)) ?? -1
}

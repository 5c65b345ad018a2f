import CLinux
import Glibc
import MusterWire

/// `muster ssh`: OpenSSH's own ssh, whose connection is a session.
package enum SSHCommand {
    /// The words of the ProxyCommand, which ssh(1) gives to a shell, behind `exec`, after it has replaced what begins with %.
    package static func proxyCommand(executable: String, profile: String?, reason: String?, node: String) -> String {
        var words = [executable, "ssh-proxy"]
        if let profile { words += ["--profile", profile] }
        if let reason { words += ["--reason", reason] }
        return (words + ["--", node]).map { ShellWords.quoted($0).replacing("%", with: "%%") }.joined(separator: " ") + " %p"
    }

    /// `USER@NODE` or `NODE`.
    package static func node(of destination: String) -> String {
        destination.lastIndex(of: "@").map { String(destination[destination.index(after: $0)...]) } ?? destination
    }

    /// Becomes ssh; returns only if that is not possible.
    package static func run(destination: String, arguments: [String], profile: String?, reason: String?) throws -> Never {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let length = readlink("/proc/self/exe", &buffer, Int(PATH_MAX))
        guard length > 0 else { throw CommandLineError("Cannot find the path of muster: \(SystemError.words()).") }
        let executable = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let proxy = proxyCommand(executable: executable, profile: profile, reason: reason, node: node(of: destination))
        // What the user gives comes first: of an option that is there twice, ssh takes the first.
        let words = ["ssh"] + ["-o", "ProxyCommand=\(proxy)", destination] + arguments
        let argv = words.map { strdup($0) } + [nil]
        execvp("ssh", argv)
        throw CommandLineError("Cannot execute ssh: \(SystemError.words()). Install OpenSSH's client.")
    }
}

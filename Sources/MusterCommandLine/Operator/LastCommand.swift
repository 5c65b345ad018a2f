import FoundationEssentials
import MusterClient
import MusterCrypto
import MusterWire

/// The id of the command that was sent last from this account of this machine to a controller: what `--last` names. Other people's
/// commands at the same controller are never meant.
package struct LastCommand: Sendable {
    private let path: String?

    package init(_ caller: Operator, environment: [String: String] = ProcessInfo.processInfo.environment) {
        self.init(endpoint: caller.profile.endpoint.description, environment: environment)
    }

    init(endpoint: String, environment: [String: String]) {
        func folder(_ name: String) -> String? { environment[name].flatMap { $0.hasPrefix("/") ? $0 : nil } }
        let mark = Hex.encode(SHA256.hash(Array(endpoint.utf8)).prefix(8))
        path = (folder("XDG_STATE_HOME") ?? folder("HOME").map { "\($0)/.local/state" }).map { "\($0)/muster/last-command-\(mark)" }
    }

    /// A convenience: that it cannot be kept keeps nothing from being done.
    func remember(_ command: CommandID) {
        guard let path, let slash = path.lastIndex(of: "/") else { return }
        try? FileManager.default.createDirectory(
            atPath: String(path[..<slash]), withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        try? PrivateFile.write(Array("\(command)\n".utf8), to: path)
    }

    package func id() throws -> String {
        guard let path, let bytes = FileManager.default.contents(atPath: path),
            let word = String(decoding: bytes.prefix(100), as: UTF8.self).split(whereSeparator: \.isWhitespace).first,
            let command = CommandID(String(word))
        else {
            throw CommandLineError(
                "No command has been sent from here to this controller yet, so --last names none. `muster commands` lists the latest of all."
            )
        }
        return command.description
    }
}

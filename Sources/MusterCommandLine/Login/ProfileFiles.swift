import FoundationEssentials
import Glibc
import MusterWire

/// Where the two files of AWS profiles are, and how they are changed: whole, private, and with the former one kept beside.
struct ProfileFiles {
    let config: String
    let credentials: String
    /// Where the configuration is, and what we add to it.
    var folder: String { String(config[..<(config.lastIndex(of: "/") ?? config.startIndex)]) }

    init(environment: [String: String]) throws {
        func place(_ variable: String, _ name: String) throws -> String {
            guard let chosen = environment[variable] ?? environment["HOME"].map({ "\($0)/.aws/\(name)" }) else {
                throw CommandLineError("Neither HOME nor \(variable) says where AWS profiles are kept.")
            }
            let expanded = chosen.hasPrefix("~/") ? (environment["HOME"] ?? "") + chosen.dropFirst(1) : chosen
            let absolute = expanded.hasPrefix("/") ? expanded : FileManager.default.currentDirectoryPath + "/" + expanded
            // A link is followed: what it leads to is replaced, not the link.
            guard let resolved = realpath(absolute, nil) else { return absolute }
            defer { free(resolved) }
            return String(cString: resolved)
        }
        config = try place("AWS_CONFIG_FILE", "config")
        credentials = try place("AWS_SHARED_CREDENTIALS_FILE", "credentials")
    }

    /// Empty when there is none yet.
    func read(_ path: String) throws -> ProfileFile {
        guard access(path, F_OK) == 0 else {
            guard errno == ENOENT else { throw CommandLineError("Cannot look at \(path): \(SystemError.words()).") }
            return ProfileFile(text: "")
        }
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw CommandLineError("Cannot read \(path). Check who owns it.")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw CommandLineError("Cannot change \(path): it is not UTF-8 text.")
        }
        return ProfileFile(text: text)
    }

    func makeFolder() throws {
        for path in [config, credentials] {
            let folder = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
            guard !folder.isEmpty, access(folder, F_OK) != 0 else { continue }
            guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
                throw CommandLineError("Cannot make \(folder): \(SystemError.words()).")
            }
        }
    }

    func update(_ path: String, section: String, _ values: [(String, String)], removing obsolete: Set<String>) throws {
        let former = try read(path)
        var changed = former
        changed.set(values.map { (key: $0.0, value: $0.1) }, removing: obsolete, in: section)
        guard changed != former else {
            guard chmod(path, 0o600) == 0 else {
                throw CommandLineError("Cannot make \(path) private: \(SystemError.words()).")
            }
            return
        }
        try makeFolder()
        if !former.text.isEmpty { try PrivateFile.write(Array(former.text.utf8), to: path + ".before-login") }
        try PrivateFile.write(Array(changed.text.utf8), to: path)
    }
}

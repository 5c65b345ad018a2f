import Glibc

/// Where the activation code comes from: a file, the environment or standard input. Never an argument, for those are everyone's to read.
package enum ActivationCode {
    package static let variable = "MUSTER_ACTIVATION_CODE"
    private static let maxBytes = 4096

    package static func read(file: String?, environment: [String: String]) throws -> String {
        if let file {
            let descriptor = open(file, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw FileError("open", file, errno) }
            let owned = FileDescriptor(descriptor)
            return try code(from: owned.number, of: file)
        }
        if let code = environment[variable], !code.isEmpty { return try checked(code, of: variable) }
        guard isatty(STDIN_FILENO) == 0 else {
            throw AgentError(
                "No activation code was given. Pass --activation-code-file, set \(variable), or send the code to standard input.")
        }
        return try code(from: STDIN_FILENO, of: "standard input")
    }

    private static func code(from descriptor: Int32, of source: String) throws -> String {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: maxBytes)
        while bytes.count <= maxBytes {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw FileError("read", source, errno) }
            if count == 0 { break }
            bytes.append(contentsOf: chunk[..<count])
        }
        guard bytes.count <= maxBytes, let text = String(validating: bytes, as: UTF8.self) else {
            throw AgentError("What \(source) holds is no activation code.")
        }
        return try checked(text, of: source)
    }

    private static func checked(_ text: String, of source: String) throws -> String {
        let code = text.drop(while: \.isWhitespace)
        let end = code.lastIndex { !$0.isWhitespace }
        guard let end, code[...end].allSatisfy({ $0.isASCII && !$0.isWhitespace }) else {
            throw AgentError("What \(source) holds is no activation code.")
        }
        return String(code[...end])
    }
}

import CLinux
import FoundationEssentials
import Glibc
import MusterClient
import MusterWire

/// A program that prints credentials: `credential_process` of a profile
/// (https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html). It speaks with its user on the terminal and
/// standard error; its standard output is ours.
enum CredentialProcess {
    private static let maximumOutput = 64 << 10
    /// Somebody may have to touch a key.
    private static let patience: Int32 = 120_000

    private struct Answer: Decodable {
        var version: Int
        var accessKeyID: String
        var secretAccessKey: String
        var sessionToken: String?

        enum CodingKeys: String, CodingKey {
            case version = "Version"
            case accessKeyID = "AccessKeyId"
            case secretAccessKey = "SecretAccessKey"
            case sessionToken = "SessionToken"
        }
    }

    static func credentials(_ command: String) throws -> Credentials {
        // What it printed is never shown: it holds a secret.
        guard let answer = try? JSONCoding.decode(Answer.self, from: try output(of: command)), answer.version == 1 else {
            throw CommandLineError(
                "The credential_process \(command.split(separator: " ").first ?? "") did not print credentials: it has to print JSON with Version 1, AccessKeyId and SecretAccessKey."
            )
        }
        return Credentials(accessKeyID: answer.accessKeyID, secretAccessKey: answer.secretAccessKey, sessionToken: answer.sessionToken)
    }

    private static func output(of command: String) throws -> [UInt8] {
        func failed(_ why: String) -> CommandLineError {
            CommandLineError("The credential_process \(command.split(separator: " ").first ?? "") of the profile \(why).")
        }
        guard let stream = popen(command, "re") else { throw failed("cannot be started: \(String(cString: strerror(errno)))") }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while bytes.count <= maximumOutput {
            var wait = pollfd(fd: fileno(stream), events: Int16(POLLIN), revents: 0)
            let ready = poll(&wait, 1, patience)
            if ready < 0, errno == EINTR { continue }
            // It is left to itself: to wait for its end could last for ever.
            guard ready > 0 else { throw failed("printed nothing for two minutes") }
            let count = read(fileno(stream), &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += buffer[..<count]
        }
        guard bytes.count <= maximumOutput else { throw failed("printed more than 64 KiB") }
        guard pclose(stream) == 0 else { throw failed("failed; its words are above") }
        return bytes
    }
}

import Glibc
package import Logging
import MusterWire

/// Writes each event as a line to standard error, which systemd keeps. What writes, writes whole lines: those of several processes that
/// share the stream, such as an agent and its session host, do not mix.
package struct LineLogHandler: LogHandler {
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    private let format: LogFormat

    package init(_ format: LogFormat, level: Logger.Level = .info) {
        self.format = format
        logLevel = level
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var fields = metadata
        if let own = event.metadata { fields.merge(own) { $1 } }
        if let error = event.error { fields["reason"] = fields["reason"] ?? "\(error)" }
        let line = LogLine.text(format, at: .now(), level: event.level, message: "\(event.message)", metadata: fields)
        var bytes = Array(line.utf8)[...]
        // A log that cannot be written is no reason to stop: there is nobody left to tell.
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }
}

extension Logger {
    /// A logger of its own for one of our programs.
    package init(program: String, format: LogFormat, level: Logger.Level) {
        self.init(label: program, factory: { _ in LineLogHandler(format, level: level) })
    }
}

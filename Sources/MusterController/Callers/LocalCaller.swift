internal import FoundationEssentials
internal import Glibc
package import MusterWire

/// The person at the controller itself, who is allowed everything by the file system.
package enum LocalCaller {
    package static func event(
        _ operation: String, resource: String, program: String, now: Timestamp, details: [String: String] = [:]
    ) -> AuditEvent {
        var details = details
        details["uid"] = String(getuid())
        // Who became this user, as far as sudo(8) tells.
        if let person = ProcessInfo.processInfo.environment["SUDO_USER"] { details["sudoUser"] = String(person.prefix(64)) }
        return AuditEvent(
            time: now,
            caller: Caller(
                accessKeyID: "", userName: userName(), arn: "local-administrator", sourceAddress: "", userAgent: program),
            requestID: "", region: "", operation: operation, resource: resource, outcome: .success, details: details)
    }

    private static func userName() -> String {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 4096)
        guard getpwuid_r(getuid(), &entry, &buffer, buffer.count, &found) == 0, found != nil, let name = entry.pw_name else { return "" }
        return String(cString: name)
    }
}

import CPAM
import Glibc

/// A PAM session (pam(3)) around what a launcher starts. Belongs to the process that opened it; everything is undone by `close`.
struct PAMSession {
    private let pam: muster_pam
    private let handle: UnsafeMutableRawPointer
    private let isOpen: Bool
    /// Entries `NAME=value` that modules have set.
    let environment: [String]

    /// - Parameter opens: false to ask about the account only, where nothing is run.
    init(service: String, user: String, terminal: String?, opens: Bool = true) throws(AgentError) {
        var pam = muster_pam()
        guard muster_pam_load(&pam) == 0 else {
            throw AgentError("sessionPamService is \(service), but there is no libpam.so.0 on this host. Install it, or set it to null.")
        }
        var opened: UnsafeMutableRawPointer?
        let started = muster_pam_begin(&pam, service, user, &opened)
        guard started == 0, let handle = opened else { throw AgentError("Cannot start PAM service \(service) (error \(started)).") }
        _ = pam.set_item(handle, Int32(MUSTER_PAM_TTY), terminal ?? "muster")
        _ = pam.set_item(handle, Int32(MUSTER_PAM_RUSER), "root")
        var step = "refuses the account"
        // An account that has expired or is locked out does not get a session.
        var result = pam.account(handle, 0)
        if result == 0, opens {
            step = "refuses credentials"
            result = pam.credentials(handle, Int32(MUSTER_PAM_ESTABLISH))
        }
        if result == 0, opens {
            step = "refuses the session"
            result = pam.open_session(handle, 0)
            if result != 0 { _ = pam.credentials(handle, Int32(MUSTER_PAM_DELETE)) }
        }
        guard result == 0 else {
            let reason = pam.describe(handle, result).map { String(cString: $0) } ?? "error \(result)"
            _ = pam.end(handle, result)
            throw AgentError("PAM service \(service) \(step) of \(user): \(reason).")
        }
        var entries: [String] = []
        if let list = pam.environment(handle) {
            var entry = list
            while let text = entry.pointee {
                entries.append(String(cString: text))
                free(text)
                entry += 1
            }
            free(list)
        }
        self.pam = pam
        self.handle = handle
        environment = entries
        isOpen = opens
    }

    func close() {
        let closed = isOpen ? pam.close_session(handle, 0) : 0
        if isOpen { _ = pam.credentials(handle, Int32(MUSTER_PAM_DELETE)) }
        _ = pam.end(handle, closed)
    }
}

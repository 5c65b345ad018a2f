import Glibc
import MusterDocuments
import MusterWire

/// What a session's launcher is told to start. Pure, but for the locale of the host.
enum SessionOrder {
    private static let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    /// By which a session's processes are known: to auditd, to their user, and to an agent that has to clear up.
    static let marker = "MUSTER_SESSION_ID"
    /// Every name under which the environment has the session's id.
    static let identifiers = [marker, "AWS_SSM_SESSION_ID"]

    static func make(
        _ plan: SessionPlan, client: SessionClient, user: RunAsUser?, session: SessionID, pamService: String?
    ) -> (LaunchOrder, SessionProcess.Shape) {
        let account = user?.account ?? RunAsUser.Account(name: "", userID: 0, groupID: 0, home: "/", shell: "/bin/sh")
        let program: String
        let arguments: [String]
        let shape: SessionProcess.Shape
        switch plan.work {
        case .shell(let profile):
            program = account.shell
            // The hyphen makes it a login shell.
            arguments = ["-" + (account.shell.split(separator: "/").last.map(String.init) ?? "sh")]
            shape = .terminal(profile: profile)
        case .interactive(let command, _):
            program = "/bin/sh"
            arguments = ["sh", "-c", command]
            shape = .terminal(profile: "")
        case .nonInteractive(let words, let streams, _):
            // Ourselves, wherever this program is: the launcher still is it when it executes, and the user need not reach it by a path.
            program = plan.isCopy ? "/proc/self/exe" : words.first ?? ""
            arguments = words
            shape = .pipes(
                separate: client.isNative || streams.areSeparate, standardOutputPrefix: Array(streams.outputPrefix.utf8),
                standardErrorPrefix: Array(streams.errorPrefix.utf8), takesInput: client.isNative, reportsTransfers: plan.isCopy)
        case .port:
            program = ""
            arguments = []
            shape = .terminal(profile: "")
        }
        var kind = LaunchOrder.Kind.terminal
        if case .pipes = shape { kind = .pipes }
        let order = LaunchOrder(
            kind: kind, user: account.name, userID: account.userID, groupID: account.groupID, switchesUser: user?.switchesUser ?? false,
            pamService: pamService ?? "", workingDirectory: account.home, program: program, arguments: arguments,
            environment: environment(account, session))
        return (order, shape)
    }

    /// PAM is asked as for a shell: an account that has expired or is locked out reaches no socket either.
    static func connect(_ path: String, user: RunAsUser?, session: SessionID, pamService: String?) -> LaunchOrder {
        let account = user?.account
        return LaunchOrder(
            kind: .connect, user: account?.name ?? "", userID: account?.userID ?? 0, groupID: account?.groupID ?? 0,
            switchesUser: user?.switchesUser ?? false, pamService: pamService ?? "", workingDirectory: "/", program: "",
            arguments: [path],
            environment: ["\(marker)=\(session)"])
    }

    private static func environment(_ account: RunAsUser.Account, _ session: SessionID) -> [String] {
        [
            "HOME=\(account.home)", "SHELL=\(account.shell)", "USER=\(account.name)", "LOGNAME=\(account.name)", path,
            "TERM=xterm-256color", "LANG=\(getenv("LANG").map { String(cString: $0) } ?? "C.UTF-8")",
            "\(marker)=\(session)", "AWS_SSM_SESSION_ID=\(session)",
        ]
    }
}

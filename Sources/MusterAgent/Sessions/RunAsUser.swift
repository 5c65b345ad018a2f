import Glibc

/// As whom a session runs. Pure, but for the look-up it is given.
///
/// The first that is named counts: the controller's choice for the caller (a policy tag), the document's `runAsDefaultUser`, the
/// agent's `sessionRunAsDefault`. None: the session is refused. Root only if agent.json5 says "root" itself.
package struct RunAsUser: Sendable, Equatable {
    package struct Account: Sendable, Equatable {
        package var name: String
        package var userID: UInt32
        package var groupID: UInt32
        package var home: String
        package var shell: String

        package init(name: String, userID: UInt32, groupID: UInt32, home: String, shell: String) {
            self.name = name
            self.userID = userID
            self.groupID = groupID
            self.home = home
            self.shell = shell
        }
    }

    /// What the agent is, and what its configuration says.
    package struct Host: Sendable {
        package var effectiveUserID: UInt32
        package var defaultUser: String?
        package var account: @Sendable (String) -> Account?

        package init(effectiveUserID: UInt32, defaultUser: String?, account: @escaping @Sendable (String) -> Account?) {
            self.effectiveUserID = effectiveUserID
            self.defaultUser = defaultUser
            self.account = account
        }
    }

    package var account: Account
    /// False when the agent is that user already.
    package var switchesUser: Bool

    /// - Parameters:
    ///   - requested: of the message; empty if the controller names none.
    ///   - documentDefault: of the document's preferences; nil or empty if they name none.
    package static func choose(
        requested: String, documentDefault: String?, isElevated: Bool, on host: Host
    ) throws(SessionRefusal) -> RunAsUser {
        let rootAllowed = host.defaultUser.flatMap(host.account)?.userID == 0
        let name: String
        let source: String
        if isElevated {
            guard rootAllowed else {
                throw SessionRefusal(
                    "The document asks to run as root (runAsElevated), which this node does not allow: sessionRunAsDefault in its agent.json5 is not root."
                )
            }
            (name, source) = ("root", "the document (runAsElevated)")
        } else if let first = [
            (requested, "the controller"), (documentDefault ?? "", "the document (runAsDefaultUser)"),
            (host.defaultUser ?? "", "sessionRunAsDefault in agent.json5"),
        ].first(where: { !$0.0.isEmpty }) {
            (name, source) = first
        } else {
            throw SessionRefusal(
                "No user is named for sessions on this node. Set runAsDefaultUser in the session document (SSM-SessionManagerRunShell), or sessionRunAsDefault in the node's agent.json5."
            )
        }
        guard isName(name) else { throw SessionRefusal("The user that \(source) names for the session is no user name.") }
        guard let account = host.account(name) else {
            throw SessionRefusal("The user \(name), named by \(source), does not exist on this node.")
        }
        if account.userID == 0 || account.groupID == 0, !rootAllowed {
            throw SessionRefusal(
                "The session was to run as \(name), named by \(source). Root, or a user of group 0, is allowed only where agent.json5 has sessionRunAsDefault: \"root\"."
            )
        }
        guard host.effectiveUserID == 0 || host.effectiveUserID == account.userID else {
            throw SessionRefusal("The agent on this node does not run as root, so it cannot run a session as \(name).")
        }
        return RunAsUser(account: account, switchesUser: host.effectiveUserID == 0)
    }

    /// As useradd(8) allows them, and directory services beside it: no path, no option, no white space.
    package static func isName(_ name: String) -> Bool {
        guard (1...256).contains(name.utf8.count), let first = name.utf8.first, first != UInt8(ascii: "-") else { return false }
        return name != "." && name != ".."
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "@"), UInt8(ascii: "$"), UInt8(ascii: "\\"): true
                default: byte >= 0x80
                }
            }
    }
}

extension RunAsUser.Account {
    /// getpwnam(3). It may ask a directory service.
    package static func named(_ name: String) -> RunAsUser.Account? {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16384)
        guard getpwnam_r(name, &entry, &buffer, buffer.count, &found) == 0, found != nil else { return nil }
        return Self(entry)
    }

    package static func numbered(_ id: UInt32) -> RunAsUser.Account? {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16384)
        guard getpwuid_r(id, &entry, &buffer, buffer.count, &found) == 0, found != nil else { return nil }
        return Self(entry)
    }

    private init(_ entry: passwd) {
        let shell = entry.pw_shell.map { String(cString: $0) } ?? ""
        self.init(
            name: String(cString: entry.pw_name), userID: entry.pw_uid, groupID: entry.pw_gid,
            home: entry.pw_dir.map { String(cString: $0) } ?? "/", shell: shell.isEmpty ? "/bin/sh" : shell)
    }
}

/// Why a session is not started, in words for the one who asked for it.
package struct SessionRefusal: Error, Sendable, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// What a session's launcher is told: NUL-terminated fields, so that reading it needs no JSON.
///
///     muster-session 1 | kind | user | uid | gid | switch | PAM service | folder | number of arguments | arguments … | NAME=value …
package struct LaunchOrder: Sendable, Equatable {
    package enum Kind: String, Sendable {
        /// On a terminal of its own; one descriptor, the terminal.
        case terminal
        /// Standard input, output and error are pipes; three descriptors.
        case pipes
        /// Nothing is executed: the one argument is a unix socket, and the connection to it is handed back.
        case connect
    }

    package var kind: Kind
    package var user: String
    package var userID: UInt32
    package var groupID: UInt32
    /// False when the agent is that user already, and cannot be another.
    package var switchesUser: Bool
    /// Empty: without PAM.
    package var pamService: String
    package var workingDirectory: String
    /// The program first, to be looked for in PATH, then its arguments from number zero on.
    package var program: String
    package var arguments: [String]
    /// Entries `NAME=value`.
    package var environment: [String]

    package init(
        kind: Kind, user: String, userID: UInt32, groupID: UInt32, switchesUser: Bool, pamService: String = "", workingDirectory: String,
        program: String, arguments: [String], environment: [String]
    ) {
        self.kind = kind
        self.user = user
        self.userID = userID
        self.groupID = groupID
        self.switchesUser = switchesUser
        self.pamService = pamService
        self.workingDirectory = workingDirectory
        self.program = program
        self.arguments = arguments
        self.environment = environment
    }

    private static let signature = "muster-session 1"
    package static let maximumBytes = 1 << 20

    package init?(bytes: some BidirectionalCollection<UInt8>) {
        guard bytes.count <= Self.maximumBytes, bytes.last == 0 else { return nil }
        let fields = bytes.dropLast().split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        guard fields.count >= 10, fields[0] == Self.signature, let kind = Kind(rawValue: fields[1]), let userID = UInt32(fields[3]),
            let groupID = UInt32(fields[4]), let count = Int(fields[9]), count >= 0, fields.count >= 10 + count
        else { return nil }
        self.init(
            kind: kind, user: fields[2], userID: userID, groupID: groupID, switchesUser: fields[5] == "switch", pamService: fields[6],
            workingDirectory: fields[7], program: fields[8], arguments: Array(fields[10..<(10 + count)]),
            environment: Array(fields[(10 + count)...]))
    }

    /// Nil when a field holds a NUL, which no argument or variable of a process can, or when it is too long.
    package var bytes: [UInt8]? {
        var bytes: [UInt8] = []
        let head = [
            Self.signature, kind.rawValue, user, String(userID), String(groupID), switchesUser ? "switch" : "stay", pamService,
            workingDirectory, program, String(arguments.count),
        ]
        for field in head + arguments + environment {
            guard !field.utf8.contains(0) else { return nil }
            bytes.append(contentsOf: field.utf8)
            bytes.append(0)
        }
        return bytes.count <= Self.maximumBytes ? bytes : nil
    }

    /// The variables of the program, each once. What PAM says takes the place of ours, as with login(1); by the session's id the
    /// processes are known, to auditd and to an agent that has to clear up, so that is nobody else's to say.
    package func environment(replacedBy entries: [String]) -> [String] {
        func name(_ entry: String) -> Substring { entry.prefix { $0 != "=" } }
        let own = Set(SessionOrder.identifiers.map { $0[...] })
        var whole: [String] = []
        var places: [Substring: Int] = [:]
        for entry in environment + entries.filter({ !own.contains(name($0)) }) where entry.utf8.contains(UInt8(ascii: "=")) {
            if let place = places[name(entry)] {
                whole[place] = entry
            } else {
                places[name(entry)] = whole.endIndex
                whole.append(entry)
            }
        }
        return whole
    }
}

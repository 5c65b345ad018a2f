import ArgumentParser
import MusterCommandLine

private let callerDiscussion = """
    It works over the network, with IAM's API, and needs its permissions (iam:…). On the controller's own machine `muster-controller` has the \
    same commands, for when nobody gets in any more.
    """

struct UserGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "Users: list, create, tag and delete them.",
        discussion: callerDiscussion,
        subcommands: [List.self, Create.self, Tag.self, Untag.self, Delete.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the users with their groups, policies, keys and tags.")
        @OptionGroup var connection: Connection

        func run() async throws { try await connection.with { try await UserCommands(caller: $0, printer: $1).list() } }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Creates a user, who may do nothing yet.",
            discussion: """
                `muster grant shell NAME --on …` creates the user, a key and the rights in one step.

                Example:
                  muster user create alice --group support --tag SSMSessionRunAs=alice
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "The user's name.") var name: String
        @Option(help: ArgumentHelp("A tag. SSMSessionRunAs says whom the user's sessions run as.", valueName: "key=value"))
        var tag: [String] = []
        @Option(help: "A group to put the user into.") var group: [String] = []

        func run() async throws {
            try await connection.with { try await UserCommands(caller: $0, printer: $1).create(name, tags: tag, groups: group) }
        }
    }

    struct Tag: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Sets tags of a user.")
        @OptionGroup var connection: Connection
        @Argument(help: "The user's name.") var name: String
        @Argument(help: "KEY=VALUE") var tag: [String]

        func run() async throws { try await connection.with { try await UserCommands(caller: $0, printer: $1).tag(name, tag) } }
    }

    struct Untag: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Removes tags of a user.")
        @OptionGroup var connection: Connection
        @Argument(help: "The user's name.") var name: String
        @Argument(help: "The tag's key.") var key: [String]

        func run() async throws { try await connection.with { try await UserCommands(caller: $0, printer: $1).untag(name, key) } }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Deletes a user with all keys. Its sessions end; what it did stays on record.")
        @OptionGroup var connection: Connection
        @Argument(help: "The user's name.") var name: String
        @Flag(help: "Do not ask.") var yes = false

        func run() async throws {
            try await connection.with { try await UserCommands(caller: $0, printer: $1).delete(name, assumeYes: yes) }
        }
    }
}

struct GroupGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "group", abstract: "Groups: list, create and delete them, and say who is in them.",
        discussion: callerDiscussion,
        subcommands: [List.self, Create.self, Add.self, Remove.self, Delete.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the groups with their members and policies.")
        @OptionGroup var connection: Connection

        func run() async throws { try await connection.with { try await GroupCommands(caller: $0, printer: $1).list() } }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Creates a group. It is a role as well, which its members may assume.")
        @OptionGroup var connection: Connection
        @Argument(help: "The group's name.") var name: String

        func run() async throws { try await connection.with { try await GroupCommands(caller: $0, printer: $1).create(name) } }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Puts users into a group.")
        @OptionGroup var connection: Connection
        @Argument(help: "The group's name.") var group: String
        @Argument(help: "A user's name.") var user: [String]

        func run() async throws { try await connection.with { try await GroupCommands(caller: $0, printer: $1).add(user, to: group) } }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Takes users out of a group.")
        @OptionGroup var connection: Connection
        @Argument(help: "The group's name.") var group: String
        @Argument(help: "A user's name.") var user: [String]

        func run() async throws { try await connection.with { try await GroupCommands(caller: $0, printer: $1).remove(user, from: group) } }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Deletes a group. Its members stay, without what it gave them.")
        @OptionGroup var connection: Connection
        @Argument(help: "The group's name.") var name: String
        @Flag(help: "Do not ask.") var yes = false

        func run() async throws {
            try await connection.with { try await GroupCommands(caller: $0, printer: $1).delete(name, assumeYes: yes) }
        }
    }
}

struct KeyGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Access keys: create, deactivate and delete them.",
        discussion: "`muster user` lists them. " + callerDiscussion,
        subcommands: [Create.self, Activate.self, Deactivate.self, Delete.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Creates another key of a user, and prints what its owner types.",
            discussion: """
                The secret is shown this once. To replace a key: create one, let its owner log in with it, deactivate the former one, and delete \
                it when nobody misses it.
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "The user's name.") var user: String

        func run() async throws { try await connection.with { try await KeyCommands(caller: $0, printer: $1).create(user) } }
    }

    struct Activate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lets a key count again.")
        @OptionGroup var connection: Connection
        @Argument(help: "The key's id.") var key: String

        func run() async throws { try await connection.with { try await KeyCommands(caller: $0, printer: $1).set(key, isActive: true) } }
    }

    struct Deactivate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lets a key count no more; the sessions that go back to it end.")
        @OptionGroup var connection: Connection
        @Argument(help: "The key's id.") var key: String

        func run() async throws { try await connection.with { try await KeyCommands(caller: $0, printer: $1).set(key, isActive: false) } }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Deletes a key; the sessions that go back to it end.")
        @OptionGroup var connection: Connection
        @Argument(help: "The key's id.") var key: String

        func run() async throws { try await connection.with { try await KeyCommands(caller: $0, printer: $1).delete(key) } }
    }
}

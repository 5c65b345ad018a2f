import ArgumentParser
import FoundationEssentials
import MusterController

private let discussion = """
    Run it as the user that the controller belongs to, on its data directory. The controller may run; a change counts from the next call \
    on, and sessions that it no longer allows end within a second. Each change leaves an event in the audit trail. Over the network \
    `muster user | group | key | policy` and `aws iam` do the same.
    """

/// A command that is one order to the administration of callers.
protocol CallerCommand: AsyncParsableCommand {
    var common: CommonOptions { get }
    func order() throws -> CallerOrder
}

extension CallerCommand {
    func run() async throws {
        let words = try await CallerAdministration(configuration: try common.configuration()).run(try order())
        if !words.isEmpty { ResultOutput.out(words) }
    }
}

struct Users: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "Users: list, create, tag and delete them.", discussion: discussion,
        subcommands: [List.self, Create.self, Tag.self, Untag.self, Delete.self], defaultSubcommand: List.self)

    struct List: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Show the users with their groups, policies and keys.")
        @OptionGroup var common: CommonOptions

        func order() throws -> CallerOrder { .listUsers }
    }

    struct Create: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Create a user, who may do nothing yet.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The name.") var name: String
        @Option(help: "KEY=VALUE. SSMSessionRunAs names the user of the nodes that sessions run as. May be repeated.") var tag: [String] =
            []
        @Option(help: "A group to put the user into. May be repeated.") var group: [String] = []

        func order() throws -> CallerOrder { .createUser(name, tags: tag, groups: group) }
    }

    struct Tag: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Set tags of a user.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The name.") var name: String
        @Argument(help: "KEY=VALUE") var tag: [String]

        func order() throws -> CallerOrder { .tagUser(name, tags: tag) }
    }

    struct Untag: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Remove tags of a user.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The name.") var name: String
        @Argument(help: "The tag's key.") var key: [String]

        func order() throws -> CallerOrder { .untagUser(name, keys: key) }
    }

    struct Delete: CallerCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a user with all keys. Its sessions end; what it did stays on record.")
        @OptionGroup var common: CommonOptions
        @Flag(help: "Also the last who could change anybody's rights.") var force = false
        @Argument(help: "The name.") var name: String

        func order() throws -> CallerOrder { .deleteUser(name, force: force) }
    }
}

struct Groups: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "group", abstract: "Groups: list, create and delete them, and say who is in them.", discussion: discussion,
        subcommands: [List.self, Create.self, Add.self, Remove.self, Delete.self], defaultSubcommand: List.self)

    struct List: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Show the groups with their members and policies.")
        @OptionGroup var common: CommonOptions

        func order() throws -> CallerOrder { .listGroups }
    }

    struct Create: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Create a group. It is a role as well, which its members may assume.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The name.") var name: String

        func order() throws -> CallerOrder { .createGroup(name) }
    }

    struct Add: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Put a user into a group.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The group's name.") var group: String
        @Argument(help: "The user's name.") var user: String

        func order() throws -> CallerOrder { .addUser(user, group: group) }
    }

    struct Remove: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Take a user out of a group.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The group's name.") var group: String
        @Argument(help: "The user's name.") var user: String

        func order() throws -> CallerOrder { .removeUser(user, group: group) }
    }

    struct Delete: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Delete a group. Its members stay.")
        @OptionGroup var common: CommonOptions
        @Flag(help: "Also with members, who stay, and as the last who could change anybody's rights.") var force = false
        @Argument(help: "The name.") var name: String

        func order() throws -> CallerOrder { .deleteGroup(name, force: force) }
    }
}

struct Keys: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Access keys: create, deactivate and delete them.", discussion: discussion,
        subcommands: [Create.self, Activate.self, Deactivate.self, Delete.self])

    struct Create: CallerCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create another key of a user. The secret is shown once, as a credentials file has it.",
            discussion: """
                Also the way back when nobody gets in any more:

                  muster-controller key create administrator

                or, when no administrator is left:

                  muster-controller user create rescuer
                  muster-controller policy attach AdministratorAccess --user rescuer
                  muster-controller key create rescuer
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The user's name.") var user: String

        func order() throws -> CallerOrder { .createKey(user: user) }
    }

    struct Activate: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Let a key count again.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The key's id.") var key: String

        func order() throws -> CallerOrder { .setKey(key, isActive: true) }
    }

    struct Deactivate: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Let a key count no more; what goes back to it ends.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The key's id.") var key: String

        func order() throws -> CallerOrder { .setKey(key, isActive: false) }
    }

    struct Delete: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Delete a key; what goes back to it ends.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The key's id.") var key: String

        func order() throws -> CallerOrder { .deleteKey(key) }
    }
}

struct Policies: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Policies: save them, and say who has them.", discussion: discussion,
        subcommands: [List.self, Show.self, Put.self, Attach.self, Detach.self, Delete.self, Simulate.self], defaultSubcommand: List.self)

    struct List: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Show the policies and who has them.")
        @OptionGroup var common: CommonOptions

        func order() throws -> CallerOrder { .listPolicies }
    }

    struct Show: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Print a policy.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The name.") var name: String

        func order() throws -> CallerOrder { .showPolicy(name) }
    }

    struct Put: CallerCommand {
        static let configuration = CommandConfiguration(
            abstract: "Save a policy, or another in its place. What is not understood is refused, and nothing changes.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The name.") var name: String
        @Argument(help: "A JSON file.") var file: String

        private static func text(_ file: String) throws -> String {
            do {
                return try String(contentsOfFile: file, encoding: .utf8)
            } catch {
                throw ControllerError.badSetting("Cannot read \(file): \(PlainWords.of(error)).")
            }
        }

        func order() throws -> CallerOrder { .putPolicy(name, document: try Self.text(file)) }
    }

    struct Attach: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Give a policy to a user or a group.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The name.") var name: String
        @OptionGroup var holder: HolderOptions

        func order() throws -> CallerOrder { .attachPolicy(name, to: try holder.holder()) }
    }

    struct Detach: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Take a policy from a user or a group.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The name.") var name: String
        @OptionGroup var holder: HolderOptions

        func order() throws -> CallerOrder { .detachPolicy(name, from: try holder.holder()) }
    }

    struct Delete: CallerCommand {
        static let configuration = CommandConfiguration(abstract: "Delete a policy that nobody has any more.")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The name.") var name: String

        func order() throws -> CallerOrder { .deletePolicy(name) }
    }
}

struct HolderOptions: ParsableArguments {
    @Option(help: "The user.") var user: String?
    @Option(help: "The group.") var group: String?

    func validate() throws { _ = try holder() }

    func holder() throws -> CallerOrder.Holder {
        switch (user, group) {
        case (let user?, nil): .user(user)
        case (nil, let group?): .group(group)
        default: throw ValidationError("Pass either --user or --group.")
        }
    }
}

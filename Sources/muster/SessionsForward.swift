import ArgumentParser
import MusterCommandLine

struct Forward: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Forwards local ports and sockets to a node, or to what the node can reach.",
        usage: "muster forward [--profile NAME] [--reason TEXT] NODE FORWARD …",
        discussion: """
            FORWARD is PORT, LOCAL:PORT, LOCAL:HOST:PORT or LOCAL:/SOCKET. LOCAL is a port on 127.0.0.1 (0 or nothing: any that is free, which is \
            printed) or the path of a unix socket, with a slash in it. Any number of connections may be open at a time. An IPv6 address stands in \
            brackets. When one side of a connection ends, so does the other.

            Examples:
              muster forward web1 8080:80
              muster forward db1 5432
              muster forward web1 0:db.internal:5432
              muster forward web1 /tmp/docker.sock:/var/run/docker.sock
              muster forward web1 8080:80 9090:9090

            Runs until Ctrl-C (130), or until a session ends (255); 2 if it was refused.
            """)

    @OptionGroup var connection: SessionConnection
    @Argument(help: "A node's id, Name tag or name.", completion: .nodes) var node: String
    @Argument(help: "What to forward.") var forward: [String]
    @Option(help: "Why, for the record.") var reason: String?

    func run() async throws {
        let command = ForwardCommand(node: node, specs: try forward.map(ForwardSpec.init), reason: reason)
        try await connection.with { try await command.run(by: $0) }
    }
}

struct SSH: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ssh",
        abstract: "Runs OpenSSH's ssh to a node, through a session.",
        usage: "muster ssh [--profile NAME] [--reason TEXT] [USER@]NODE [SSH ARGUMENT …]",
        discussion: """
            The node's SSH server has to run, but need not be reachable. Everything behind the node is for ssh.

            For ssh, scp, sftp and rsync themselves, in ~/.ssh/config:
              Host mi-* web1 db1
                ProxyCommand muster ssh-proxy %h %p

            Examples:
              muster ssh admin@web1
              muster ssh web1 -L 8080:localhost:80 uptime
            """)

    @Option(help: "The AWS profile that names controller and keys.") var profile: String?
    @Option(help: "Why, for the record.") var reason: String?
    @Argument(help: "A node's id, Name tag or name, and the user there.", completion: .nodes) var destination: String
    @Argument(parsing: .captureForPassthrough, help: "For ssh.") var arguments: [String] = []

    /// Asynchronous for the sake of its completions.
    func run() async throws {
        try SSHCommand.run(destination: destination, arguments: arguments, profile: profile, reason: reason)
    }
}

struct SSHProxy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ssh-proxy",
        abstract: "Connects its input and output to a port of a node: the ProxyCommand of ssh.",
        discussion: """
            In ~/.ssh/config:
              Host mi-* web1 db1
                ProxyCommand muster ssh-proxy %h %p
            """)

    @OptionGroup var connection: SessionConnection
    @Option(help: "Why, for the record.") var reason: String?
    @Argument(help: "A node's id, Name tag or name.", completion: .nodes) var node: String
    @Argument(help: "The port of the SSH server.") var port: Int = 22

    func validate() throws {
        guard (1...65_535).contains(port) else { throw ValidationError("A port is a number from 1 to 65535.") }
    }

    func run() async throws {
        let request = SessionRequest(node: node, document: "AWS-StartSSHSession", parameters: ["portNumber": ["\(port)"]], reason: reason)
        try await connection.with { try await AttachedSession(.connection).run(request, by: $0) }
    }
}

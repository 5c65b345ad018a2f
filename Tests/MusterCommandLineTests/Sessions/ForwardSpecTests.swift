import MusterCommandLine
import Testing

@Suite struct ForwardSpecTests {
    @Test func forms() throws {
        func check(_ text: String, _ local: ForwardSpec.Local, _ remote: ForwardSpec.Remote) throws {
            let spec = try ForwardSpec(text)
            #expect(spec.local == local && spec.remote == remote, "\(text)")
        }
        try check("80", .port(80), .port(80))
        try check("8080:80", .port(8080), .port(80))
        try check(":80", .port(0), .port(80))
        try check("0:80", .port(0), .port(80))
        try check("8080:db.internal:5432", .port(8080), .host("db.internal", 5432))
        try check("8080:[fe80::1]:80", .port(8080), .host("fe80::1", 80))
        try check("/var/run/docker.sock", .port(0), .socket("/var/run/docker.sock"))
        try check("2375:/var/run/docker.sock", .port(2375), .socket("/var/run/docker.sock"))
        try check("./d.sock:/var/run/docker.sock", .socket("./d.sock"), .socket("/var/run/docker.sock"))
        try check("/tmp/pg:db:5432", .socket("/tmp/pg"), .host("db", 5432))
    }

    @Test(arguments: ["", "0", "65536", "x", "80:", "80:x", "1:2:3:4", "8080::80", "8080:[::1:80", "8080:/a:80", "-1:80", "+1:80", "８0"])
    func refused(_ text: String) {
        #expect(throws: CommandLineError.self) { try ForwardSpec(text) }
    }

    @Test func whatIsAsked() throws {
        let host = try ForwardSpec("0:db:5432")
        #expect(host.document == "AWS-StartPortForwardingSessionToRemoteHost")
        #expect(host.parameters == ["host": ["db"], "portNumber": ["5432"]])
        #expect(try ForwardSpec("80").document == "AWS-StartPortForwardingSession")
        #expect(try ForwardSpec("/s").parameters == ["socketPath": ["/s"]])
    }

    @Test func quoting() {
        #expect(ShellWords.join(["ls", "-l", "a b", "it's", "", "$HOME", "é"]) == #"ls -l 'a b' 'it'\''s' '' '$HOME' 'é'"#)
        #expect(
            SSHCommand.proxyCommand(executable: "/opt/my muster", profile: "p%q", reason: nil, node: "web1")
                == "'/opt/my muster' ssh-proxy --profile p%%q -- web1 %p")
        #expect(SSHCommand.node(of: "me@corp@web1") == "web1" && SSHCommand.node(of: "web1") == "web1")
    }

    @Test func copies() throws {
        let up = try CopyPlan(["a", "./b:c", "web1:~/x"])
        #expect(up.isUpload && up.node == "web1" && up.sources == ["a", "./b:c"] && up.destination == "x" && up.wantsFolder)
        let down = try CopyPlan(["web1:/etc/hosts", "."])
        #expect(!down.isUpload && down.sources == ["/etc/hosts"] && !down.wantsFolder)
        #expect(try CopyPlan(["web1:", "x"]).sources == ["."])
        for bad in [["a"], ["a", "b"], ["n:a", "n:b"], ["n:a", "m:b", "c"], [":a", "b"], ["a", ""]] {
            #expect(throws: CommandLineError.self, "\(bad)") { try CopyPlan(bad) }
        }
    }
}

import Foundation
import Glibc
import Logging
import MusterController
import MusterCrypto
import Testing

@Suite struct ControllerSetupTests {
    private func setup(_ directory: TemporaryDirectory, profile: String? = nil) throws -> ControllerSetup {
        var configuration = ControllerConfiguration()
        configuration.dataDirectory = directory.file("data")
        return try ControllerSetup(configuration: configuration, names: ["controller.example", "192.0.2.1"], profileDirectory: profile)
    }

    @Test func initMakesWhatServeNeedsAndCheckFindsItGood() async throws {
        let directory = try TemporaryDirectory()
        let setup = try setup(directory)
        let outcome = try await setup.run()
        #expect(outcome.endpoint == "https://controller.example:8443")
        let authority = try Certificate(pem: try DataDirectory.text(at: directory.file("data/ca.pem")))
        #expect(outcome.pin == "sha256:" + Hex.encode(authority.fingerprint))
        #expect(authority.isCertificateAuthority)
        let config = try DataDirectory.text(at: outcome.profileDirectory + "/config")
        #expect(config.contains("endpoint_url = https://controller.example:8443\n"))
        #expect(config.contains("ca_bundle = \(outcome.profileDirectory)/ca.pem\n"))
        #expect(
            try DataDirectory.text(at: outcome.profileDirectory + "/credentials").contains("aws_access_key_id = \(outcome.accessKeyID)\n"))
        // What else listens on this machine is no business of the test.
        var free = setup.configuration
        free.listeners[0].port = 0
        let findings = await ControllerCheck(configuration: free).run()
        #expect(findings.allSatisfy { $0.kind == .good }, "\(findings)")
    }

    @Test func aSecondInitChangesNothing() async throws {
        let directory = try TemporaryDirectory()
        _ = try await setup(directory).run()
        let before = try DataDirectory.text(at: directory.file("data/ca.pem"))
        await #expect(throws: ControllerError.self) { try await setup(directory).run() }
        #expect(try DataDirectory.text(at: directory.file("data/ca.pem")) == before)
    }

    /// A new CA under a store that is in use would cut every agent off for good.
    @Test func aLostAuthorityIsNotReplaced() async throws {
        let directory = try TemporaryDirectory()
        _ = try await setup(directory).run()
        try FileManager.default.removeItem(atPath: directory.file("data/ca.pem"))
        await #expect(throws: ControllerError.self) { try await setup(directory).run() }
        #expect(!FileManager.default.fileExists(atPath: directory.file("data/ca.pem")))
    }

    @Test func somebodysProfileIsNotOverwritten() async throws {
        let directory = try TemporaryDirectory()
        try DataDirectory(directory.file("aws")).create()
        try DataDirectory.write("[default]\n", to: directory.file("aws/credentials"))
        await #expect(throws: ControllerError.self) { try await setup(directory, profile: directory.file("aws")).run() }
        #expect(!FileManager.default.fileExists(atPath: directory.file("data")))
    }

    @Test(arguments: ["", "a b", "-x", "x_y", "a..b", "../x", "a/b", String(repeating: "a", count: 64)])
    func aNameIsADNSNameOrAnAddress(_ name: String) {
        #expect(!ControllerConfiguration.isName(name))
    }

    /// `check` said ok to all of these, and `serve` refused them or hung.
    @Test(arguments: ["foo", "another account", "no keys", "syslog without port", "no folder", "region", "port in use"])
    func checkAndServeRefuseTheSame(what: String) async throws {
        let directory = try TemporaryDirectory()
        let setup = try setup(directory)
        _ = try await setup.run()
        var configuration = setup.configuration
        configuration.listeners = [.init(address: "127.0.0.1", port: 0)]
        let taken = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(taken) }
        switch what {
        case "foo": configuration.listeners[0].address = "foo.invalid"
        case "another account": configuration.account = "999999999999"
        case "no keys":
            try DataDirectory.write("\n", to: directory.file("s3"))
            configuration.outputS3Endpoint = "https://s3.example"
            configuration.outputS3CredentialsFile = directory.file("s3")
        case "syslog without port": configuration.auditSyslog = "tcp:127.0.0.1:"
        case "no folder": configuration.auditFolder = directory.file("absent/trail")
        case "region": configuration.regions = ["x y"]
        default:
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = inet_addr("127.0.0.1")
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    _ = (bind(taken, $0, length), listen(taken, 1), getsockname(taken, $0, &length))
                }
            }
            configuration.listeners[0].port = Int(UInt16(bigEndian: address.sin_port))
        }
        let findings = await ControllerCheck(configuration: configuration).run()
        #expect(findings.contains { $0.kind == .bad }, "\(findings)")
        let controller = Controller(configuration: configuration, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        let error = await #expect(throws: (any Error).self) { try await controller.run() }
        let words = error.map { "\($0)" } ?? ""
        for foreign in ["errno", "descriptor:", "NSCocoa", "NIO", "Error("] { #expect(!words.contains(foreign), "\(words)") }
    }

    @Test func checkTellsWhatIsWrong() async throws {
        let directory = try TemporaryDirectory()
        let setup = try setup(directory)
        let empty = await ControllerCheck(configuration: setup.configuration).run()
        #expect(empty.contains { $0.kind == .bad && $0.text.contains("muster-controller init") })
        _ = try await setup.run()
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: directory.file("data/ca-key.pem"))
        let open = await ControllerCheck(configuration: setup.configuration).run()
        #expect(open.contains { $0.kind == .bad && $0.text.contains("chmod 600") })
    }
}

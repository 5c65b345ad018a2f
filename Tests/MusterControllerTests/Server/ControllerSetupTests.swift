import Foundation
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
        let findings = await ControllerCheck(configuration: setup.configuration).run()
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

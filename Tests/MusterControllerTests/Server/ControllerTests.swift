import Foundation
import Logging
import MusterCrypto
import MusterWire
import ServiceLifecycle
import Testing

@testable import MusterController

/// The whole controller, composed: init, serve, stop, and serve again.
@Suite(.serialized, .timeLimit(.minutes(2))) struct ControllerTests {
    private struct Setting: Sendable {
        let directory: TemporaryDirectory
        let configuration: ControllerConfiguration

        init() throws {
            directory = try TemporaryDirectory()
            var configuration = ControllerConfiguration()
            configuration.dataDirectory = directory.file("data")
            configuration.names = ["localhost"]
            configuration.listeners = [.init(address: "127.0.0.1", port: 0)]
            self.configuration = configuration
        }

        func initialise() async throws {
            _ = try await ControllerSetup(configuration: configuration, names: [], profileDirectory: nil).run()
        }

        var listening: [String] {
            ((try? DataDirectory.text(at: directory.file("data/listening"))) ?? "").split(separator: "\n").map(String.init)
        }

        /// Serves while `body` runs.
        func serve(_ body: @escaping @Sendable ([String]) async throws -> Void) async throws {
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            let controller = Controller(configuration: configuration, logger: logger)
            try await withThrowingTaskGroup(of: Bool.self) { group in
                group.addTask {
                    try await controller.run()
                    return false
                }
                group.addTask {
                    for _ in 0..<2_000 where listening.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
                    try await body(listening)
                    return true
                }
                _ = try await group.next()
                group.cancelAll()
                while let _ = try? await group.next() {}
            }
        }

        func curl(_ url: String, _ arguments: [String] = [], bundle: String? = nil) async throws -> String {
            let result = try await Program.run(
                "/usr/bin/curl", ["-sS", "--max-time", "10", "--cacert", bundle ?? directory.file("data/ca.pem")] + arguments + [url])
            return String(decoding: result.output, as: UTF8.self) + result.errors
        }

        func fence() async throws -> String? {
            let database = try SQLiteDatabase(path: directory.file("data/controller.sqlite"))
            defer { try? database.close() }
            return try await database.read { tx in try MetaStore.value(.dispatchFence, in: tx) }
        }
    }

    @Test func aDirectoryWithoutControllerIsNotServed() async throws {
        let setting = try Setting()
        await #expect(throws: ControllerError.self) { try await setting.serve { _ in } }
    }

    @Test func itServesTwiceAndEveryTimeWithAHigherFence() async throws {
        let setting = try Setting()
        try await setting.initialise()
        for run in 1...2 {
            try await setting.serve { addresses in
                #expect(addresses.count == 1)
                #expect(try await setting.curl("https://\(addresses[0])/healthz") == "ok\n")
                let profile = try OperatorFiles(setting.directory.file("data/profile"))
                #expect(
                    try await profile.call("DescribeInstanceInformation", at: addresses[0], setting.directory.file("data/ca.pem"))
                        == #"{"InstanceInformationList":[]}"#)
            }
            #expect(setting.listening.isEmpty)
            #expect(try await setting.fence() == String(run))
        }
    }

    @Test func aSecondControllerInTheSameDirectoryIsRefused() async throws {
        let setting = try Setting()
        try await setting.initialise()
        try await setting.serve { _ in
            await #expect(throws: ControllerError.self) { try await setting.serve { _ in } }
            #expect(setting.listening.count == 1)
        }
    }

    /// Operators may be shown a certificate of another authority, which is read again when it has been replaced.
    @Test func operatorsCertificateComesFromFilesAndIsReloaded() async throws {
        let directory = try TemporaryDirectory()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let seconds = Timestamp.now().milliseconds / 1000
        let authority = try CertificateAuthority.create(
            commonName: "Company CA", notBefore: seconds - 60, notAfter: seconds + 3600, key: .generate())
        func issue(_ name: String) throws {
            let key = try PrivateKey.generate()
            let leaf = try authority.issue(
                CertificateTemplate(commonName: name, dnsNames: [name], notBefore: seconds - 60, notAfter: seconds + 3600, usage: .server),
                for: key.publicKey)
            try DataDirectory.write(leaf.pem() + authority.certificate.pem(), to: directory.file("server.pem"))
            try DataDirectory.write(key.pem(), to: directory.file("server-key.pem"))
        }
        try issue("first.example")
        let certificate = try ServerCertificate(
            .files(certificate: directory.file("server.pem"), key: directory.file("server-key.pem")), clientAuthorities: nil, logger: logger
        )
        #expect(certificate.leaf.dnsNames == ["first.example"])
        try issue("second.example")
        certificate.reload()
        #expect(certificate.leaf.dnsNames == ["second.example"])
        try DataDirectory.write("nonsense", to: directory.file("server.pem"))
        certificate.reload()
        #expect(certificate.leaf.dnsNames == ["second.example"], "a wrong file leaves the old certificate in use")
    }

    private struct Failing: Service {
        func run() async throws {
            try await Task.sleep(for: .milliseconds(20))
            throw ControllerError.noCertificate
        }
    }

    private struct Leaving: Service {
        func run() async throws {}
    }

    /// Listens to a graceful shutdown and to nothing else.
    private struct Patient: Service {
        func run() async throws {
            let (stream, end) = AsyncStream.makeStream(of: Void.self)
            await withGracefulShutdownHandler {
                for await _ in stream {}
            } onGracefulShutdown: {
                end.finish()
            }
        }
    }

    @Test(arguments: [true, false]) func aServiceThatEndsByItselfEndsTheControllerWithItsError(fails: Bool) async throws {
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        await #expect(throws: ControllerError.self) {
            try await Controller.serve([Patient(), fails ? Failing() : Leaving(), Patient()], logger: logger)
        }
    }

    /// Of two listeners one cannot be bound: the other one must not keep the group waiting.
    @Test func aFailureIsNotHeldBackByThoseThatStillRun() async throws {
        await #expect(throws: ControllerError.self) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await Task.sleep(for: .seconds(3_600)) }
                group.addTask { throw ControllerError.noCertificate }
                try await group.waitForAllOrAFailure()
            }
        }
    }

    @Test func aServerCertificateIsNotRenewedBeforeHalfOfItsLifeIsOver() throws {
        let now = Timestamp.now()
        let seconds = now.milliseconds / 1000
        let authority = try CertificateAuthority.create(
            commonName: "CA", notBefore: seconds - 60, notAfter: seconds + 1_000_000, key: .generate())
        let certificate = try ServerCertificate(
            .authority(AuthoritySet(issuing: authority), names: ["localhost"], hours: 24), clientAuthorities: nil, now: now,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        #expect(!certificate.isDue(now: now.adding(seconds: 600)))
        #expect(!certificate.isDue(now: now.adding(seconds: 11 * 3_600)))
        #expect(certificate.isDue(now: now.adding(seconds: 12 * 3_600 + 1)))
    }

    /// The profile that init wrote, used by a client that signs with it.
    private struct OperatorFiles {
        let credentials: Credentials

        init(_ directory: String) throws {
            var values: [String: String] = [:]
            for line in try DataDirectory.text(at: directory + "/credentials").split(separator: "\n") {
                let pair = line.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
                if pair.count == 2 { values[pair[0]] = pair[1] }
            }
            credentials = Credentials(
                accessKeyID: values["aws_access_key_id"] ?? "", secretAccessKey: values["aws_secret_access_key"] ?? "")
        }

        func call(_ operation: String, at address: String, _ bundle: String) async throws -> String {
            let result = try await Program.run(
                "/usr/bin/curl",
                [
                    "-sS", "--max-time", "10", "--cacert", bundle, "--aws-sigv4", "aws:amz:us-east-1:ssm", "--user",
                    "\(credentials.accessKeyID):\(credentials.secretAccessKey)",
                    "-H", "Content-Type: application/x-amz-json-1.1", "-H", "X-Amz-Target: AmazonSSM.\(operation)", "-d", "{}",
                    "https://\(address)/",
                ])
            return String(decoding: result.output, as: UTF8.self) + result.errors
        }
    }
}

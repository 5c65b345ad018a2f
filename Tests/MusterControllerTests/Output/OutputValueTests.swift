import MusterDocuments
import MusterWire
import Testing

@testable import MusterController

@Suite struct OutputValueTests {
    private let command = CommandID("01234567-89ab-cdef-0123-456789abcdef")
    private let node = NodeID("mi-0123456789abcdef0")

    private func key(_ step: String) throws -> OutputKey? {
        let document = try #require(BuiltInDocuments.named("AWS-RunShellScript")).document
        return OutputKey(command: try #require(command), node: try #require(node), step: step, stream: .standardOutput, in: document)
    }

    @Test func objectKeysAreThoseOfSystemsManager() throws {
        let key = try #require(try key("runShellScript"))
        let tail = "01234567-89ab-cdef-0123-456789abcdef/mi-0123456789abcdef0/awsrunShellScript/runShellScript/stdout"
        #expect(key.objectKey(prefix: "") == tail)
        #expect(key.objectKey(prefix: "a/b") == "a/b/" + tail)
        #expect(key.objectKey(prefix: "a/") == "a/" + tail)
    }

    @Test(arguments: ["", "..", "other", "runShellScript/..", "../runShellScript", "runShellScript\0"])
    func onlyStepsOfTheDocumentHaveOutputs(step: String) throws {
        #expect(try key(step) == nil)
    }

    @Test func bucketsAndPrefixes() {
        for name in ["abc", "a-b.c1", String(repeating: "a", count: 63)] { #expect(ObjectStore.isBucket(name)) }
        for name in ["", "ab", "Abc", "a_b", "-ab", "ab-", "a..b", "a/b", String(repeating: "a", count: 64)] {
            #expect(!ObjectStore.isBucket(name))
        }
        for prefix in ["", "a", "a/b c/ä", "a/"] { #expect(ObjectStore.isPrefix(prefix)) }
        for prefix in ["/a", "..", "a/../b", "./a", "a//b", "a\n"] { #expect(!ObjectStore.isPrefix(prefix)) }
    }

    @Test func outputsGoWhereTheyMayAndNeverToTheAuditTrail() throws {
        let keys = ["AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"]
        var configuration = ControllerConfiguration()
        configuration.outputS3Endpoint = "http://127.0.0.1:5000"
        configuration.outputS3Bucket = "usual"
        configuration.auditS3Bucket = "audit"
        let any = try #require(try ObjectStore(configuration, environment: keys))
        #expect(any.takesOutputs("usual") && any.takesOutputs("other") && !any.takesOutputs("audit"))
        configuration.outputS3Buckets = ["reports"]
        let some = try #require(try ObjectStore(configuration, environment: keys))
        #expect(some.takesOutputs("usual") && some.takesOutputs("reports") && !some.takesOutputs("other") && !some.takesOutputs("audit"))
        for (bucket, buckets) in [("audit", []), ("usual", ["audit"]), ("usual", ["A_b"])] {
            (configuration.outputS3Bucket, configuration.outputS3Buckets) = (bucket, buckets)
            #expect(throws: ControllerError.self) { try ObjectStore(configuration, environment: keys) }
        }
    }

    @Test func aStoreNeedsAnEndpointAndKeys() throws {
        var configuration = ControllerConfiguration()
        #expect(try ObjectStore(configuration, environment: [:]) == nil)
        configuration.outputS3Bucket = "abc"
        #expect(throws: ControllerError.self) { try ObjectStore(configuration, environment: [:]) }
        configuration.outputS3Endpoint = "http://127.0.0.1:5000"
        #expect(throws: ControllerError.self) { try ObjectStore(configuration, environment: [:]) }
        let keys = ["AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"]
        let store = try #require(try ObjectStore(configuration, environment: keys))
        #expect(store.url("b", "a b/ä") == "http://127.0.0.1:5000/b/a%20b/%C3%A4")
        configuration.outputS3Endpoint = "https://s3.example.org"
        configuration.outputS3PathStyle = false
        #expect(try ObjectStore(configuration, environment: keys)?.url("b", "k") == "https://b.s3.example.org/k")
        for bad in ["s3.example.org", "https://", "https://a:b", "https://user@host", "https://host/path", "ftp://host"] {
            configuration.outputS3Endpoint = bad
            #expect(throws: ControllerError.self) { try ObjectStore(configuration, environment: keys) }
        }
    }

    @Test func aWatcherFarBehindIsTakenToTheEnd() {
        let stored = { (length: Int64) in StoredOutput(step: "s", stream: .standardOutput, state: .uploading, length: length) }
        #expect(OutputRoutes.start(0, stored(100)) == (0, 0))
        #expect(OutputRoutes.start(500, stored(100)) == (100, 0))
        let length = OutputRoutes.farBehind + 1001
        #expect(
            OutputRoutes.start(1000, stored(length)) == (length - OutputRoutes.keptWhenBehind, length - OutputRoutes.keptWhenBehind - 1000))
    }

    @Test func manyReadsAreOneEvent() async throws {
        let fixture = try await EnrolmentFixture()
        let ledger = ReadLedger()
        let time = Timestamp(milliseconds: 1_000_000)
        func read(_ resource: String, after seconds: Int64) async throws -> Bool {
            let caller = Caller(accessKeyID: "AKIA", userName: "jane", arn: "arn:x", sourceAddress: "", userAgent: "")
            return try await ledger.write(
                [
                    AuditEvent(
                        time: time.adding(seconds: seconds), caller: caller, requestID: "r", region: "", operation: "GetCommandOutput",
                        resource: resource, outcome: .success)
                ], in: fixture.database)
        }
        #expect(try await read("a", after: 0))
        #expect(try await !read("a", after: 599))
        #expect(try await read("b", after: 0))
        #expect(try await read("a", after: 600))
        #expect(try await fixture.audit("GetCommandOutput").count == 3)
        // What could not be written has not been read: nobody goes on because somebody else was first.
        try await fixture.database.write { tx in try tx.execute("ALTER TABLE audit_head RENAME TO elsewhere", []) }
        for _ in 0..<2 { await #expect(throws: (any Error).self) { _ = try await read("c", after: 0) } }
    }

    @Test func theStoresAnswerIsReadWithoutAParser() {
        #expect(ObjectUpload.element("UploadId", in: "<x><UploadId>a+b</UploadId></x>") == "a+b")
        #expect(ObjectUpload.element("UploadId", in: "<UploadId>a") == nil)
    }
}

import MusterCrypto
import MusterWire
import Testing

@testable import MusterController

@Suite struct DocumentTests {
    let documents = DocumentOperations(pageTokenKey: [UInt8](repeating: 1, count: 32))
    let name = "AWS-RunShellScript"
    let context = OperationContext(
        caller: .anonymous(sourceAddress: "", userAgent: ""), requestID: "", now: Timestamp(milliseconds: 0), region: "", account: "")

    func code(_ body: () async throws -> Void) async -> String? {
        do {
            try await body()
            return nil
        } catch { return (error as? APIError)?.code }
    }

    @Test(arguments: [nil, "$LATEST", "$DEFAULT", "1"])
    func getsEveryVersionThereIs(version: String?) async throws {
        let got = try await documents.get(.init(name: name, documentVersion: version), context)
        #expect(got.documentVersion == "1" && got.documentFormat == "JSON" && got.documentType == "Command" && got.status == "Active")
        let content = try JSONCoding.decode([String: JSONValue].self, from: Array(got.content.utf8))
        #expect(content["schemaVersion"] == .string("2.2"))
    }

    @Test func getsByARN() async throws {
        let got = try await documents.get(.init(name: "arn:aws:ssm:eu-west-1::document/\(name)"), context)
        #expect(got.name == name)
    }

    @Test func refusesByName() async throws {
        #expect(await code { _ = try await documents.get(.init(name: "No-Such"), context) } == "InvalidDocument")
        #expect(await code { _ = try await documents.get(.init(name: "aws-runshellscript"), context) } == "InvalidDocument")
        #expect(await code { _ = try await documents.get(.init(name: name, documentVersion: "2"), context) } == "InvalidDocumentVersion")
        #expect(await code { _ = try await documents.get(.init(name: name, versionName: "v"), context) } == "InvalidDocumentVersion")
        #expect(
            await code { _ = try await documents.describe(.init(name: name, documentVersion: "9"), context) } == "InvalidDocumentVersion")
        do {
            _ = try await documents.get(.init(name: name, documentFormat: "YAML"), context)
            Issue.record("YAML is served")
        } catch let error as APIError {
            #expect(error.code == "ValidationException" && error.message.contains("YAML"))
        }
    }

    @Test func describes() async throws {
        let document = try await documents.describe(.init(name: name), context).document
        let content = try await documents.get(.init(name: name), context).content
        #expect(document.hash == Hex.encode(SHA256.hash(content)) && document.hashType == "Sha256")
        #expect(document.owner == "Amazon" && document.latestVersion == "1" && document.schemaVersion == "2.2")
        #expect(document.platformTypes.contains("Linux") && !document.platformTypes.contains("Windows"))
        let parameters = Dictionary(uniqueKeysWithValues: (document.parameters ?? []).map { ($0.name, $0) })
        #expect(parameters.mapValues(\.type) == ["commands": "StringList", "workingDirectory": "String", "executionTimeout": "String"])
        #expect(parameters["executionTimeout"]?.defaultValue == "3600")
    }

    @Test func lists() async throws {
        func listed(_ key: String, _ values: String...) async throws -> [String] {
            try await documents.list(.init(filters: [.init(key: key, values: values)]), context).documentIdentifiers.map(\.name)
        }
        #expect(try await documents.list(.init(), context).documentIdentifiers.map(\.name).contains(name))
        #expect(try await documents.list(.init(), context).nextToken == nil)
        #expect(try await listed("Owner", "Amazon") == [name])
        #expect(try await listed("Owner", "Self").isEmpty)
        #expect(try await listed("Name", "AWS-Run", "x") == [name])
        #expect(try await listed("Name", "RunShell").isEmpty)
        #expect(try await listed("SearchKeyword", "shell") == [name])
        #expect(try await listed("PlatformTypes", "Linux") == [name])
        #expect(try await listed("PlatformTypes", "Windows").isEmpty)
        #expect(try await listed("DocumentType", "Command") == [name])
        #expect(try await listed("DocumentType", "Session").isEmpty)
        #expect(try await listed("tag:a", "b").isEmpty)
        #expect(await code { _ = try await listed("Nonsense", "x") } == "InvalidFilterKey")
        #expect(await code { _ = try await listed("Owner", "Self", "Amazon") } == "ValidationException")
        let old = try await documents.list(.init(documentFilterList: [.init(key: "Owner", value: "Amazon")]), context)
        #expect(old.documentIdentifiers.map(\.name) == [name])
        #expect(
            await code {
                _ = try await documents.list(
                    .init(documentFilterList: [.init(key: "Owner", value: "Amazon")], filters: [.init(key: "Owner", values: ["Amazon"])]),
                    context)
            } == "ValidationException")
        #expect(await code { _ = try await documents.list(.init(nextToken: "x"), context) } == "InvalidNextToken")
    }
}

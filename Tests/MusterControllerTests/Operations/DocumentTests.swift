import MusterCrypto
import MusterDocuments
import MusterWire
import Testing

@testable import MusterController

@Suite(.timeLimit(.minutes(1))) struct DocumentTests {
    let fixture: EnrolmentFixture
    let name = "AWS-RunShellScript"
    let context: OperationContext

    init() async throws {
        fixture = try await EnrolmentFixture()
        context = fixture.context()
    }

    var documents: DocumentOperations { fixture.documents }
    var changes: DocumentChangeOperations { fixture.documentChanges }

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
        #expect(try await listed("Owner", "Amazon").count == 9)
        #expect(try await listed("Owner", "Self").isEmpty)
        #expect(try await listed("Name", "AWS-Run", "x") == [name])
        #expect(try await listed("Name", "RunShell").isEmpty)
        #expect(try await listed("SearchKeyword", "shell") == [name, "SSM-SessionManagerRunShell"])
        #expect(try await listed("PlatformTypes", "Linux").count == 9)
        #expect(try await !listed("PlatformTypes", "Windows").contains(name))
        #expect(try await listed("DocumentType", "Command") == [name])
        #expect(try await listed("DocumentType", "Session").count == 8)
        #expect(try await listed("tag:a", "b").isEmpty)
        #expect(await code { _ = try await listed("Nonsense", "x") } == "InvalidFilterKey")
        #expect(await code { _ = try await listed("Owner", "Self", "Amazon") } == "ValidationException")
        let old = try await documents.list(.init(documentFilterList: [.init(key: "Owner", value: "Amazon")]), context)
        #expect(old.documentIdentifiers.map(\.name).contains(name))
        #expect(
            await code {
                _ = try await documents.list(
                    .init(documentFilterList: [.init(key: "Owner", value: "Amazon")], filters: [.init(key: "Owner", values: ["Amazon"])]),
                    context)
            } == "ValidationException")
        #expect(await code { _ = try await documents.list(.init(nextToken: "x"), context) } == "InvalidNextToken")
    }

    // MARK: Operators' own

    func content(_ minutes: Int, type: String = "Standard_Stream") -> String {
        #"{"schemaVersion":"1.0","description":"d","sessionType":"\#(type)","inputs":{"idleSessionTimeout":"\#(minutes)"}}"#
    }

    func create(_ name: String, _ content: String? = nil, tags: [Tag]? = nil, versionName: String? = nil) async throws
        -> DocumentDescription
    {
        try await changes.create(
            .init(content: content ?? self.content(5), name: name, versionName: versionName, documentType: "Session", tags: tags),
            fixture.context()
        ).documentDescription
    }

    func update(
        _ name: String, _ content: String, version: String? = "$LATEST", versionName: String? = nil
    ) async throws -> DocumentDescription {
        try await changes.update(
            .init(content: content, name: name, versionName: versionName, documentVersion: version), fixture.context()
        ).documentDescription
    }

    func session(_ name: String) async throws -> (version: Int64, idle: Int) {
        let found = try await fixture.database.read { tx in try DocumentStore.session(named: name, in: tx) }
        return (found.version, try found.document.resolve([:]).preferences.idleMinutes)
    }

    @Test func createsAndShows() async throws {
        let created = try await create("ops", tags: [Tag(key: "team", value: "a")], versionName: "first")
        #expect(
            created.status == "Creating" && created.documentVersion == "1" && created.latestVersion == "1" && created.defaultVersion == "1")
        #expect(created.hash == Hex.encode(SHA256.hash(content(5))) && created.owner == "000000000001" && created.schemaVersion == "1.0")
        #expect(created.documentType == "Session" && created.tags == [Tag(key: "team", value: "a")])

        let described = try await documents.describe(.init(name: "ops"), context).document
        #expect(described.status == "Active" && described.versionName == "first" && described.description == "d")
        #expect(try await documents.get(.init(name: "ops", versionName: "first"), context).content == content(5))
        #expect(await code { _ = try await documents.get(.init(name: "ops", versionName: "second"), context) } == "InvalidDocumentVersion")
        func listed(_ key: String, _ value: String) async throws -> [String] {
            try await documents.list(.init(filters: [.init(key: key, values: [value])]), context).documentIdentifiers.map(\.name)
        }
        #expect(try await listed("Owner", "Self") == ["ops"])
        #expect(try await listed("tag:team", "a") == ["ops"])
        #expect(try await listed("tag:team", "b").isEmpty)
        #expect(try await session("ops") == (1, 5))
        #expect(try await session("arn:aws:ssm:local:000000000001:document/ops") == (1, 5))
        let audited = try await fixture.audit("CreateDocument")
        #expect(audited.count == 1 && audited.first?.resource == "ops")
    }

    @Test func refusesWhatItCannotKeep() async throws {
        func code(_ input: CreateDocument.Input) async -> String? { await self.code { _ = try await changes.create(input, context) } }
        func session(_ name: String, _ content: String) -> CreateDocument.Input {
            .init(content: content, name: name, documentType: "Session")
        }
        #expect(await code(.init(content: content(5), name: "ops")) == "ValidationException")
        #expect(await code(.init(content: content(5), name: "ops", documentType: "Automation")) == "ValidationException")
        #expect(await code(.init(content: "a: b", name: "ops", documentType: "Session", documentFormat: "YAML")) == "ValidationException")
        for name in ["AWS-Mine", "aws-mine", "AmazonX", "amzn-x", "AWSSupport-x"] {
            #expect(await code(session(name, content(5))) == "ValidationException")
        }
        #expect(await code(session("ops", "a: b")) == "InvalidDocumentContent")
        #expect(await code(session("ops", content(0))) == "InvalidDocumentContent")
        #expect(await code(session("ops", #"{"schemaVersion":"2.2"}"#)) == "InvalidDocumentSchemaVersion")
        #expect(await code(session("ops", content(5) + String(repeating: " ", count: 65_536))) == "MaxDocumentSizeExceeded")
        #expect(
            await code(session("ops", #"{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"kmsKeyId":"k"}}"#))
                == "InvalidDocumentContent")
        _ = try await create("ops")
        #expect(await code(session("ops", content(6))) == "DocumentAlreadyExists")
        #expect(try await fixture.audit("CreateDocument").count == 1)
    }

    @Test func membersThatAreNotServedAreNamed() throws {
        let input = try CreateDocument.decodeInput(
            Array(#"{"Content":"{}","Name":"ops","Attachments":[{"Key":"SourceUrl"}],"Requires":[{"Name":"x"}],"TargetType":"/x"}"#.utf8))
        #expect(input.unserved == ["Requires", "Attachments", "TargetType"])
        #expect(UpdateDocument.Input(targetType: "/").unserved == ["TargetType"])
        #expect(throws: APIError.self) { try CreateDocument.decodeInput(Array(#"{"Content":"{}","Name":"a/b"}"#.utf8)) }
        #expect(throws: APIError.self) { try CreateDocument.decodeInput(Array(#"{"Content":"","Name":"abc"}"#.utf8)) }
        #expect(throws: APIError.self) {
            try UpdateDocumentDefaultVersion.decodeInput(Array(#"{"Name":"abc","DocumentVersion":"$LATEST"}"#.utf8))
        }
    }

    @Test func aRetryIsAnsweredAndNotDoneAgain() async throws {
        let key = RetryKey(accessKeyID: "KEY", invocationID: "i", operation: CreateDocument.name, bodyDigest: "d")
        let input = CreateDocument.Input(content: content(5), name: "ops", documentType: "Session")
        let first = try await changes.create(input, fixture.context(retry: key))
        #expect(try await changes.create(input, fixture.context(retry: key)) == first)
        #expect(try await fixture.audit("CreateDocument").count == 1)
    }

    @Test func versions() async throws {
        _ = try await create("ops")
        let updated = try await update("ops", content(6), versionName: "six")
        #expect(updated.documentVersion == "2" && updated.latestVersion == "2" && updated.defaultVersion == "1")
        // The default has not changed.
        #expect(try await session("ops") == (1, 5))
        #expect(try await documents.get(.init(name: "ops"), context).documentVersion == "1")
        #expect(try await documents.get(.init(name: "ops", documentVersion: "$LATEST"), context).versionName == "six")
        #expect(await code { _ = try await update("ops", content(6)) } == "DuplicateDocumentContent")
        #expect(await code { _ = try await update("ops", content(7), version: "1") } == "InvalidDocumentVersion")
        #expect(await code { _ = try await update("ops", content(7), versionName: "six") } == "DuplicateDocumentVersionName")
        #expect(await code { _ = try await update("ops", content(99)) } == "InvalidDocumentContent")
        #expect(await code { _ = try await update("none", content(7)) } == "InvalidDocument")
        #expect(await code { _ = try await update("AWS-StartSSHSession", content(7)) } == "InvalidDocumentOperation")
        #expect(try await update("ops", content(5), version: "2").documentVersion == "3")

        func setDefault(_ version: String) async throws -> UpdateDocumentDefaultVersion.Output.Description {
            try await changes.setDefault(.init(name: "ops", documentVersion: version), fixture.context()).description
        }
        let now = try await setDefault("2")
        #expect(now.defaultVersion == "2" && now.defaultVersionName == "six")
        #expect(try await session("ops") == (2, 6))
        #expect(await code { _ = try await setDefault("9") } == "InvalidDocumentVersion")
        #expect(await code { _ = try await setDefault("99999999999999999999") } == "InvalidDocumentVersion")

        let page = try await documents.versions(.init(name: "ops", maxResults: 2), context)
        #expect(page.documentVersions.map(\.documentVersion) == ["3", "2"])
        #expect(page.documentVersions.map(\.isDefaultVersion) == [false, true])
        let rest = try await documents.versions(.init(name: "ops", maxResults: 2, nextToken: page.nextToken), context)
        #expect(rest.documentVersions.map(\.documentVersion) == ["1"] && rest.nextToken == nil)
        #expect(try await documents.versions(.init(name: name), context).documentVersions.map(\.documentVersion) == ["1"])
        #expect(await code { _ = try await documents.versions(.init(name: "none"), context) } == "InvalidDocument")
        #expect(try await fixture.audit("UpdateDocument").count == 2)
        #expect(try await fixture.audit("UpdateDocumentDefaultVersion").count == 1)
    }

    @Test func deletes() async throws {
        _ = try await create("ops", tags: [Tag(key: "a", value: "b")])
        _ = try await update("ops", content(6))
        func delete(_ version: String? = nil) async throws {
            _ = try await changes.delete(.init(name: "ops", documentVersion: version), fixture.context())
        }
        #expect(await code { try await delete("1") } == "InvalidDocumentOperation")
        #expect(await code { try await delete("$DEFAULT") } == "InvalidDocumentOperation")
        #expect(await code { try await delete("7") } == "InvalidDocumentVersion")
        try await delete("2")
        #expect(try await documents.describe(.init(name: "ops"), context).document.latestVersion == "1")
        // A number is not given twice.
        #expect(try await update("ops", content(7)).documentVersion == "3")
        try await delete()
        #expect(await code { _ = try await session("ops") } == "InvalidDocument")
        #expect(await code { try await delete() } == "InvalidDocument")
        #expect(
            await code { _ = try await changes.delete(.init(name: "AWS-StartSSHSession"), fixture.context()) } == "InvalidDocumentOperation"
        )
        // Its tags went with it.
        _ = try await create("ops")
        #expect(try await documents.describe(.init(name: "ops"), context).document.tags.isEmpty)
        #expect(try await fixture.audit("DeleteDocument").count == 2)
    }

    @Test func preferences() async throws {
        let name = "SSM-SessionManagerRunShell"
        #expect(try await session(name) == (1, 20))
        #expect(await code { _ = try await changes.delete(.init(name: name), fixture.context()) } == "InvalidDocumentOperation")
        // What is saved is in force; whoever makes the new version the default as well changes nothing.
        #expect(try await update(name, content(9)).documentVersion == "2")
        #expect(try await session(name) == (2, 9))
        _ = try await changes.setDefault(.init(name: name, documentVersion: "2"), fixture.context())
        #expect(try await session(name) == (2, 9))
        _ = try await changes.delete(.init(name: name), fixture.context())
        #expect(try await session(name) == (1, 20))
        // Or created, as on AWS before the console has made it.
        #expect(try await create(name, content(3)).defaultVersion == "1")
        #expect(try await session(name) == (1, 3))
        #expect(try await documents.list(.init(), context).documentIdentifiers.filter { $0.name == name }.count == 1)
    }

    @Test func aCommandDocumentStartsNoSession() async throws {
        #expect(await code { _ = try await session(name) } == "InvalidDocument")
        #expect(await code { _ = try await session("none") } == "InvalidDocument")
    }

    @Test func tagsOfOwnDocumentsChange() async throws {
        _ = try await create("ops")
        _ = try await fixture.tags.add(
            .init(resourceType: "Document", resourceID: "ops", tags: [Tag(key: "a", value: "1")]), fixture.context())
        func tags() async throws -> [Tag] {
            try await fixture.tags.list(.init(resourceType: "Document", resourceID: "ops"), fixture.context()).tagList
        }
        #expect(try await tags() == [Tag(key: "a", value: "1")])
        _ = try await fixture.tags.remove(.init(resourceType: "Document", resourceID: "ops", tagKeys: ["a"]), fixture.context())
        #expect(try await tags().isEmpty)
        #expect(
            await code {
                _ = try await fixture.tags.list(.init(resourceType: "Document", resourceID: "none"), fixture.context())
            } == "InvalidResourceId")
    }

    @Test func documentsAreBounded() async throws {
        let (now, limit) = (context.now, DocumentRules.maximumDocuments)
        try await fixture.database.write { tx in
            for index in 0..<limit {
                try DocumentStore.insert("doc\(index)", type: "Session", now: now, in: tx)
                try DocumentStore.append(
                    "doc\(index)", versionName: nil, displayName: nil, content: "{}", by: "", now: now, in: tx)
            }
        }
        #expect(await code { _ = try await create("one-more") } == "DocumentLimitExceeded")
    }
}

import Foundation
import Testing

/// Every seed and every finding once more. A finding's file stays for good.
@Suite struct ReplayTests {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()

    @Test(arguments: FuzzTarget.all.map(\.name))
    func everythingKnownIsHandled(name: String) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        var replayed = 0
        for kind in ["Corpus", "Findings"] {
            let files = try? FileManager.default.contentsOfDirectory(
                at: Self.folder.appending(path: kind).appending(path: name), includingPropertiesForKeys: nil)
            for file in files ?? [] {
                let bytes = Array(try Data(contentsOf: file))
                #expect(throws: Never.self, "\(file.path)") { try target.run(bytes) }
                replayed += 1
            }
        }
        #expect(replayed > 0, "\(name) has no seeds")
    }

    /// Seeds have to reach what they are for: cut anywhere they are handled too.
    @Test(arguments: FuzzTarget.all.map(\.name))
    func everyBeginningIsHandled(name: String) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        let files = try FileManager.default.contentsOfDirectory(
            at: Self.folder.appending(path: "Corpus").appending(path: name), includingPropertiesForKeys: nil)
        for file in files {
            let bytes = Array(try Data(contentsOf: file))
            for length in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 64)) {
                #expect(throws: Never.self, "\(file.path) to \(length)") { try target.run(Array(bytes.prefix(length))) }
            }
        }
    }
}

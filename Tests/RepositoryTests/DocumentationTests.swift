import Foundation
import Testing

@Suite struct DocumentationTests {
    static let pages =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "agent-config/README.md", "controller-config/README.md"]
        + Repository.files(below: "docs", ending: ".md").map { String($0.path.dropFirst(Repository.root.path.count + 1)) }

    @Test(arguments: pages)
    func linksLeadSomewhere(page: String) throws {
        let text = try Repository.text(page)
        let folder = Repository.root.appending(path: page).deletingLastPathComponent()
        for match in text.matches(of: /\]\(([^)#\s]+)(#[^)]*)?\)/) {
            let target = String(match.output.1)
            guard !target.contains("://"), !target.hasPrefix("mailto:") else { continue }
            #expect(FileManager.default.fileExists(atPath: folder.appending(path: target).path), "\(page) links to \(target)")
        }
    }

    @Test func everyServedOperationHasARowAndATest() throws {
        let compatibility = try Repository.text("docs/compatibility.md")
        let tests = try
            (Repository.files(below: "Tests", ending: ".py") + Repository.files(below: "Tests/MusterControllerTests", ending: ".swift"))
            .map { try String(contentsOf: $0, encoding: .utf8) }.joined()
        let served = try Repository.files(below: "Sources/MusterController/Operations", ending: ".swift")
            .flatMap { file in
                try String(contentsOf: file, encoding: .utf8).matches(of: /register\(\s*([A-Z][A-Za-z]+)\.self/).map { String($0.output.1) }
            }
        #expect(served.count >= 20)
        for operation in served {
            #expect(compatibility.contains("| `\(operation)` |"), "docs/compatibility.md has no row for \(operation)")
            let snake = operation.replacing(/([a-z])([A-Z])/) { "\($0.output.1)_\($0.output.2)" }.lowercased()
            #expect(tests.contains(operation) || tests.contains(snake), "no test mentions \(operation)")
        }
    }

    /// Those of IAM have names of two kinds, for users and for groups.
    @Test func everyOperationOfTheQueryProtocolIsDocumented() throws {
        let compatibility = try Repository.text("docs/compatibility.md")
        let source = try Repository.text("Sources/MusterController/Operations/CallerOperations.swift")
        var names = source.matches(of: /\b(?:change|read)\(\s*"([A-Za-z]+)"/).map { String($0.output.1) }
        for match in source.matches(of: /\b(?:change|read)\(\s*"([A-Za-z]+)\\\(kind\)([A-Za-z]+)"/) {
            names += ["User", "Group"].map { match.output.1 + $0 + match.output.2 }
        }
        #expect(names.count >= 40)
        for name in names { #expect(compatibility.contains("`\(name)`"), "docs/compatibility.md does not name \(name)") }
    }

    @Test func nothingSpeaksOfOneMachine() throws {
        for folder in ["Sources", "Tests", "docs", "agent-config", "controller-config", "Benchmarks"] {
            for file in Repository.files(below: folder, ending: "")
            where ["swift", "md", "py", "json5", "sh", "service"].contains(file.pathExtension) {
                let text = try String(contentsOf: file, encoding: .utf8)
                #expect(!text.contains("/" + "work/") && !text.contains("/" + "root/."), "\(file.path)")
            }
        }
    }
}

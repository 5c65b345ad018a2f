import Foundation
import Testing

/// docs/architecture.md, "What may import what", held against every import of every file.
@Suite struct DependencyLawTests {
    static let system: Set<String> = ["Glibc", "Dispatch"]
    static let foundation: Set<String> = ["FoundationEssentials"]
    static let nio: Set<String> = ["NIOCore", "NIOPosix", "NIOTLS", "NIOHTTP1", "NIOWebSocket", "NIOConcurrencyHelpers"]

    static let law: [String: Set<String>] = [
        "MusterCrypto": ["COpenSSL"],
        "MusterTLS": ["COpenSSL", "MusterCrypto", "NIOCore", "NIOConcurrencyHelpers", "NIOTLS"],
        // An atomic counter. Its Mutex is nothing that the thread sanitizer understands: docs/decisions/0092.
        "MusterWire": ["MusterCrypto", "NIOCore", "NIOConcurrencyHelpers", "HTTPTypes", "Synchronization", "FoundationEssentials"],
        "MusterDocuments": ["FoundationEssentials"],
        "MusterConfiguration": ["FoundationEssentials"],
        "MusterLogging": ["MusterWire", "Logging"],
        "MusterClient": nio.union(["MusterTLS", "MusterWire", "MusterCrypto", "HTTPTypes", "Logging", "FoundationEssentials"]),
        "MusterCopy": ["MusterWire", "MusterCrypto", "CLinux", "NIOCore"],
        "MusterAgent": nio.union([
            "MusterClient", "MusterCopy", "MusterWire", "MusterDocuments", "MusterConfiguration", "MusterLogging", "MusterCrypto",
            "MusterTLS",
            "CLinux", "CPAM",
            "ServiceLifecycle",
            "UnixSignals", "Logging", "FoundationEssentials",
        ]),
        "MusterController": nio.union([
            "NIOHTTPTypes", "NIOHTTPTypesHTTP1", "Foundation",
            "MusterTLS", "MusterWire", "MusterDocuments", "MusterConfiguration", "MusterLogging", "MusterCrypto", "CLinux", "Hummingbird",
            "HummingbirdCore", "HTTPTypes", "GRDB",
            "ServiceLifecycle", "Logging", "Metrics", "CoreMetrics", "UnixSignals", "FoundationEssentials",
        ]),
        "MusterCommandLine": [
            "MusterClient", "MusterCopy", "MusterWire", "MusterCrypto", "MusterTLS", "CLinux", "NIOCore", "NIOPosix",
            "NIOConcurrencyHelpers", "Logging", "FoundationEssentials",
        ],
        "muster": ["MusterCommandLine", "ArgumentParser"],
        "muster-agent": ["MusterAgent", "ArgumentParser"],
        "muster-controller": ["MusterController", "MusterLogging", "ArgumentParser", "Logging", "Metrics", "FoundationEssentials"],
    ]

    @Test(arguments: law.keys.sorted())
    func importsOnlyWhatTheLawAllows(module: String) throws {
        let allowed = Self.law[module, default: []].union(Self.system)
        let files = Repository.files(below: "Sources/\(module)", ending: ".swift")
        #expect(!files.isEmpty)
        for file in files {
            for imported in try imports(of: file) {
                #expect(allowed.contains(imported), "\(file.lastPathComponent) of \(module) imports \(imported)")
            }
        }
    }

    private func imports(of file: URL) throws -> [String] {
        try String(contentsOf: file, encoding: .utf8).split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard let position = words.firstIndex(of: "import"), position <= 2, !line.hasPrefix(" "), !line.hasPrefix("/"),
                words.count > position + 1
            else { return nil }
            // `import struct Module.Type` names a kind before the module.
            let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
            let name = kinds.contains(words[position + 1]) ? words[position + 2] : words[position + 1]
            return String(name.split(separator: ".")[0])
        }
    }

    /// What feeds our readers knows them, and what their inputs are made of.
    @Test func theFuzzerNeedsNoOtherPackages() throws {
        let allowed = Self.system.union(Self.nio).union(Self.law.keys).union([
            "CFuzzer", "HTTPTypes", "NIOEmbedded", "NIOHTTPTypes", "NIOHTTPTypesHTTP1",
        ])
        for file in Repository.files(below: "Fuzz/Targets", ending: ".swift") + Repository.files(below: "Fuzz/Driver", ending: ".swift") {
            for imported in try imports(of: file) {
                #expect(allowed.contains(imported), "\(file.lastPathComponent) imports \(imported)")
            }
        }
    }

    @Test func everyModuleIsUnderTheLaw() throws {
        let folders = try FileManager.default.contentsOfDirectory(atPath: Repository.root.appending(path: "Sources").path)
        for folder in folders where !folder.hasPrefix("C") {
            #expect(Self.law[folder] != nil, "\(folder) is not in the law")
        }
    }

    @Test func nothingIsPublic() throws {
        for file in Repository.files(below: "Sources", ending: ".swift") {
            for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
                let code = line.trimmingCharacters(in: .whitespaces)
                #expect(!code.hasPrefix("public ") && !code.hasPrefix("open class"), "\(file.lastPathComponent): \(code)")
            }
        }
    }
}

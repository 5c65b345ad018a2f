// swift-tools-version: 6.1
// The modules and what each may import are the law of docs/architecture.md; Tests/RepositoryTests holds every file against it.
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioWebSocket = Target.Dependency.product(name: "NIOWebSocket", package: "swift-nio")
let nioConcurrencyHelpers = Target.Dependency.product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let metrics = Target.Dependency.product(name: "Metrics", package: "swift-metrics")
let coreMetrics = Target.Dependency.product(name: "CoreMetrics", package: "swift-metrics")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore = Target.Dependency.product(name: "HummingbirdCore", package: "hummingbird")
let nioHTTPTypes = Target.Dependency.product(name: "NIOHTTPTypes", package: "swift-nio-extras")
let nioHTTPTypesHTTP1 = Target.Dependency.product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

/// Nothing is exported from an executable, so that the linker can drop what nobody calls, and identical functions become one:
/// a third less to map on every server.
let smaller = ["-use-ld=lld"] + ["--icf=all", "--no-export-dynamic", "-z", "pack-relative-relocs"].flatMap { ["-Xlinker", $0] }

func module(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource]? = nil) -> Target {
    .target(name: name, dependencies: dependencies, resources: resources, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource]? = nil) -> Target {
    .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: settings)
}

func executable(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies + [arguments], swiftSettings: settings,
        linkerSettings: [.unsafeFlags(smaller, .when(configuration: .release))])
}

let package = Package(
    name: "muster",
    products: [
        .executable(name: "muster", targets: ["muster"]),
        .executable(name: "muster-agent", targets: ["muster-agent"]),
        .executable(name: "muster-controller", targets: ["muster-controller"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    ],
    targets: [
        // C
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CPAM"),

        // Ground and wire
        module("MusterCrypto", ["COpenSSL"]),
        module("MusterTLS", ["COpenSSL", "MusterCrypto", nioCore, nioConcurrencyHelpers, nioTLS]),
        module("MusterWire", ["MusterCrypto", nioCore, nioConcurrencyHelpers, httpTypes]),

        // Shared
        module("MusterDocuments", [], resources: [.embedInCode("BuiltIn")]),
        module("MusterConfiguration", []),
        module("MusterLogging", ["MusterWire", logging]),
        module(
            "MusterClient",
            [
                "MusterTLS", "MusterWire", "MusterCrypto",
                httpTypes, nioCore, nioPosix, nioTLS, nioHTTP1, nioWebSocket, nioConcurrencyHelpers, logging,
            ]),
        module("MusterCopy", ["MusterWire", "MusterCrypto", "CLinux", nioCore]),

        // Sides
        module(
            "MusterAgent",
            [
                "MusterClient", "MusterCopy", "MusterWire", "MusterDocuments", "MusterConfiguration", "MusterLogging", "MusterCrypto",
                "CLinux",
                "CPAM", lifecycle, unixSignals, nioCore, nioPosix, nioHTTP1, nioConcurrencyHelpers, logging,
            ]),
        module(
            "MusterController",
            [
                "MusterTLS", "MusterWire", "MusterDocuments", "MusterConfiguration", "MusterLogging", "MusterCrypto", "CLinux",
                hummingbird, hummingbirdCore, httpTypes, grdb, lifecycle, unixSignals, logging, metrics, coreMetrics,
                nioCore, nioPosix, nioTLS, nioHTTP1, nioWebSocket, nioHTTPTypes, nioHTTPTypesHTTP1, nioConcurrencyHelpers,
            ]),
        module(
            "MusterCommandLine",
            [
                "MusterClient", "MusterCopy", "MusterWire", "MusterCrypto", "MusterTLS", "CLinux",
                nioCore, nioPosix, nioConcurrencyHelpers, logging,
            ]),

        // Executables: options in, library call, words out
        executable("muster", ["MusterCommandLine"]),
        executable("muster-agent", ["MusterAgent"]),
        executable("muster-controller", ["MusterController", "MusterLogging", logging, metrics]),

        // Tests
        tests("MusterCryptoTests", ["MusterCrypto"]),
        tests("MusterTLSTests", ["MusterTLS", "MusterCrypto", nioCore, nioPosix, nioEmbedded, nioTLS]),
        tests("MusterWireTests", ["MusterWire", "MusterCrypto", nioCore, httpTypes]),
        tests("MusterDocumentsTests", ["MusterDocuments"]),
        tests("MusterConfigurationTests", ["MusterConfiguration"]),
        tests("MusterLoggingTests", ["MusterLogging", "MusterWire", logging]),
        tests(
            "MusterClientTests",
            [
                "MusterClient", "MusterWire", "MusterTLS", "MusterCrypto",
                nioCore, nioPosix, nioHTTP1, nioWebSocket, nioConcurrencyHelpers, logging,
            ]),
        tests(
            "MusterAgentTests",
            [
                "MusterAgent", "muster-agent", "MusterWire", "MusterDocuments", "MusterConfiguration", "MusterClient", "MusterCrypto",
                "CLinux", nioCore, nioConcurrencyHelpers, lifecycle, logging,
            ]),
        tests(
            "MusterControllerTests",
            [
                "MusterController", "MusterWire", "MusterDocuments", "MusterConfiguration", "MusterCrypto", "MusterTLS",
                nioCore, nioPosix, nioConcurrencyHelpers, httpTypes, lifecycle, logging, coreMetrics,
            ]),
        tests("MusterCopyTests", ["MusterCopy", "MusterWire", "MusterCrypto", nioCore]),
        tests("MusterCommandLineTests", ["MusterCommandLine", "MusterWire"]),
        tests("RepositoryTests", []),
    ]
)

// Only `make bench` builds the benchmarks.
if Context.environment["MUSTER_BENCHMARKS"] != nil {
    package.targets.append(
        .executableTarget(
            name: "muster-benchmarks", dependencies: ["MusterController", "MusterWire", "MusterCrypto", nioCore, httpTypes, logging],
            path: "Benchmarks/Micro",
            swiftSettings: settings))
    package.targets.append(
        .executableTarget(
            name: "muster-swarm",
            dependencies: [
                "MusterAgent", "MusterClient", "MusterDocuments", "MusterWire", "MusterTLS", "MusterCrypto", "CLinux", arguments,
                unixSignals,
                logging, nioCore, nioPosix, nioHTTP1, nioConcurrencyHelpers,
            ],
            path: "Benchmarks/Swarm", swiftSettings: settings))
}

// Fuzz targets are sources of a test, which replays what is known, and with `make fuzz` of the fuzzer.
let fuzzed: [Target.Dependency] = [
    "MusterAgent", "MusterController", "MusterConfiguration", "MusterDocuments", "MusterWire", "MusterCrypto",
    nioCore, nioHTTP1, nioWebSocket, nioEmbedded, nioHTTPTypes, nioHTTPTypesHTTP1, httpTypes,
]
if Context.environment["MUSTER_FUZZ"] != nil {
    package.targets.append(.systemLibrary(name: "CFuzzer", path: "Fuzz/CFuzzer"))
    package.targets.append(
        .executableTarget(
            name: "muster-fuzz", dependencies: fuzzed + ["CFuzzer"], path: "Fuzz",
            exclude: ["CFuzzer", "Corpus", "Findings", "Tests", "README.md", "run.sh"], sources: ["Targets", "Driver"],
            swiftSettings: settings))
} else {
    package.targets.append(
        .testTarget(
            name: "FuzzTests", dependencies: fuzzed, path: "Fuzz",
            exclude: ["CFuzzer", "Corpus", "Findings", "Driver", "README.md", "run.sh"], sources: ["Targets", "Tests"],
            swiftSettings: settings))
}

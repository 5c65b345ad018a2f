import FoundationEssentials
import MusterConfiguration
import MusterController
import Testing

@Suite struct ControllerConfigurationTests {
    private func load(_ text: String, _ environment: [String: String] = [:]) throws -> ControllerConfiguration {
        try ConfigurationLoader.load(
            ControllerConfiguration.self, text: text, environmentPrefix: ControllerConfiguration.environmentPrefix, environment: environment
        )
    }

    @Test func anEmptyFileIsTheDefaults() throws {
        let configuration = try load("{}")
        #expect(configuration.listeners == [.init(address: "0.0.0.0", port: 8443)])
        #expect(configuration.maximumBodyBytes == 1 << 20)
    }

    /// The file that comes with the controller: every key, at its default. One that is left out would pass as one at its default.
    @Test func theFileThatComesWithItIsTheDefaults() throws {
        let file = "/" + #filePath.split(separator: "/").dropLast(4).joined(separator: "/") + "/controller-config/controller.json5"
        #expect(try ControllerConfiguration.load(path: file, environment: [:]) == ControllerConfiguration())
        let text = try String(contentsOfFile: file, encoding: .utf8)
        for key in ControllerConfiguration.schema.keys { #expect(text.contains("\n  \(key): "), "\(key)") }
        #expect(text.contains("\n      certificate: null,"))
        #expect(text.contains("\n      key: null,"))
    }

    @Test func listenersAndOverrides() throws {
        let configuration = try load(
            "{ listeners: [{ address: '::', port: 443, serves: ['operators'], certificate: '/c', key: '/k' }], }",
            ["MUSTER_CONTROLLER_DATA_DIRECTORY": "/srv", "MUSTER_CONTROLLER_LISTENERS__0__PORT": "444"])
        #expect(configuration.listeners == [.init(address: "::", port: 444, serves: ["operators"], certificate: "/c", key: "/k")])
        #expect(configuration.dataDirectory == "/srv")
    }

    @Test(arguments: [
        "{ listener: [] }", "{ listeners: [] }", "{ account: '1' }", "{ names: ['a b'] }", "{ listeners: [{ serves: [] }] }",
        "{ listeners: [{ serves: ['everyone'] }] }", "{ listeners: [{ certificate: '/c' }] }", "{ requestsPerSecond: 0 }",
        "{ metricsFrom: ['everybody'] }", "{ metricsFrom: ['10.0.0.0/33'] }",
    ])
    func whatIsWrongIsRefused(_ text: String) {
        #expect(throws: (any Error).self) { try load(text) }
    }

    @Test func addressesAsArguments() throws {
        #expect(try ControllerConfiguration.Listener(argument: "127.0.0.1:0") == .init(address: "127.0.0.1", port: 0))
        #expect(try ControllerConfiguration.Listener(argument: "[::1]:8443") == .init(address: "::1", port: 8443))
        for text in ["", "8443", ":8443", "x:", "x:99999", "x:-1"] {
            #expect(throws: ControllerError.self) { try ControllerConfiguration.Listener(argument: text) }
        }
    }
}

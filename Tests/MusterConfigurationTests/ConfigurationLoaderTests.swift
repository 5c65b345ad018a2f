import MusterConfiguration
import Testing

/// One of everything that a schema can say.
private struct Sample: Decodable, Equatable, ConfigurationKeys {
    struct Listener: Decodable, Equatable {
        var address: String
        var port: Int
        var serves: [String]?
    }

    var stateDirectory: String?
    var controller: String?
    var queuedJobs: Int?
    var ratio: Double?
    var isOn: Bool?
    var logLevel: String?
    var regions: [String]?
    var listeners: [Listener]?

    static let schema: [String: ConfigurationSchema] = [
        "stateDirectory": .string, "controller": .optional(.string), "queuedJobs": .integer(0...10), "ratio": .number(0...1),
        "isOn": .boolean, "logLevel": .choice(["info", "debug"]), "regions": .strings,
        "listeners": .list(.object(["address": .string, "port": .integer(0...65535), "serves": .strings])),
    ]
}

private func load(_ text: String, _ environment: [String: String] = [:], reserved: Set<String> = []) throws(ConfigurationError) -> Sample {
    try ConfigurationLoader.load(
        Sample.self, text: text, source: "sample.json5", environmentPrefix: "MUSTER_SAMPLE_", environment: environment, reserved: reserved)
}

private func failure(_ text: String, _ environment: [String: String] = [:]) -> String {
    do {
        _ = try load(text, environment)
        return "no error"
    } catch {
        return error.description
    }
}

@Suite struct ConfigurationLoaderTests {
    @Test func readsJSON5() throws {
        let sample = try load(
            """
            // A comment { with: "braces" }
            {
              stateDirectory: '/var/lib/"x"', /* another: { */
              "queuedJobs": 0x0A,
              ratio: .5, isOn: true, controller: null,
              regions: ["a", 'b // no comment',],
              listeners: [ { address: "::", port: 1, }, ],
            }
            """)
        #expect(sample.stateDirectory == #"/var/lib/"x""#)
        #expect(sample.queuedJobs == 10)
        #expect(sample.ratio == 0.5)
        #expect(sample.isOn == true)
        #expect(sample.controller == nil)
        #expect(sample.regions == ["a", "b // no comment"])
        #expect(sample.listeners == [.init(address: "::", port: 1)])
        #expect(try load("{}") == Sample())
    }

    @Test(arguments: [
        (
            "{\n\n // c\n stateDirectroy: 'x' }",
            "sample.json5: unknown key 'stateDirectroy' at line 4; did you mean 'stateDirectory'?"
        ),
        (
            "{ listeners: [\n{ address: 'x', port: 1 },\n{ address: 'x',\n prot: 1 } ] }",
            "sample.json5: unknown key 'listeners[1].prot' at line 4; did you mean 'listeners[1].port'?"
        ),
        ("{ queuedJobs: 1,\n queuedJobs: 2 }", "sample.json5: 'queuedJobs' at line 2 is given a second time; the first is at line 1."),
        ("{ queuedJobs: 1,\n 'queuedJobs': 2 }", "sample.json5: 'queuedJobs' at line 2 is given a second time; the first is at line 1."),
        ("{\n queuedJobs: '5' }", "sample.json5: 'queuedJobs' at line 2 must be a whole number from 0 to 10, and is a string."),
        ("{\n queuedJobs: 11 }", "sample.json5: 'queuedJobs' at line 2 must be a whole number from 0 to 10, and is 11."),
        ("{ queuedJobs: 1.5 }", "sample.json5: 'queuedJobs' at line 1 must be a whole number from 0 to 10, and is a number."),
        ("{ ratio: 2 }", "sample.json5: 'ratio' at line 1 must be a number from 0.0 to 1.0, and is 2."),
        ("{ isOn: 'yes' }", "sample.json5: 'isOn' at line 1 must be true or false, and is a string."),
        ("{ controller: 5 }", "sample.json5: 'controller' at line 1 must be a string, and is a whole number."),
        ("{ stateDirectory: null }", "sample.json5: 'stateDirectory' at line 1 must be a string, and is null."),
        ("{ logLevel: 'loud' }", "sample.json5: 'logLevel' at line 1 must be one of 'info', 'debug', and is another string."),
        ("{ regions: [\n'a',\n5] }", "sample.json5: 'regions[1]' at line 3 must be a string, and is a whole number."),
        ("{ regions: {} }", "sample.json5: 'regions' at line 1 must be a list, and is an object."),
        ("{ listeners: [ 5 ] }", "sample.json5: 'listeners[0]' at line 1 must be an object, and is a whole number."),
        ("[]", "sample.json5: the configuration must be an object, and is a list."),
        ("{ listeners: [ { address: 'x' } ] }", "sample.json5: 'listeners[0].port' is missing, and has no default. Add it."),
    ])
    func refuses(_ text: String, _ error: String) {
        #expect(failure(text) == error)
    }

    @Test func unlikeNamesAreListedInstead() {
        #expect(
            failure("{ entirelyDifferent: 1 }").hasSuffix(
                "known here: controller, isOn, listeners, logLevel, queuedJobs, ratio, regions, stateDirectory."))
    }

    @Test(arguments: [
        ("", "line 1: the text ends where a value is expected"), ("{\n", "line 2: the '{' of line 1 is never closed"),
        ("{\n regions: }", "line 2: a value is expected; text needs quotes"),
        ("{\n regions: SECRET }", "line 2: a value is expected; text needs quotes"),
        ("{\n queuedJobs: 1 ratio: 2 }", "line 2: ',' or '}' is expected after 'queuedJobs'"),
        ("{\n 'stateDirectory: 1\n }", "line 2: a string does not end on its line"), ("{ 'a", "line 1: a string does not end"),
        ("{}\n{}", "line 2: there is more text after the end"), ("/* {}", "line 1: the text ends where a value is expected"),
        ("{ 5: 1 }", "line 1: a key is expected"), ("{,}", "line 1: a key is expected"),
        ("{ queuedJobs 1 }", "line 1: ':' is expected after the key 'queuedJobs'"),
        ("{ regions: [\n'a' 'b'] }", "line 2: ',' or ']' is expected in the list that starts at line 1"),
        ("{ regions: [,] }", "line 1: a value is expected; text needs quotes"),
        ("{ \"st\\u0061teDirectory\": 'x' }", "line 1: a key is written with an escape; write it plainly"),
        ("{ regions: " + String(repeating: "[", count: 100_000), "line 1: nested more than 64 levels deep"),
    ])
    func saysWhatIsNotJSON5(_ text: String, _ error: String) {
        #expect(failure(text) == "sample.json5: not JSON5 at \(error).")
    }

    @Test(arguments: ["{ queuedJobs: 1-2 }", "{ queuedJobs: 0xZ }", "{ stateDirectory: '\\u12' }", "{ ratio: NaN }", "{ ratio: 1e999 }"])
    func refusesValuesThatAreNone(_ text: String) {
        #expect(failure(text).hasPrefix("sample.json5: "))
    }

    @Test func noTruncationTraps() {
        let whole = "{ // c\n stateDirectory: '/x\\'y', \"regions\": [\"a\", /* b */ 'c'], listeners: [{ address: \"z\", port: +1 }] }"
        for count in 0...whole.unicodeScalars.count {
            _ = failure(String(String.UnicodeScalarView(whole.unicodeScalars.prefix(count))))
        }
        _ = failure(String(repeating: "[", count: 100_000))
        _ = failure("{ regions: " + String(repeating: "[", count: 300) + String(repeating: "]", count: 300) + "}")
    }

    @Test func environmentOverrides() throws {
        let text = "{ queuedJobs: 1, controller: 'a', listeners: [ { address: 'x', port: 1 } ] }"
        let sample = try load(
            text,
            [
                "MUSTER_SAMPLE_QUEUED_JOBS": "7", "MUSTER_SAMPLE_STATE_DIRECTORY": "/s", "MUSTER_SAMPLE_RATIO": "0.25",
                "MUSTER_SAMPLE_IS_ON": "true", "MUSTER_SAMPLE_CONTROLLER": "", "MUSTER_SAMPLE_REGIONS": "['a', 'b']",
                "MUSTER_SAMPLE_LISTENERS__0__PORT": "8443", "MUSTER_SAMPLE_LISTENERS__1": "{ address: 'y', port: 2 }",
                "MUSTER_SAMPLE_CONFIG": "/etc/x", "PATH": "/bin", "MUSTER_OTHER_QUEUED_JOBS": "9",
            ], reserved: ["MUSTER_SAMPLE_CONFIG"])
        #expect(sample.queuedJobs == 7)
        #expect(sample.stateDirectory == "/s")
        #expect(sample.ratio == 0.25)
        #expect(sample.isOn == true)
        #expect(sample.controller == nil)
        #expect(sample.regions == ["a", "b"])
        #expect(sample.listeners == [.init(address: "x", port: 8443), .init(address: "y", port: 2)])
    }

    @Test(arguments: [
        ("MUSTER_SAMPLE_QUEUD_JOBS", "1", "Unknown environment variable MUSTER_SAMPLE_QUEUD_JOBS; did you mean MUSTER_SAMPLE_QUEUED_JOBS?"),
        ("MUSTER_SAMPLE_QUEUED_JOBS", "SECRET", "Environment variable MUSTER_SAMPLE_QUEUED_JOBS must be a whole number from 0 to 10."),
        ("MUSTER_SAMPLE_QUEUED_JOBS", "11", "Environment variable MUSTER_SAMPLE_QUEUED_JOBS must be a whole number from 0 to 10."),
        ("MUSTER_SAMPLE_IS_ON", "1", "Environment variable MUSTER_SAMPLE_IS_ON must be true or false."),
        ("MUSTER_SAMPLE_LOG_LEVEL", "loud", "Environment variable MUSTER_SAMPLE_LOG_LEVEL must be one of 'info', 'debug'."),
        (
            "MUSTER_SAMPLE_QUEUED_JOBS__X", "1",
            "Unknown environment variable MUSTER_SAMPLE_QUEUED_JOBS__X: there is nothing below MUSTER_SAMPLE_QUEUED_JOBS."
        ),
        (
            "MUSTER_SAMPLE_LISTENERS__0__PROT", "1",
            "Unknown environment variable MUSTER_SAMPLE_LISTENERS__0__PROT; did you mean MUSTER_SAMPLE_LISTENERS__0__PORT?"
        ),
        (
            "MUSTER_SAMPLE_LISTENERS__5__PORT", "1",
            "Environment variable MUSTER_SAMPLE_LISTENERS__5__PORT: '5' must be a number from 0 to 0, "
                + "an element of the list or the place after its last."
        ),
        (
            "MUSTER_SAMPLE_LISTENERS__0", "{ adress: 'x' }",
            "Environment variable MUSTER_SAMPLE_LISTENERS__0: unknown key 'adress' at line 1; did you mean 'address'?"
        ),
    ])
    func refusesVariables(_ name: String, _ setting: String, _ error: String) {
        #expect(failure("{}", [name: setting]) == error)
    }

    @Test func missingFileSaysWhichAndWhatToDo() {
        let error = #expect(throws: ConfigurationError.self) {
            try ConfigurationLoader.load(
                Sample.self, path: "/nonexistent/sample.json5", environmentPrefix: "MUSTER_SAMPLE_", environment: [:])
        }
        let text = error?.description ?? ""
        #expect(text.hasPrefix("Cannot open the configuration /nonexistent/sample.json5: No such file or directory."))
        #expect(text.contains("--config"))
        #expect(throws: ConfigurationError.self) {
            try ConfigurationLoader.load(Sample.self, path: "/", environmentPrefix: "MUSTER_SAMPLE_", environment: [:])
        }
        #expect(throws: ConfigurationError.self) {
            try ConfigurationLoader.load(Sample.self, path: "/dev/zero", environmentPrefix: "MUSTER_SAMPLE_", environment: [:])
        }
    }
}

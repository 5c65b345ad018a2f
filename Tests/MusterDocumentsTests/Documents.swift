import MusterDocuments

/// Documents as JSON text, cut to what a test is about.
func decode(_ json: String) throws(DocumentError) -> Document {
    try DocumentDecoder.decode(json: Array(json.utf8))
}

func script(
    version: String = "2.2", parameters: String = "{}", steps: String
) -> String {
    #"{"schemaVersion":"\#(version)","description":"d","parameters":\#(parameters),"mainSteps":\#(steps)}"#
}

func step(_ name: String = "a", inputs: String = #"{"runCommand":["true"]}"#, more: String = "") -> String {
    #"{"action":"aws:runShellScript","name":"\#(name)","inputs":\#(inputs)\#(more)}"#
}

/// The error that decoding ends with, or nil.
func failure(_ json: String) -> DocumentError? {
    do {
        _ = try decode(json)
        return nil
    } catch {
        return error
    }
}

func value(_ json: String) throws(DocumentError) -> DocumentValue {
    try DocumentValue(json: Array(json.utf8))
}

extension Document {
    func plan(_ values: [String: DocumentValue] = [:], platform: Platform = .linux, plugins: Set<String>? = nil) throws -> Plan {
        try Plan.build(document: self, values: values, platform: platform, plugins: plugins)
    }
}

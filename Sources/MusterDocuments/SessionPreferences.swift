/// The `inputs` of a Session document. What cannot be honoured is refused by name.
package struct SessionPreferences: Sendable, Hashable {
    package static let idleRange = 1...60
    package static let defaultIdleMinutes = 20
    package static let maximumRange = 1...1440
    package static let longestProfile = 512

    package let runAsEnabled: Bool
    /// Empty if none is named.
    package let runAsDefaultUser: String
    package let idleMinutes: Int
    /// Nothing: without end.
    package let maximumMinutes: Int?
    /// Typed into a shell when it starts; empty if there is none.
    package let shellProfile: String
    /// Ours: what is typed is recorded too.
    package let recordInput: Bool
    /// Ours: a session that cannot be recorded ends.
    package let recordingRequired: Bool
    /// Ours: a command without a terminal is recorded in full, and ends at the limit of a recording.
    package let recordAll: Bool

    private static let keys = [
        "s3BucketName", "s3KeyPrefix", "s3EncryptionEnabled", "cloudWatchLogGroupName", "cloudWatchEncryptionEnabled",
        "cloudWatchStreamingEnabled", "kmsKeyId", "runAsEnabled", "runAsDefaultUser", "idleSessionTimeout", "maxSessionDuration",
        "shellProfile", "recordInput", "recordingRequired", "recordAll",
    ]

    /// `isTemplate`: texts that refer to parameters are not looked at.
    init(_ inputs: DocumentValue, isTemplate: Bool = false) throws(DocumentError) {
        guard inputs.object != nil || inputs == .null else {
            throw DocumentError(.content, at: "inputs", "Must be an object, and is \(inputs.kind).")
        }
        let members = inputs.object ?? [:]
        try DocumentDecoder.refuseUnknown(members, besides: Self.keys, at: "inputs")
        let reader = Members(members, at: "inputs", isTemplate: isTemplate)

        for (key, instead) in [
            ("kmsKeyId", "the controller records sessions, which it could not read"),
            ("s3BucketName", "recordings are kept by the controller"), ("s3KeyPrefix", "recordings are kept by the controller"),
            ("cloudWatchLogGroupName", "recordings are kept by the controller"),
        ] where try !reader.text(key).isEmpty {
            throw DocumentError(.content, at: "inputs.\(key)", "Not served: \(instead). Leave it empty.")
        }
        // These say how the destinations above are used; without one they say nothing. The last has to be a boolean for the agents.
        _ = try reader.flag("s3EncryptionEnabled", default: true)
        _ = try reader.flag("cloudWatchEncryptionEnabled", default: true)
        if let streaming = members["cloudWatchStreamingEnabled"], streaming.bool == nil {
            throw DocumentError(.content, at: "inputs.cloudWatchStreamingEnabled", "Must be true or false, and is \(streaming.kind).")
        }

        runAsEnabled = try reader.flag("runAsEnabled", default: false)
        runAsDefaultUser = try reader.text("runAsDefaultUser")
        guard Self.isUserName(runAsDefaultUser) || runAsDefaultUser.isEmpty else {
            throw DocumentError(.content, at: "inputs.runAsDefaultUser", "Is not the name of a user.")
        }
        idleMinutes = try reader.minutes("idleSessionTimeout", Self.idleRange) ?? Self.defaultIdleMinutes
        maximumMinutes = try reader.minutes("maxSessionDuration", Self.maximumRange)

        var profile = ""
        if let given = members["shellProfile"], given != .null {
            guard let systems = given.object else {
                throw DocumentError(.content, at: "inputs.shellProfile", "Must be an object, and is \(given.kind).")
            }
            try DocumentDecoder.refuseUnknown(systems, besides: ["linux", "windows"], at: "inputs.shellProfile")
            let reader = Members(systems, at: "inputs.shellProfile", isTemplate: isTemplate)
            profile = try reader.text("linux")
            for (key, text) in [("linux", profile), ("windows", try reader.text("windows"))] {
                guard text.unicodeScalars.count <= Self.longestProfile else {
                    throw DocumentError(
                        .content, at: "inputs.shellProfile.\(key)", "May have \(Self.longestProfile) characters.")
                }
            }
        }
        shellProfile = profile
        recordInput = try reader.flag("recordInput", default: false)
        recordingRequired = try reader.flag("recordingRequired", default: true)
        recordAll = try reader.flag("recordAll", default: false)
    }

    /// What useradd takes, a little wider: no path, no option, no separator of passwd.
    package static func isUserName(_ text: String) -> Bool {
        (1...256).contains(text.utf8.count) && text.utf8.first != UInt8(ascii: "-") && text != "." && text != ".."
            && text.utf8.allSatisfy { $0.isLetterOrDigit || "_.-@+$\\".utf8.contains($0) }
    }
}

/// The members of an object, by the types that session documents know.
struct Members {
    let members: [String: DocumentValue]
    private let path: String
    private let isTemplate: Bool

    init(_ members: [String: DocumentValue], at path: String, isTemplate: Bool) {
        self.members = members
        self.path = path
        self.isTemplate = isTemplate
    }

    /// Empty if it is missing, null or, in a template, refers to a parameter.
    func text(_ key: String) throws(DocumentError) -> String {
        let text = try DocumentDecoder.optionalString(members[key], at: "\(path).\(key)") ?? ""
        guard !text.utf8.contains(0) else { throw DocumentError(.content, at: "\(path).\(key)", "Holds a NUL character.") }
        return refers(text) ? "" : text
    }

    /// Whether a template has something here of which only its parameters say what it will be.
    func isOpen(_ key: String) -> Bool { members[key]?.string.map(refers) ?? false }

    private func refers(_ text: String) -> Bool { isTemplate && !Template.references(in: text).isEmpty }

    /// A boolean, or its name; empty and null are the default.
    func flag(_ key: String, default standard: Bool) throws(DocumentError) -> Bool {
        switch members[key] {
        case nil, .null?: return standard
        case .bool(let value)?: return value
        case .string(let text)?:
            switch text.lowercased() {
            case "": return standard
            case "true": return true
            case "false": return false
            case _ where refers(text): return standard
            default: throw DocumentError(.content, at: "\(path).\(key)", "Must be true or false.")
            }
        case let other?: throw DocumentError(.content, at: "\(path).\(key)", "Must be true or false, and is \(other.kind).")
        }
    }

    /// Minutes as text, as Systems Manager writes them, or as a number; nothing if it is missing or empty.
    func minutes(_ key: String, _ range: ClosedRange<Int>) throws(DocumentError) -> Int? {
        let number: Int64?
        switch members[key] {
        case nil, .null?: return nil
        case .integer(let value)?: number = value
        case .string(let text)?:
            if text.isEmpty || refers(text) { return nil }
            number = Int64(text)
        case .bool?, .number?, .array?, .object?: number = nil
        }
        guard let number, number >= range.lowerBound, number <= range.upperBound else {
            throw DocumentError(
                .content, at: "\(path).\(key)", "Must be a number of minutes from \(range.lowerBound) to \(range.upperBound).")
        }
        return Int(number)
    }
}

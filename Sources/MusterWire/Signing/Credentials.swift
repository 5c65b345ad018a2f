/// An access key. It prints its id and nothing else.
package struct Credentials: Sendable, Equatable, Redacted {
    package let accessKeyID: String
    package let secretAccessKey: String
    package let sessionToken: String?

    package init(accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil) {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
    }

    package var description: String { "Credentials(\(self.accessKeyID), secret redacted)" }
}

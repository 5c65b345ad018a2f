package import MusterWire

/// STS and IAM, whose requests are forms and whose answers are XML.
extension APIClient {
    private static let identityVersion = "2010-05-08"
    /// What one list may hold. A controller that always says there is more would be asked for ever.
    private static let longestList = 20_000

    /// Whom the controller takes this client's key for.
    package func callerIdentity() async throws -> GetCallerIdentity.Output {
        let answer = try await query(GetCallerIdentity.name, [], version: GetCallerIdentity.version, service: "sts")
        guard let account = answer.value("Account"), let arn = answer.value("Arn"), let user = answer.value("UserId") else {
            throw unreadable(GetCallerIdentity.name)
        }
        return GetCallerIdentity.Output(account: account, arn: arn, userID: user)
    }

    /// Credentials of a role.
    package func assume(_ role: CredentialSource.AssumedRole) async throws -> Credentials {
        let members = [
            (name: "RoleArn", value: role.arn),
            (name: "RoleSessionName", value: role.sessionName ?? "muster-\(Timestamp.now().milliseconds / 1000)"),
        ]
        let duration = role.durationSeconds.map { [(name: "DurationSeconds", value: String($0))] } ?? []
        let answer = try await query("AssumeRole", members + duration, version: GetCallerIdentity.version, service: "sts")
        guard let id = answer.value("AccessKeyId"), let secret = answer.value("SecretAccessKey"), let token = answer.value("SessionToken")
        else { throw unreadable("AssumeRole") }
        return Credentials(accessKeyID: id, secretAccessKey: secret, sessionToken: token)
    }

    /// An operation of IAM. The result, which is empty where the operation answers nothing.
    @discardableResult
    package func identity(_ action: String, _ members: [(name: String, value: String)] = []) async throws -> QueryAnswer {
        try await query(action, members, version: Self.identityVersion, service: "iam")
    }

    /// All elements of a list of IAM, page by page.
    package func identityList(
        _ action: String, _ list: String, _ members: [(name: String, value: String)] = []
    ) async throws -> [QueryAnswer] {
        var found: [QueryAnswer] = []
        var marker: String?
        repeat {
            let page = try await identity(action, members + [("MaxItems", "1000")] + (marker.map { [("Marker", $0)] } ?? []))
            found += page.list(list)
            marker = page["IsTruncated"]?.text == "true" ? page["Marker"]?.text : nil
        } while marker != nil && found.count < Self.longestList
        return found
    }

    private func query(
        _ action: String, _ members: [(name: String, value: String)], version: String, service: String
    ) async throws -> QueryAnswer {
        let fields = [(name: "Action", value: action), (name: "Version", value: version)] + members
        let form = fields.map { "\($0.name)=\(PercentEncoding.encoded($0.value))" }.joined(separator: "&")
        let body = try await answer(to: .form(action, service: service), body: Array(form.utf8))
        guard let answer = QueryAnswer(xml: body), answer.name == "\(action)Response" else { throw unreadable(action) }
        return answer["\(action)Result"] ?? QueryAnswer(name: "\(action)Result")
    }

    private func unreadable(_ action: String) -> ClientError {
        ClientError(.protocolViolation, "Cannot read the answer of \(endpoint) to \(action). Is it a Muster controller?")
    }
}

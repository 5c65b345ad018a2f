import MusterCrypto
package import MusterWire

extension APIClient {
    /// Whom the controller takes this client's key for: GetCallerIdentity, an operation of STS, whose request is a form and whose
    /// answer is XML.
    package func callerIdentity() async throws -> GetCallerIdentity.Output {
        let form = "Action=\(GetCallerIdentity.name)&Version=\(GetCallerIdentity.version)"
        let answer = try await answer(to: .form(GetCallerIdentity.name), body: Array(form.utf8))
        guard let account = CallerIdentityAnswer.element("Account", in: answer), let arn = CallerIdentityAnswer.element("Arn", in: answer),
            let user = CallerIdentityAnswer.element("UserId", in: answer)
        else {
            throw ClientError(.protocolViolation, "Cannot read the answer of \(endpoint) to GetCallerIdentity. Is it a Muster controller?")
        }
        return GetCallerIdentity.Output(account: account, arn: arn, userID: user)
    }
}

extension APIClient {
    /// Credentials of a role: AssumeRole of STS.
    package func assume(_ role: CredentialSource.AssumedRole) async throws -> Credentials {
        let name = role.sessionName ?? "muster-\(Timestamp.now().milliseconds / 1000)"
        var form = "Action=AssumeRole&Version=\(GetCallerIdentity.version)&RoleArn=\(Self.escaped(role.arn))"
        form += "&RoleSessionName=\(Self.escaped(name))"
        if let seconds = role.durationSeconds { form += "&DurationSeconds=\(seconds)" }
        let answer = try await answer(to: .form("AssumeRole"), body: Array(form.utf8))
        guard let id = CallerIdentityAnswer.element("AccessKeyId", in: answer),
            let secret = CallerIdentityAnswer.element("SecretAccessKey", in: answer),
            let token = CallerIdentityAnswer.element("SessionToken", in: answer)
        else { throw ClientError(.protocolViolation, "Cannot read the answer of \(endpoint) to AssumeRole. Is it a Muster controller?") }
        return Credentials(accessKeyID: id, secretAccessKey: secret, sessionToken: token)
    }

    private static func escaped(_ text: String) -> String {
        text.utf8.map { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                String(UnicodeScalar(byte))
            default: "%" + Hex.encode([byte]).uppercased()
            }
        }.joined()
    }
}

/// The few elements of STS's answers that matter here. They hold text only, so nothing of XML is needed but its five entities.
enum CallerIdentityAnswer {
    static func element(_ name: String, in body: [UInt8]) -> String? {
        let text = String(decoding: body.prefix(65_536), as: UTF8.self)
        guard let begin = text.firstRange(of: "<\(name)>"), let end = text[begin.upperBound...].firstRange(of: "</\(name)>") else {
            return nil
        }
        var content = String(text[begin.upperBound..<end.lowerBound])
        for (entity, character) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")] {
            content = content.split(separator: entity, omittingEmptySubsequences: false).joined(separator: character)
        }
        return content
    }

    static func error(status: Int, body: [UInt8]) -> APIError {
        APIError(code: element("Code", in: body) ?? String(status), message: element("Message", in: body) ?? "", status: status)
    }
}

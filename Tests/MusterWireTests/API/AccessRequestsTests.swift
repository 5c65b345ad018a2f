import Testing

@testable import MusterWire

/// Members and their types are those of botocore's model (SSM, 2014-11-06): StartAccessRequestRequest, StartAccessRequestResponse,
/// GetAccessTokenRequest, GetAccessTokenResponse, Credentials.
@Suite struct AccessRequestsTests {
    private let id = "oi-0123456789ab"

    private func text(_ value: some Encodable) throws -> String { String(decoding: try JSONCoding.encode(value), as: UTF8.self) }

    private func isGolden<T: Codable & Equatable>(_ json: String, _ value: T) throws {
        #expect(try text(value) == json)
        #expect(try JSONCoding.decode(T.self, from: Array(json.utf8)) == value)
    }

    @Test func startAccessRequest() throws {
        let json = #"{"Reason":"INC-7 the disk is full","Targets":[{"Key":"InstanceIds","Values":["mi-0123456789abcdef0"]}]}"#
        let input = try StartAccessRequest.decodeInput(Array(json.utf8))
        #expect(
            input
                == StartAccessRequest.Input(
                    reason: "INC-7 the disk is full", targets: [Target(key: "InstanceIds", values: ["mi-0123456789abcdef0"])]))
        try isGolden(json, input)
        #expect(input.unserved.isEmpty)
        try isGolden(#"{"AccessRequestId":"oi-0123456789ab"}"#, StartAccessRequest.Output(accessRequestID: id))
        #expect(StartAccessRequest.name == "StartAccessRequest" && OperationCatalog.all.contains("StartAccessRequest"))
    }

    /// They would be of the request, which nothing can look up by them.
    @Test func tagsOfARequestAreRefusedByName() throws {
        let json = #"{"Reason":"r","Tags":[{"Key":"k","Value":""}],"Targets":[{"Key":"tag:env","Values":["test","prod"]}]}"#
        let input = try StartAccessRequest.decodeInput(Array(json.utf8))
        try isGolden(json, input)
        #expect(input.unserved == ["Tags"])
        #expect(try StartAccessRequest.decodeInput(Array(#"{"Reason":"r","Tags":[],"Targets":[]}"#.utf8)).unserved.isEmpty)
    }

    @Test func getAccessToken() throws {
        let json = #"{"AccessRequestId":"oi-0123456789ab"}"#
        let input = try GetAccessToken.decodeInput(Array(json.utf8))
        #expect(input == GetAccessToken.Input(accessRequestID: id))
        try isGolden(json, input)
        #expect(GetAccessToken.name == "GetAccessToken" && OperationCatalog.all.contains("GetAccessToken"))
    }

    /// A time is seconds as a number, as everywhere in JSON 1.1.
    @Test func anAccessToken() throws {
        try isGolden(
            #"{"AccessRequestStatus":"Approved","Credentials":{"AccessKeyId":"MUSTEREXAMPLE2222222","ExpirationTime":1796000000.5,"SecretAccessKey":"s","SessionToken":"t"}}"#,
            GetAccessToken.Output(
                credentials: AccessCredentials(
                    accessKeyID: "MUSTEREXAMPLE2222222", secretAccessKey: "s", sessionToken: "t",
                    expirationTime: Timestamp(milliseconds: 1_796_000_000_500)),
                status: "Approved"))
        try isGolden(#"{"AccessRequestStatus":"Pending"}"#, GetAccessToken.Output(status: "Pending"))
        for member in ["AccessKeyId", "SecretAccessKey", "SessionToken", "ExpirationTime"] {
            let whole = #"{"AccessKeyId":"MUSTEREXAMPLE2222222","ExpirationTime":1,"SecretAccessKey":"s","SessionToken":"t"}"#
            let part = whole.replacing("\"\(member)\"", with: "\"Other\"")
            #expect(throws: (any Error).self) { try JSONCoding.decode(AccessCredentials.self, from: Array(part.utf8)) }
        }
    }

    @Test(arguments: [
        #"{"AccessRequestId":7}"#, #"{"AccessRequestId":["oi-0123456789ab"]}"#, #"{"AccessRequestId":"#, "[]", "null",
    ]) func anotherTypeIsRefused(_ json: String) {
        #expect(throws: APIError.self) { try GetAccessToken.decodeInput(Array(json.utf8)) }
        #expect(throws: APIError.self) { try StartAccessRequest.decodeInput(Array(json.utf8)) }
    }

    @Test func whatTheTokenHoldsDoesNotPrint() {
        let credentials = AccessCredentials(
            accessKeyID: "MUSTEREXAMPLE2222222", secretAccessKey: "hunter2", sessionToken: "hunter3", expirationTime: .now())
        let output = GetAccessToken.Output(credentials: credentials, status: "Approved")
        var dumped = "\(output) \(credentials) \([output]) \(String(reflecting: output))"
        dump([output, credentials] as [Any], to: &dumped)
        #expect(!dumped.contains("hunter"))
    }
}

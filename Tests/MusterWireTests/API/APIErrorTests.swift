import Testing

@testable import MusterWire

@Suite struct APIErrorTests {
    @Test func body() {
        #expect(
            String(decoding: APIError.invalidInstanceID("no such node \"x\"").body(), as: UTF8.self)
                == #"{"Message":"no such node \"x\"","__type":"InvalidInstanceId","message":"no such node \"x\""}"#)
        #expect(
            APIError.internalServerError.status == 500 && APIError.throttling.status == 400
                && APIError.requestTooLarge(limit: 1).status == 413)
        #expect(
            APIError.accessDenied(user: "arn:u", action: "ssm:SendCommand", resource: "arn:r", reason: "because no policy allows it")
                .message
                == "User: arn:u is not authorized to perform: ssm:SendCommand on resource: arn:r because no policy allows it")
    }

    @Test func fromAResponse() {
        func parse(_ text: String) -> APIError { APIError(status: 400, body: Array(text.utf8)) }
        #expect(
            parse(#"{"__type":"com.amazonaws.ssm#ParameterNotFound:http://x","Message":"m"}"#)
                == APIError(code: "ParameterNotFound", message: "m"))
        #expect(parse(#"{"code":"X","message":"a","Message":"b"}"#) == APIError(code: "X", message: "a"))
        #expect(parse("<html>") == APIError(code: "400", message: ""))
        #expect(parse("") == APIError(code: "400", message: ""))
        let error = APIError.invalidDocument()
        #expect(APIError(status: 400, body: error.body()) == error)
    }
}

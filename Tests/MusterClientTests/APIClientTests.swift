import Logging
import MusterCrypto
import MusterTLS
import MusterWire
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import MusterClient

struct APIClientTests {
    private final class Log: Sendable {
        private let heads = NIOLockedValueBox<[String]>([])
        func append(_ head: String) -> Int {
            heads.withLockedValue {
                $0.append(head); return $0.count
            }
        }
        func values(_ name: String) -> [String] {
            heads.withLockedValue { $0 }.map { head in
                head.split(separator: "\r\n").first { $0.lowercased().hasPrefix(name + ":") }.map {
                    String($0.drop { $0 != " " }.dropFirst())
                } ?? ""
            }
        }
    }

    private func client(_ server: TestServer, _ group: any EventLoopGroup, _ tls: TLSContext, clock: ServerClock = ServerClock())
        -> APIClient
    {
        APIClient(
            endpoint: server.endpoint, credentials: Credentials(accessKeyID: "AKID", secretAccessKey: "secret"), region: "eu-west-1",
            tls: tls,
            clock: clock, group: group, timeout: .seconds(40), logger: Logger(label: "test"))
    }

    @Test func signsAndDecodes() async throws {
        let authority = try TestAuthority()
        let log = Log()
        try await TestServer.withHTTP(
            authority,
            answer: { head, _ in
                _ = log.append(head)
                return .send(json(#"{"ServerTime":12}"#, headers: ["x-muster-server-time: \(Timestamp.now().milliseconds + 7_200_000)"]))
            }
        ) { server, group in
            let client = client(server, group, try authority.client())
            let output = try await client.call(UpdateInstanceInformation.self, .init(instanceID: "mi-1"))
            #expect(output.serverTime == Timestamp(milliseconds: 12_000))
            #expect(abs((client.clock.offsetMilliseconds ?? 0) - 7_200_000) < 5000)
            _ = try await client.call(UpdateInstanceInformation.self, .init(instanceID: "mi-1"))
            client.shutdown()
        }
        #expect(log.values("x-amz-target") == Array(repeating: "AmazonSSM.UpdateInstanceInformation", count: 2))
        #expect(
            log.values("authorization").allSatisfy {
                $0.hasPrefix("AWS4-HMAC-SHA256 Credential=AKID/") && $0.contains("/eu-west-1/ssm/aws4_request")
            })
        #expect(Set(log.values("amz-sdk-invocation-id")).count == 2)
        #expect(log.values("amz-sdk-request") == ["attempt=1; max=4", "attempt=1; max=4"])
    }

    @Test func repeatsUnderTheSameInvocation() async throws {
        let authority = try TestAuthority()
        let log = Log()
        try await TestServer.withHTTP(
            authority,
            answer: { head, _ in
                switch log.append(head) {
                case 1: .reset
                case 2: .send(json(#"{"__type":"InternalServerError"}"#, status: "500 Oh"))
                case 3: .send(json(#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#, status: "400 No"))
                default: .send(json("{}"))
                }
            }
        ) { server, group in
            let client = client(server, group, try authority.client())
            _ = try await client.call(UpdateInstanceInformation.self, .init())
            client.shutdown()
        }
        #expect(Set(log.values("amz-sdk-invocation-id")).count == 1)
        #expect(log.values("amz-sdk-request") == (1...4).map { "attempt=\($0); max=4" })
    }

    @Test func theControllersErrorIsThrownAndNotRepeated() async throws {
        let authority = try TestAuthority()
        let log = Log()
        try await TestServer.withHTTP(
            authority,
            answer: { head, _ in
                _ = log.append(head)
                return .send(json(#"{"__type":"com.amazonaws.ssm#InvalidInstanceId","message":"who?"}"#, status: "400 Bad"))
            }
        ) { server, group in
            let client = client(server, group, try authority.client())
            do {
                _ = try await client.call(UpdateInstanceInformation.self, .init())
                Issue.record("an error was expected")
            } catch let error as APIError {
                #expect(error.code == "InvalidInstanceId")
                #expect(error.message == "who?")
            }
            client.shutdown()
        }
        #expect(log.values("host").count == 1)
    }

    @Test func givesUpAfterItsTries() async throws {
        let authority = try TestAuthority()
        let log = Log()
        try await TestServer.withHTTP(
            authority,
            answer: { head, _ in
                _ = log.append(head)
                return .reset
            }
        ) { server, group in
            let client = client(server, group, try authority.client())
            let refusal = try await kind { try await client.call(UpdateInstanceInformation.self, .init()) }
            #expect(refusal == .closed)
        }
        #expect(log.values("host").count == 4)
    }

    /// As long as the controller may have done it, it stays one call, whatever its usual number of tries.
    @Test func anAnswerThatWasLostIsAskedForUnderTheSameInvocation() async throws {
        let authority = try TestAuthority()
        let log = Log()
        let lost = NIOLockedValueBox(0)
        try await TestServer.withHTTP(
            authority,
            answer: { head, _ in
                let count = log.append(head)
                return count <= 5 ? .reset : count == 6 ? .send(json("", status: "503 Away")) : .send(json("{}"))
            }
        ) { server, group in
            let client = client(server, group, try authority.client())
            _ = try await client.call(UpdateInstanceInformation.self, .init(), patience: .seconds(120)) { _ in
                lost.withLockedValue { $0 += 1 }
            }
            client.shutdown()
        }
        #expect(Set(log.values("amz-sdk-invocation-id")).count == 1 && log.values("host").count == 7)
        #expect(lost.withLockedValue { $0 } == 1)
    }

    @Test func whatCannotHaveArrivedIsNotWaitedFor() async throws {
        // Nobody listens there.
        let client = APIClient(
            endpoint: try Endpoint(url: "https://127.0.0.1:1"), credentials: nil, region: "us-east-1",
            tls: try TestAuthority().client(), logger: Logger(label: "test"))
        do {
            _ = try await client.call(UpdateInstanceInformation.self, .init(), patience: .seconds(3600))
            Issue.record("an error was expected")
        } catch let error as ClientError {
            #expect(error.kind == .unreachable && !error.mayHaveArrived)
        }
    }

    @Test func aWrongClockIsCorrectedOnce() async throws {
        let authority = try TestAuthority()
        let log = Log()
        let trueTime = Timestamp.now()
        try await TestServer.withHTTP(
            authority,
            answer: { head, _ in
                let count = log.append(head)
                let time = ["x-muster-server-time: \(trueTime.milliseconds)"]
                return count == 1
                    ? .send(json(#"{"__type":"InvalidSignatureException","message":"Signature expired"}"#, status: "400 No", headers: time))
                    : .send(json("{}", headers: time))
            }
        ) { server, group in
            let clock = ServerClock(hostNow: { trueTime.adding(seconds: -86_400 * 365) })
            let client = client(server, group, try authority.client(), clock: clock)
            _ = try await client.call(UpdateInstanceInformation.self, .init())
        }
        #expect(log.values("x-amz-date").last?.prefix(8) == trueTime.basicISO8601.prefix(8))
        #expect(log.values("x-amz-date").first?.prefix(8) != trueTime.basicISO8601.prefix(8))
    }

    @Test func pagesFollowTheToken() async throws {
        let authority = try TestAuthority()
        try await TestServer.withHTTP(
            authority,
            answer: { _, body in
                body.contains("two") ? .send(json(#"{"Commands":[]}"#)) : .send(json(#"{"Commands":[],"NextToken":"two"}"#))
            }
        ) { server, group in
            let client = client(server, group, try authority.client())
            var count = 0
            for try await _ in client.pages(ListCommands.self, .init(), next: \.nextToken, token: \.nextToken) { count += 1 }
            #expect(count == 2)
        }
        try await TestServer.withHTTP(authority, answer: { _, _ in .send(json(#"{"Commands":[],"NextToken":"same"}"#)) }) { server, group in
            let client = client(server, group, try authority.client())
            let refusal = try await kind {
                for try await _ in client.pages(ListCommands.self, .init(), next: \.nextToken, token: \.nextToken) {}
            }
            #expect(refusal == .protocolViolation)
        }
    }
}

struct ControllerTrustTests {
    private func attempt(
        _ authority: TestAuthority, trusting trusted: TestAuthority? = nil, knownTime: Int64, clock: ServerClock = ServerClock()
    ) async throws {
        let trust = ControllerTrust(
            authorities: [(trusted ?? authority).authority.certificate], identity: nil,
            knownTime: Timestamp(milliseconds: knownTime * 1000), clock: clock,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        try await TestServer.withHTTP(authority, answer: { _, _ in .send(json("{}")) }) { server, group in
            try await trust.attempt { tls in
                let connection = try await HTTPConnection.connect(
                    endpoint: server.endpoint, tls: tls, group: group, deadline: .now() + .seconds(10))
                connection.close()
            }
        }
    }

    @Test func aCertificateFromTheHostsFutureIsBelievedFromTheLastKnownTimeOn() async throws {
        // The host believes that it is a year earlier than it is.
        let year: Int64 = 365 * 86_400
        let authority = try TestAuthority(serverFrom: year - 30 * 86_400, serverUntil: year + 86_400)
        try await attempt(authority, knownTime: testNow + year - 86_400)
        // Last contact was before the certificate was made.
        try await attempt(authority, knownTime: testNow + year - 300 * 86_400)
    }

    @Test func aHostAheadOfTimeBelievesWhatWasValidAtTheLastContact() async throws {
        let authority = try TestAuthority(serverFrom: -90 * 86_400, serverUntil: -30 * 86_400)
        try await attempt(authority, knownTime: testNow - 60 * 86_400)
    }

    @Test func whatHadExpiredByTheLastContactStaysRefused() async throws {
        let authority = try TestAuthority(serverFrom: -90 * 86_400, serverUntil: -30 * 86_400)
        let refusal = try await kind { try await attempt(authority, knownTime: testNow - 86_400) }
        #expect(refusal == .certificateTime(.expired))
    }

    @Test func anotherAuthorityIsNotSearchedFor() async throws {
        let authority = try TestAuthority(serverFrom: 86_400, serverUntil: 2 * 86_400)
        let other = try TestAuthority(name: "other CA")
        let refusal = try await kind { try await attempt(authority, trusting: other, knownTime: testNow) }
        #expect(refusal == .untrusted)
    }

    @Test func theControllersTimeIsUsedOnceKnown() async throws {
        let authority = try TestAuthority(serverFrom: 80 * 86_400, serverUntil: 120 * 86_400)
        let clock = ServerClock()
        clock.observe("\((testNow + 100 * 86_400) * 1000)")
        try await attempt(authority, knownTime: testNow + 200 * 86_400, clock: clock)
        clock.observe("\((testNow + 130 * 86_400) * 1000)")
        let refusal = try await kind { try await attempt(authority, knownTime: testNow, clock: clock) }
        #expect(refusal == .certificateTime(.expired))
    }

    @Test func theSearchEnds() {
        for direction in [ClientError.CertificateTime.notYetValid, .expired] {
            var search = ValidTimeSearch(from: Timestamp(milliseconds: 0))
            var tries = 0
            while search.candidate != nil {
                search.answered(direction)
                tries += 1
            }
            #expect(tries <= 40)
        }
    }

    @Test func theSearchFindsShortSpansFarAway() {
        let from: Int64 = 1_000_000_000, until: Int64 = 1_000_100_000
        var search = ValidTimeSearch(from: Timestamp(milliseconds: 86_400_000))
        while let candidate = search.candidate {
            let time = candidate.milliseconds / 1000
            if time >= from, time <= until { return }
            search.answered(time < from ? .notYetValid : .expired)
        }
        Issue.record("not found")
    }
}

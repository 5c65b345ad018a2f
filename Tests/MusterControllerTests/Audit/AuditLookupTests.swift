import MusterCrypto
import MusterWire
import Testing

@testable import MusterController

@Suite(.timeLimit(.minutes(2))) struct AuditLookupTests {
    private let context = OperationContext(
        caller: Caller(accessKeyID: "KEY", userName: "jane", arn: "arn:aws:iam::000000000001:user/jane", sourceAddress: "", userAgent: ""),
        requestID: "r", now: Timestamp(milliseconds: 1), region: "local", account: "000000000001")

    private func operations(_ fixture: AuditFixture) -> AuditOperations {
        AuditOperations(database: fixture.database, pageTokenKey: [UInt8](repeating: 7, count: 32))
    }

    private func caller(_ name: String) -> Caller {
        Caller(
            accessKeyID: "AKIA\(name.uppercased())", userName: name, arn: "arn:aws:iam::000000000001:user/\(name)",
            sourceAddress: "192.0.2.1",
            userAgent: "")
    }

    private func fill(_ fixture: AuditFixture) async throws {
        for round in 0..<30 {
            let now = fixture.now
            let (jane, bob) = (caller("jane"), caller("b_b"))
            try await fixture.database.write { tx in
                try AuditLog.append(
                    [
                        AuditEvent(
                            time: now, caller: jane, requestID: "r", region: "", operation: "SendCommand", resource: "c-\(round)",
                            outcome: .success),
                        AuditEvent(
                            time: now, caller: bob, requestID: "r", region: "", operation: "StartSession", resource: "s-\(round)",
                            outcome: .denied, details: ["target": "mi-0123456789abcdef0", "errorCode": "AccessDeniedException"]),
                        AuditEvent(
                            time: now, controllerDid: "EndInvocation", resource: "c-\(round)", related: "mi-0123456789abcdef0",
                            details: ["status": "\"readOnly\":true,"]),
                        AuditEvent(
                            time: now, caller: jane, requestID: "r", region: "", operation: "GetRecording", resource: "s-\(round)",
                            outcome: .success),
                    ], in: tx)
            }
            fixture.advance(seconds: 60)
        }
    }

    private func all(_ fixture: AuditFixture, _ attribute: LookupAttribute?, page: Int = 50) async throws -> [LookedUpEvent] {
        var found: [LookedUpEvent] = []
        var token: String?
        repeat {
            let output = try await operations(fixture).lookup(
                .init(lookupAttributes: attribute.map { [$0] }, maxResults: page, nextToken: token), context)
            #expect(output.events.count <= page)
            found += output.events
            token = output.nextToken
        } while token != nil
        return found
    }

    @Test func everyAttributeFindsItsEvents() async throws {
        let fixture = try await AuditFixture()
        try await fill(fixture)
        let everything = try await all(fixture, nil, page: 7)
        #expect(everything.count == 120 && Set(everything.map(\.eventID)).count == 120)
        #expect(everything.first?.eventName == "GetRecording" && everything.last?.eventName == "SendCommand")
        let expected: [(LookupAttribute, Int)] = [
            (.init(.eventName, "SendCommand"), 30), (.init(.eventName, "Nothing"), 0), (.init(.userName, "jane"), 60),
            (.init(.userName, "b_b"), 30), (.init(.userName, "bxb"), 0), (.init(.resourceName, "c-3"), 2),
            (.init(.resourceName, "mi-0123456789abcdef0"), 60),
            (.init(.resourceName, "arn:aws:ssm:local:000000000001:managed-instance/mi-0123456789abcdef0"), 60),
            (.init(.resourceType, "AWS::SSM::ManagedInstance"), 60), (.init(.eventSource, "ssm.amazonaws.com"), 60),
            (.init(.eventSource, "muster"), 60), (.init(.accessKeyID, "AKIAB_B"), 30), (.init(.accessKeyID, "AKIABXB"), 0),
            (.init(.readOnly, "true"), 30), (.init(.readOnly, "false"), 90), (.init(.eventID, everything[5].eventID), 1),
        ]
        for (attribute, count) in expected {
            let found = try await all(fixture, attribute, page: 20)
            #expect(found.count == count, "\(attribute.attributeKey ?? "")=\(attribute.attributeValue ?? "")")
        }
        let denied = try await all(fixture, .init(.eventName, "StartSession"))[0]
        #expect(denied.userName == "b_b" && denied.accessKeyID == "AKIAB_B" && denied.readOnly == "false")
        #expect(denied.resources.map(\.resourceName) == ["s-29", "mi-0123456789abcdef0"])
        #expect(denied.record.contains(#""errorCode":"AccessDeniedException""#))
    }

    @Test func timesBoundWhatIsShown() async throws {
        let fixture = try await AuditFixture()
        let start = fixture.now
        try await fill(fixture)
        let output = try await operations(fixture).lookup(
            .init(startTime: start.adding(seconds: 300), endTime: start.adding(seconds: 480)), context)
        #expect(output.events.count == 16 && output.nextToken == nil)
        #expect(output.events.allSatisfy { $0.eventTime >= start.adding(seconds: 300) && $0.eventTime <= start.adding(seconds: 480) })
    }

    @Test func whatIsNoQuestionIsRefused() async throws {
        let fixture = try await AuditFixture()
        try await fill(fixture)
        let operations = operations(fixture)
        func code(_ input: LookupEvents.Input) async -> String? {
            do {
                _ = try await operations.lookup(input, context)
                return nil
            } catch {
                return (error as? APIError)?.code
            }
        }
        let name = LookupAttribute(.eventName, "SendCommand")
        #expect(await code(.init(lookupAttributes: [name, name])) == "InvalidLookupAttributesException")
        var strange = name
        strange.attributeKey = "Weather"
        #expect(await code(.init(lookupAttributes: [strange])) == "InvalidLookupAttributesException")
        #expect(await code(.init(maxResults: 51)) == "InvalidMaxResultsException")
        #expect(
            await code(.init(startTime: Timestamp(milliseconds: 2), endTime: Timestamp(milliseconds: 1))) == "InvalidTimeRangeException")
        let token = try await operations.lookup(.init(lookupAttributes: [name], maxResults: 5), context).nextToken
        #expect(token != nil)
        #expect(await code(.init(maxResults: 5, nextToken: token)) == "InvalidNextTokenException")
        #expect(await code(.init(nextToken: "x")) == "InvalidNextTokenException")
        var insights = LookupEvents.Input()
        insights.eventCategory = "insight"
        #expect(insights.unserved == ["EventCategory"])
    }
}

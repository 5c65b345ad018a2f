import MusterWire
import Testing

@testable import MusterController

@Suite struct SessionTokenTests {
    static let session = SessionID("jane-0123456789abcdef0")!
    static let other = SessionID("jane-0123456789abcdef1")!
    static let start = Timestamp(milliseconds: 1_700_000_000_000)

    static func caller(_ name: String) -> Caller {
        Caller(
            accessKeyID: "AKIA" + name.uppercased(), userName: name, arn: "arn:aws:iam::000000000001:user/\(name)", sourceAddress: "",
            userAgent: "")
    }

    static func granted() -> (SessionToken, SessionGrant) {
        let token = SessionToken.make()
        var grant = SessionGrant(digest: [], expiresAt: start, clientID: nil)
        grant.issue(token, to: caller("jane"), for: session, now: start)
        return (token, grant)
    }

    static func refusal(
        _ grant: inout SessionGrant, _ token: SessionToken, by client: String = "a", of session: SessionID = session,
        at time: Timestamp = start
    ) -> SessionGrant.Refusal? {
        do throws(SessionGrant.Refusal) {
            try grant.open(token, of: session, clientID: client, now: time)
            return nil
        } catch {
            return error
        }
    }

    @Test func tokensAreLongRandomAndSaidOnce() {
        let (token, grant) = Self.granted()
        #expect(token.text.utf8.count == 64 && token.text.utf8.count <= SessionToken.maximumLength)
        #expect(SessionToken.make().text != token.text)
        #expect(!"\(token)".contains(token.text))
        #expect(grant.digest.count == 32)
        #expect(SessionToken(token.text)?.digest(for: Self.session) == grant.digest)
        for wrong in ["", "x", token.text + "0", token.text.uppercased(), String(repeating: "g", count: 64)] where wrong != token.text {
            #expect(SessionToken(wrong) == nil)
        }
    }

    @Test func theFirstClientMayOpenAgainAndNobodyElse() {
        var (token, grant) = Self.granted()
        #expect(Self.refusal(&grant, token) == nil)
        #expect(grant.clientID == "a" && grant.isUsed && grant.holder == SessionGrant.Holder(Self.caller("jane")))
        let later = Self.start.adding(seconds: 59)
        #expect(Self.refusal(&grant, token, at: later) == nil)
        #expect(Self.refusal(&grant, token, by: "b", at: later) == .otherClient)
        token = SessionToken.make()
        #expect(Self.refusal(&grant, token, at: later) == .wrong)
    }

    @Test func aMinuteAndNoLonger() {
        var (token, grant) = Self.granted()
        let end = Self.start.adding(seconds: 60)
        #expect(Self.refusal(&grant, token, at: end) == .expired)
        // A new one takes its place; the client stays bound.
        grant = SessionGrant(digest: grant.digest, expiresAt: grant.expiresAt, clientID: "a")
        let renewed = SessionToken.make()
        grant.issue(renewed, to: Self.caller("joe"), for: Self.session, now: end)
        #expect(Self.refusal(&grant, token, at: end) == .wrong)
        #expect(Self.refusal(&grant, renewed, by: "b", at: end) == .otherClient)
        #expect(!grant.isUsed && grant.holder == SessionGrant.Holder(Self.caller("joe")))
        #expect(Self.refusal(&grant, renewed, at: end) == nil)
        token = renewed
    }

    @Test func aTokenOfAnotherSessionIsNone() {
        var (token, grant) = Self.granted()
        #expect(Self.refusal(&grant, token, of: Self.other) == .wrong)
        #expect(grant.clientID == nil)
        token = SessionToken.make()
    }
}

@Suite struct AcknowledgedSequencesTests {
    @Test func onlyWhatWasAcknowledgedIsAnswered() {
        var seen = AcknowledgedSequences()
        for number in [0, 1, 3, 4, 2, 7] as [Int64] { seen.insert(number) }
        for number in [0, 1, 2, 3, 4, 7] as [Int64] { #expect(seen.contains(number)) }
        for number in [-1, 5, 6, 8, .max, .min] as [Int64] { #expect(!seen.contains(number)) }
    }

    @Test func aPeerCannotFillMemory() {
        var seen = AcknowledgedSequences()
        for number in stride(from: 10, to: 1_000_000, by: 2) as StrideTo<Int64> { seen.insert(number) }
        #expect(MemoryLayout.size(ofValue: seen) > 0)
        #expect(!seen.contains(999_998) && seen.contains(10))
        seen.insert(.max)
        #expect(!seen.contains(0))
    }
}

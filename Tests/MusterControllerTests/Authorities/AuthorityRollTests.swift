import MusterWire
import Testing

@testable import MusterController

@Suite struct AuthorityRollTests {
    private let settled = AuthorityRoll(stage: .settled(1), last: 1)
    private let prepared = AuthorityRoll(stage: .prepared(issuing: 1, next: 2), last: 2)
    private let switched = AuthorityRoll(stage: .switched(issuing: 2, former: 1), last: 2)

    private func member(_ digit: Character, holds authorities: Set<Int>, issuer: Int?) throws -> AuthorityRoll.Member {
        let node = try #require(NodeID("mi-" + String(repeating: digit, count: 17)))
        return AuthorityRoll.Member(node: node, authorities: authorities, issuer: issuer)
    }

    private func refusal(_ step: () throws -> Any) -> AuthorityRoll.Refusal? {
        do {
            _ = try step()
            return nil
        } catch {
            return error as? AuthorityRoll.Refusal
        }
    }

    @Test func theStatesOfTheAuthoritiesAreTheStage() {
        #expect(AuthorityRoll([1: .issuing]) == settled)
        #expect(AuthorityRoll([1: .issuing, 2: .next]) == prepared)
        #expect(AuthorityRoll([1: .former, 2: .issuing]) == switched)
        #expect(AuthorityRoll([1: .retired, 2: .issuing]) == AuthorityRoll(stage: .settled(2), last: 2))
    }

    @Test func statesThatNoSequenceOfStepsLeadsToAreNoRoll() {
        #expect(AuthorityRoll([:]) == nil)
        #expect(AuthorityRoll([1: .retired]) == nil)
        #expect(AuthorityRoll([1: .issuing, 2: .issuing]) == nil)
        #expect(AuthorityRoll([1: .former, 2: .issuing, 3: .next]) == nil)
        #expect(AuthorityRoll([1: .issuing, 2: .next, 3: .next]) == nil)
    }

    @Test func aNumberIsNeverGivenTwice() throws {
        #expect(try settled.prepare() == 2)
        #expect(try AuthorityRoll(stage: .settled(2), last: 5).prepare() == 6)
    }

    @Test func eachStepHasItsPlace() {
        #expect(refusal { try prepared.prepare() } == .alreadyPrepared(next: 2))
        #expect(refusal { try switched.prepare() } == .overlapping(former: 1))
        #expect(refusal { try settled.switch([], isForced: true) } == .notPrepared)
        #expect(refusal { try switched.switch([], isForced: true) } == .overlapping(former: 1))
        #expect(refusal { try settled.retire([], isForced: true) } == .nothingToRetire)
        #expect(refusal { try prepared.retire([], isForced: true) } == .nothingToRetire)
    }

    @Test func withoutNodesNothingIsInTheWay() throws {
        #expect(try prepared.switch([]).issuing == 2)
        #expect(try prepared.switch([]).former == 1)
        #expect(try switched.retire([]).former == 1)
    }

    @Test func switchWaitsForEveryNodeToHoldTheNextOne() throws {
        let aware = try member("a", holds: [1, 2], issuer: 1)
        let unaware = try member("b", holds: [1], issuer: 1)
        let unknown = try member("c", holds: [], issuer: nil)
        #expect(try prepared.switch([aware]).missing.isEmpty)
        let missing = AuthorityRoll.Missing(unaware: [unaware, unknown])
        #expect(refusal { try prepared.switch([aware, unaware, unknown]) } == .notReady(missing))
        #expect(try prepared.switch([aware, unaware, unknown], isForced: true).missing == missing)
        #expect(prepared.missing([aware, unaware, unknown]) == missing)
    }

    @Test func retireWaitsForEveryNodeToUseACertificateOfTheNewOne() throws {
        let renewed = try member("a", holds: [1, 2], issuer: 2)
        let unrenewed = try member("b", holds: [1, 2], issuer: 1)
        let unaware = try member("c", holds: [1], issuer: 1)
        #expect(try switched.retire([renewed]).missing.isEmpty)
        #expect(refusal { try switched.retire([renewed, unrenewed]) } == .notReady(.init(unrenewed: [unrenewed])))
        let missing = AuthorityRoll.Missing(unaware: [unaware], unrenewed: [unrenewed])
        #expect(refusal { try switched.retire([renewed, unrenewed, unaware]) } == .notReady(missing))
        #expect(try switched.retire([renewed, unrenewed, unaware], isForced: true).missing == missing)
    }

    @Test func nobodyIsMissingWhenThereIsNothingToDo() throws {
        #expect(settled.missing([try member("a", holds: [], issuer: nil)]).isEmpty)
    }

    @Test func aRefusalNamesTheNodes() throws {
        let unaware = try member("c", holds: [1], issuer: 1)
        let text = AuthorityRoll.Refusal.notReady(.init(unaware: [unaware])).description
        #expect(text.contains(unaware.node.description) && text.contains("Nothing was changed") && text.contains("--force"))
        #expect(!text.contains("have not used"))
    }
}

import MusterAgent
import MusterClient
import Testing

@Suite struct TransportChoiceTests {
    @Test func autoBeginsWithAWebSocketAndPollsWhenItIsRefused() {
        var choice = TransportChoice(.auto)
        #expect(choice.next == .webSocket)
        #expect(choice.webSocketEnded(.refused) == true)
        #expect(choice.next == .poll)
    }

    /// A controller that is asked too often would be asked by polls as well.
    @Test(arguments: [
        (ClientError.Kind.refused(status: 429), TransportChoice.End.other), (.refused(status: 426), .refused),
        (.refused(status: 502), .refused),
        (.denied, .refused), (.closed, .unanswered), (.timedOut, .unanswered), (.unreachable, .other),
    ]) func whatAnUnopenedWebSocketSays(_ kind: ClientError.Kind, _ end: TransportChoice.End) {
        var error = ClientError(kind, "")
        #expect(TransportChoice.End(unopened: error) == .other)
        error.isSecured = true
        #expect(TransportChoice.End(unopened: error) == end)
    }

    @Test func aNetworkThatIsDownSaysNothing() {
        var choice = TransportChoice(.auto)
        for _ in 0..<100 { #expect(choice.webSocketEnded(.other) == false) }
        #expect(choice.next == .webSocket)
    }

    @Test func twoThatBreakBeforeTheyWereOfUseAreEnough() {
        var choice = TransportChoice(.auto)
        #expect(choice.webSocketEnded(.broke(useful: .seconds(24), isSilent: false)) == false)
        #expect(choice.webSocketEnded(.broke(useful: .seconds(24), isSilent: false)) == true)
        #expect(choice.next == .poll)
    }

    @Test func oneThatWasDeadFromTheStartIsEnoughBecauseThatTookLongToSee() {
        var choice = TransportChoice(.auto)
        #expect(choice.webSocketEnded(.broke(useful: .zero, isSilent: true)) == true)
    }

    @Test func aUsefulOneWipesTheSlate() {
        var choice = TransportChoice(.auto)
        #expect(choice.webSocketEnded(.unanswered) == false)
        #expect(choice.webSocketEnded(.broke(useful: .seconds(25), isSilent: true)) == false)
        #expect(choice.webSocketEnded(.unanswered) == false)
        #expect(choice.webSocketEnded(.unanswered) == true)
    }

    @Test func whenNeitherGetsThroughTheyTakeTurns() {
        var choice = TransportChoice(.auto)
        choice.webSocketEnded(.refused)
        for _ in 0..<3 {
            choice.pollEnded()
            #expect(choice.next == .webSocket)
            #expect(choice.webSocketEnded(.unanswered) == true)
            #expect(choice.next == .poll)
        }
    }

    @Test func trialsBesideAPollComeSeldomerWhileTheyFail() {
        var choice = TransportChoice(.auto, firstRetry: .seconds(60))
        choice.webSocketEnded(.refused)
        #expect(choice.pollOpened() == .seconds(60))
        #expect(choice.trialFailed() == .seconds(120))
        #expect(choice.trialFailed() == .seconds(240))
        for _ in 0..<20 { _ = choice.trialFailed() }
        #expect(choice.trialFailed() == .seconds(3600))
    }

    @Test func aTrialThatOpensAndBreaksAtOnceLeadsBackToThePoll() {
        var choice = TransportChoice(.auto, firstRetry: .seconds(60))
        choice.webSocketEnded(.refused)
        choice.trialOpened()
        #expect(choice.next == .webSocket)
        #expect(choice.webSocketEnded(.broke(useful: .seconds(3), isSilent: false)) == true)
        #expect(choice.pollOpened() == .seconds(120))
    }

    @Test func aTrialThatProvesUsefulBringsThePauseBack() {
        var choice = TransportChoice(.auto, firstRetry: .seconds(60))
        choice.webSocketEnded(.refused)
        _ = choice.trialFailed()
        choice.trialOpened()
        #expect(choice.webSocketEnded(.broke(useful: .seconds(100), isSilent: false)) == false)
        #expect(choice.pollOpened() == .seconds(60))
    }

    @Test(arguments: [(TransportChoice.Preference.websocket, TransportChoice.Transport.webSocket), (.poll, .poll)])
    func whoNamesOneKeepsIt(_ preference: TransportChoice.Preference, _ transport: TransportChoice.Transport) {
        var choice = TransportChoice(preference)
        #expect(choice.webSocketEnded(.refused) == false)
        choice.pollEnded()
        choice.restart()
        #expect(choice.next == transport)
        #expect(choice.pollOpened() == nil)
        #expect(choice.trialFailed() == nil)
    }
}

@Suite struct PollPacingTests {
    @Test func aCutPollIsFollowedByShorterOnesAndManyGoodOnesByLonger() {
        var pacing = PollPacing()
        #expect(pacing.waitSeconds == 18)
        #expect(pacing.cut(after: .seconds(10)) == .again)
        #expect(pacing.waitSeconds == 6)
        for _ in 0..<PollPacing.goodInARow { pacing.answered() }
        #expect(pacing.waitSeconds == 12)
        for _ in 0..<PollPacing.goodInARow { pacing.answered() }
        #expect(pacing.waitSeconds == 18)
    }

    @Test func threeInARowAreTheEnd() {
        var pacing = PollPacing()
        #expect(pacing.cut(after: .milliseconds(1)) == .again)
        #expect(pacing.waitSeconds == 18)
        #expect(pacing.cut(after: .milliseconds(1)) == .again)
        #expect(pacing.cut(after: .milliseconds(1)) == .giveUp)
        pacing.answered()
        #expect(pacing.cut(after: .seconds(1)) == .again)
    }

    @Test func noPollIsShorterThanASecond() {
        var pacing = PollPacing()
        for _ in 0..<20 {
            _ = pacing.cut(after: .seconds(2))
            pacing.answered()
        }
        #expect(pacing.waitSeconds == 1)
    }
}

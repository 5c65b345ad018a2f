import FoundationEssentials
import MusterController
import MusterWire
import Testing

@Suite struct PollSessionTests {
    private let start = ContinuousClock.now

    private func message(_ name: String, bytes: Int = 10) -> PollSession.Message {
        PollSession.Message(
            job: AgentJob(content: String(repeating: "x", count: bytes), jobID: name, topic: JobTopic.sendCommand), messageID: UUID(),
            createdDate: Timestamp(milliseconds: 1))
    }

    @Test func aPollIsHeldUntilThereIsAMessage() {
        var session = PollSession(at: start)
        let job = message("a")
        #expect(session.polled(1, at: start) == [])
        #expect(session.offered(job) == [.answer(poll: 1, [job])])
        #expect(session.released(1) == [])
    }

    @Test func whatWaitsIsAnsweredAtOnce() {
        var session = PollSession(at: start)
        let (first, second) = (message("a"), message("b"))
        #expect(session.offered(first) == [])
        #expect(session.offered(second) == [])
        #expect(session.polled(1, at: start) == [.answer(poll: 1, [first, second])])
    }

    @Test func aPollWhoseTimeIsOverIsAnsweredWithNothing() {
        var session = PollSession(at: start)
        _ = session.polled(1, at: start)
        #expect(session.released(1) == [.answer(poll: 1, [])])
        #expect(session.released(1) == [])
    }

    @Test func aNewerPollTakesThePlaceOfTheHeldOne() {
        var session = PollSession(at: start)
        let job = message("a")
        _ = session.polled(1, at: start)
        #expect(session.polled(2, at: start) == [.answer(poll: 1, [])])
        #expect(session.offered(job) == [.answer(poll: 2, [job])])
    }

    @Test func whatIsNotAcknowledgedBeforeTheNextPollIsHandedOutAgain() {
        var session = PollSession(at: start)
        let (first, second) = (message("a"), message("b"))
        _ = session.offered(first)
        _ = session.offered(second)
        _ = session.polled(1, at: start)
        #expect(session.acknowledged("a", at: start) == first)
        #expect(session.acknowledged("a", at: start) == nil)
        #expect(session.polled(2, at: start) == [.answer(poll: 2, [second])])
        #expect(session.polled(3, at: start) == [.answer(poll: 3, [second])])
        // Its sender has a back-off; the session does not go on for ever.
        #expect(session.polled(4, at: start) == [])
    }

    @Test func theSameJobAgainTakesThePlaceOfTheFirst() {
        var session = PollSession(at: start)
        let (first, again) = (message("a"), message("a"))
        _ = session.offered(first)
        _ = session.offered(again)
        #expect(session.polled(1, at: start) == [.answer(poll: 1, [again])])
        let acknowledged = session.acknowledged("a", at: start)
        #expect(acknowledged?.messageID == again.messageID)
    }

    @Test func anAnswerIsBoundedAndSoIsTheSession() {
        var session = PollSession(at: start)
        for number in 0..<PollSession.maximumMessages {
            #expect(!session.isFull)
            _ = session.offered(message("job-\(number)"))
        }
        #expect(session.isFull)
        let answers = session.polled(1, at: start)
        guard case .answer(1, let batch, _)? = answers.first else { Issue.record("no answer"); return }
        #expect(batch.count == PollSession.maximumBatch)
        _ = session.acknowledged("job-0", at: start)
        #expect(!session.isFull)

        var large = PollSession(at: start)
        let (first, second) = (message("a", bytes: 900_000), message("b", bytes: 900_000))
        _ = large.offered(first)
        _ = large.offered(second)
        #expect(large.polled(1, at: start) == [.answer(poll: 1, [first])])
    }

    @Test func silenceIsCountedFromTheLastCall() {
        var session = PollSession(at: start)
        let limit = PollSession.longestSilence
        #expect(!session.isLost(at: start + limit - .seconds(1)))
        #expect(session.isLost(at: start + limit))
        _ = session.polled(1, at: start + limit)
        #expect(!session.isLost(at: start + limit * 2 - .seconds(1)))
        _ = session.acknowledged("unknown", at: start + limit * 2)
        #expect(!session.isLost(at: start + limit * 3 - .seconds(1)))
    }

    @Test func aBrokenPollIsASignUnlessTheNodeComesBack() {
        var session = PollSession(at: start)
        _ = session.polled(1, at: start)
        #expect(session.broken(2, at: start) == [])
        #expect(session.broken(1, at: start) == [.answer(poll: 1, [])])
        #expect(!session.isLost(at: start + .seconds(4)))
        #expect(session.isLost(at: start + PollSession.longestGap))
        _ = session.polled(2, at: start + .seconds(4))
        #expect(!session.isLost(at: start + .seconds(20)))
        // The end of a connection whose poll was answered says nothing.
        _ = session.released(2)
        #expect(session.broken(2, at: start + .seconds(21)) == [])
        #expect(!session.isLost(at: start + .seconds(30)))
    }

    @Test func nothingIsHandedToABrokenPoll() {
        var session = PollSession(at: start)
        let job = message("a")
        _ = session.polled(1, at: start)
        _ = session.broken(1, at: start)
        #expect(session.offered(job) == [])
        #expect(session.polled(2, at: start) == [.answer(poll: 2, [job])])
    }

    @Test func whoWatchesIsToldOnceAndBesideTheMessages() {
        var session = PollSession(at: start)
        let (job, request) = (message("a"), AgentOutputRequest(commandID: "c", seconds: 60))
        _ = session.polled(1, at: start)
        #expect(session.asked(request) == [.answer(poll: 1, [], outputs: [request])])
        #expect(session.asked(request) == [])
        #expect(session.asked(AgentOutputRequest(commandID: "c", seconds: 30)) == [])
        _ = session.offered(job)
        #expect(session.polled(2, at: start) == [.answer(poll: 2, [job], outputs: [AgentOutputRequest(commandID: "c", seconds: 30)])])
        #expect(session.polled(3, at: start) == [.answer(poll: 3, [job])])
    }

    @Test func watchersOfManyCommandsAreBounded() {
        var session = PollSession(at: start)
        for number in 0..<2 * PollSession.maximumOutputs { _ = session.asked(AgentOutputRequest(commandID: "\(number)", seconds: 1)) }
        guard case .answer(1, [], let outputs)? = session.polled(1, at: start).first else { Issue.record("no answer"); return }
        #expect(outputs.count == PollSession.maximumOutputs)
    }
}

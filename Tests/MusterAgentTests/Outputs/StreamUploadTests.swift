import MusterAgent
import MusterCrypto
import MusterWire
import Testing

@Suite struct StreamUploadTests {
    private func progress(_ offset: Int64, _ state: OutputState = .uploading) -> UploadProgress {
        UploadProgress(state: state, offset: offset)
    }

    @Test func asksFirstAndThenSendsPieces() {
        var upload = StreamUpload()
        #expect(upload.next(size: 5, isEnded: true, piece: 2) == .ask)
        upload.answered(progress(0))
        #expect(upload.next(size: 5, isEnded: true, piece: 2) == .send(from: 0, count: 2, isLast: false))
        upload.answered(progress(2), sent: [1, 2])
        #expect(upload.next(size: 5, isEnded: true, piece: 2) == .send(from: 2, count: 2, isLast: false))
        upload.answered(progress(4), sent: [3, 4])
        #expect(upload.next(size: 5, isEnded: true, piece: 2) == .send(from: 4, count: 1, isLast: true))
        #expect(upload.finalDigest(with: [5]) == Hex.encode(SHA256.hash([1, 2, 3, 4, 5])))
        upload.answered(progress(5, .complete), sent: [5])
        #expect(upload.next(size: 5, isEnded: true, piece: 2) == .done)
    }

    @Test func whileTheStepRunsItWaitsForMore() {
        var upload = StreamUpload()
        upload.answered(progress(0))
        #expect(upload.next(size: 2, isEnded: false, piece: 4) == .send(from: 0, count: 2, isLast: false))
        upload.answered(progress(2), sent: [1, 2])
        #expect(upload.next(size: 2, isEnded: false, piece: 4) == .wait)
        // It has ended and wrote no more: the end is said with no bytes.
        #expect(upload.next(size: 2, isEnded: true, piece: 4) == .send(from: 2, count: 0, isLast: true))
    }

    @Test func afterARestartWhatWasSentIsReadAgainAndNotSentAgain() {
        var upload = StreamUpload()
        upload.answered(progress(3))
        #expect(upload.next(size: 4, isEnded: true, piece: 2) == .hash(from: 0, count: 2))
        upload.hashed([1, 2])
        #expect(upload.next(size: 4, isEnded: true, piece: 2) == .hash(from: 2, count: 1))
        upload.hashed([3])
        #expect(upload.next(size: 4, isEnded: true, piece: 2) == .send(from: 3, count: 1, isLast: true))
        #expect(upload.finalDigest(with: [4]) == Hex.encode(SHA256.hash([1, 2, 3, 4])))
    }

    @Test func anInterruptedUploadAsksAgain() {
        var upload = StreamUpload()
        upload.answered(progress(0))
        upload.answered(progress(2), sent: [1, 2])
        upload.interrupted()
        #expect(upload.next(size: 4, isEnded: true) == .ask)
        // The piece that nobody knew about had arrived.
        upload.answered(progress(3))
        #expect(upload.next(size: 4, isEnded: true) == .hash(from: 2, count: 1))
    }

    @Test func aControllerThatLostItsBytesGetsThemAgain() {
        var upload = StreamUpload()
        upload.answered(progress(0))
        upload.answered(progress(2), sent: [1, 2])
        upload.answered(progress(0), sent: [3])
        #expect(upload.next(size: 3, isEnded: true) == .send(from: 0, count: 3, isLast: true))
        #expect(upload.finalDigest(with: [1, 2, 3]) == Hex.encode(SHA256.hash([1, 2, 3])))
    }

    /// A controller that counts more than there is must not keep the agent busy for ever.
    @Test func anAnswerBeyondTheEndEnds() {
        var upload = StreamUpload()
        upload.answered(progress(9))
        #expect(upload.next(size: 2, isEnded: true, piece: 4) == .hash(from: 0, count: 2))
        upload.hashed([1, 2])
        #expect(upload.next(size: 2, isEnded: true, piece: 4) == .send(from: 9, count: 0, isLast: true))
    }
}

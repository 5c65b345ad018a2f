import Foundation
import Glibc
import MusterCopy
import MusterCrypto
import MusterWire
import NIOCore
import Testing

/// A receiver, and a sender that says whatever it likes.
@Suite struct CopyReceiverTests {
    private final class Script: CopyStream {
        var input: [ByteBuffer]
        var output = ByteBuffer()
        init(_ messages: [CopyMessage]) {
            var buffer = ByteBuffer()
            for message in messages { message.write(into: &buffer) }
            input = [buffer]
        }
        var hasInput: Bool { !input.isEmpty }
        func read() throws -> ByteBuffer? { input.isEmpty ? nil : input.removeFirst() }
        func write(_ bytes: ByteBuffer) throws { output.writeImmutableBuffer(bytes) }
        var answers: [CopyMessage] {
            var rest = output
            var found: [CopyMessage] = []
            while let message = try? CopyMessage.read(from: &rest) { found.append(message) }
            return found
        }
    }

    private final class Silent: CopyObserver {
        func began(_ name: [UInt8], size: UInt64) {}
        func moved(_ bytes: Int) {}
        func ended(_ file: CopiedFile) {}
        func problem(_ words: String) {}
    }

    private let root: URL
    private let outside: URL

    init() throws {
        root = FileManager.default.temporaryDirectory.appending(path: "muster-copy-\(UUID().uuidString)")
        outside = FileManager.default.temporaryDirectory.appending(path: "muster-copy-\(UUID().uuidString)")
        for folder in [root, outside] { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }
    }

    private func entry(_ kind: CopyEntry.Kind, _ path: String, size: Int = 0, target: String = "", source: UInt16 = 0) -> CopyMessage {
        .entry(
            CopyEntry(
                kind: kind, source: source, path: Array(path.utf8), mode: 0o4644, modifiedSeconds: 1_500_000_000, modifiedNanoseconds: 5,
                size: UInt64(size), target: Array(target.utf8)))
    }

    private func file(_ path: String, _ text: String) -> [CopyMessage] {
        [entry(.file, path, size: text.utf8.count), .data(ByteBuffer(string: text)), .end(digest: SHA256.hash(text))]
    }

    private func receive(_ messages: [CopyMessage], name: String = "x", isRecursive: Bool = true) throws -> (CopySummary, [CopyMessage]) {
        let script = Script(messages)
        let places = try CopyPlaces(destination: Array(root.path.utf8), names: [Array(name.utf8)], wantsFolder: false)
        let receiver = CopyReceiver(CopyConversation(script), places: places, isRecursive: isRecursive, observer: Silent())
        try receiver.run()
        return (receiver.summary, script.answers)
    }

    private func cleanUp() {
        try? FileManager.default.removeItem(at: root)
        try? FileManager.default.removeItem(at: outside)
    }

    @Test func aTreeArrives() throws {
        defer { cleanUp() }
        let (summary, answers) = try receive(
            [entry(.folder, "")] + file("f", "hello") + [entry(.link, "l", target: "f"), entry(.folderEnd, ""), .finished])
        #expect(summary.files == 1 && summary.problems == 0)
        #expect(answers == Array(repeating: .result(problem: nil), count: 4))
        #expect(try String(contentsOf: root.appending(path: "x/l"), encoding: .utf8) == "hello")
        let attributes = try FileManager.default.attributesOfItem(atPath: root.path + "/x/f")
        // Neither owner nor set-user-id come from another host.
        #expect(attributes[.posixPermissions] as? Int == 0o644)
    }

    @Test(arguments: ["../evil", "/etc/evil", "a/../../evil", "..", ".", "a//b", "a/"])
    func pathsThatLeadOutEndIt(_ path: String) throws {
        defer { cleanUp() }
        #expect(throws: CopyFailure.self) { _ = try receive([entry(.folder, "")] + file(path, "evil") + [.finished]) }
        #expect(!FileManager.default.fileExists(atPath: root.path + "/evil"))
    }

    @Test func sourcesThatWereNotAskedForEndIt() throws {
        defer { cleanUp() }
        #expect(throws: CopyFailure.self) { _ = try receive([entry(.folder, "", source: 1), .finished]) }
    }

    /// A sender makes a link that leads out, and then wants to write through it.
    @Test func linksAreNotFollowed() throws {
        defer { cleanUp() }
        let (summary, _) = try receive(
            [entry(.folder, ""), entry(.link, "d", target: outside.path)] + file("d/evil", "evil")
                + [entry(.folder, "d"), entry(.folderEnd, "d"), entry(.folder, "d/e"), entry(.folderEnd, ""), .finished])
        #expect(summary.problems >= 3)
        #expect(try FileManager.default.contentsOfDirectory(atPath: outside.path).isEmpty)
    }

    @Test func aLinkInThePlaceOfAFileIsReplaced() throws {
        defer { cleanUp() }
        try "mine".write(to: outside.appending(path: "precious"), atomically: false, encoding: .utf8)
        let (summary, _) = try receive(
            [entry(.folder, ""), entry(.link, "f", target: outside.path + "/precious")] + file("f", "new")
                + [entry(.folderEnd, ""), .finished])
        #expect(summary.problems == 0)
        #expect(try String(contentsOf: outside.appending(path: "precious"), encoding: .utf8) == "mine")
        #expect(try String(contentsOf: root.appending(path: "x/f"), encoding: .utf8) == "new")
    }

    @Test func whatIsDamagedGetsNoName() throws {
        defer { cleanUp() }
        var wrong = file("", "hello")
        wrong[2] = .end(digest: SHA256.hash("other"))
        #expect(try receive(wrong + [.finished]).0.problems == 1)
        var short = file("", "hello")
        short[1] = .data(ByteBuffer(string: "hell"))
        #expect(try receive(short + [.finished]).0.problems == 1)
        var long = file("", "hello")
        long[1] = .data(ByteBuffer(string: "hello, world"))
        #expect(try receive(long + [.finished]).0.problems == 1)
        #expect(!FileManager.default.fileExists(atPath: root.path + "/x"))
    }

    @Test func goesOnWhereItWas() throws {
        defer { cleanUp() }
        let text = String(repeating: "0123456789", count: 20_000)
        let begun = String(text.prefix(120_000))
        // Interrupted: the stream ends in the middle.
        #expect(throws: CopyFailure.self) {
            _ = try receive([entry(.file, "", size: text.utf8.count), .from(0), .data(ByteBuffer(string: begun))])
        }
        #expect(!FileManager.default.fileExists(atPath: root.path + "/x"))
        let (summary, answers) = try receive([
            entry(.file, "", size: text.utf8.count), .from(UInt64(begun.utf8.count)),
            .data(ByteBuffer(string: String(text.dropFirst(120_000)))),
            .end(digest: SHA256.hash(text)), .finished,
        ])
        #expect(answers.first == .have(offset: 120_000, digest: SHA256.hash(begun)))
        #expect(summary.moved == 80_000)
        #expect(try String(contentsOf: root.appending(path: "x"), encoding: .utf8) == text)
        #expect(try FileManager.default.contentsOfDirectory(atPath: root.path) == ["x"])
        // What is there already as it should be is not sent again.
        let again = try receive([
            entry(.file, "", size: text.utf8.count), .from(UInt64(text.utf8.count)), .end(digest: SHA256.hash(text)), .finished,
        ])
        #expect(again.0.moved == 0 && again.0.files == 1)
    }

    // MARK: What others have put there

    /// Above the length that is sent without asking, so that a part file would be gone on with.
    private static let large = String(repeating: "0123456789", count: 20_000)

    /// The name under which a copy of `large` grows: what an attacker knows from size, time and name of an archive.
    private var part: String {
        let identity = "\(Self.large.utf8.count) 1500000000.5 x"
        return root.path + "/.x.\(Hex.encode(SHA256.hash(identity).prefix(6))).muster-part"
    }

    private enum Plant: String, CaseIterable { case othersOwn, everybodyMayWrite, groupMayWrite, linkedElsewhere, fifo }

    private func plant(_ plant: Plant, at path: String, holding text: String, mode: mode_t = 0o600) throws {
        if plant == .fifo {
            try #require(mkfifo(path, 0o600) == 0)
            return
        }
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        try #require(chmod(path, plant == .everybodyMayWrite ? 0o666 : plant == .groupMayWrite ? 0o660 : mode) == 0)
        if plant == .othersOwn { try #require(chown(path, 65_534, 65_534) == 0) }
        if plant == .linkedElsewhere { try #require(link(path, outside.path + "/kept") == 0) }
    }

    private func status(_ path: String) throws -> stat {
        var status = stat()
        try #require(lstat(path, &status) == 0)
        return status
    }

    /// Somebody plants the part file in a folder where everybody may write, and would own what is renamed from it.
    @Test(arguments: Plant.allCases)
    private func aPlantedPartFileIsNotGoneOnWith(_ kind: Plant) throws {
        defer { cleanUp() }
        guard kind != .othersOwn || geteuid() == 0 else { return }
        try plant(kind, at: part, holding: String(Self.large.prefix(120_000)))
        let planted = try status(part).st_ino
        // Held open, as the attacker would: its number is given to no other file.
        let held = open(part, O_RDONLY | O_NONBLOCK)
        defer { close(held) }
        let (summary, answers) = try receive(
            [
                entry(.file, "", size: Self.large.utf8.count), .from(0), .data(ByteBuffer(string: Self.large)),
                .end(digest: SHA256.hash(Self.large)), .finished,
            ])
        #expect(answers.first == .have(offset: 0, digest: SHA256.hash([])))
        #expect(summary.files == 1 && summary.problems == 0)
        let copied = try status(root.path + "/x")
        #expect(copied.st_uid == geteuid() && copied.st_nlink == 1 && copied.st_ino != planted)
        #expect(try String(contentsOfFile: root.path + "/x", encoding: .utf8) == Self.large)
    }

    /// The same for a file that seems to be there already, with the right size, time and content.
    @Test(arguments: Plant.allCases)
    private func aPlantedWholeFileIsReplaced(_ kind: Plant) throws {
        defer { cleanUp() }
        guard kind != .othersOwn || geteuid() == 0, kind != .fifo else { return }
        let path = root.path + "/x"
        try plant(kind, at: path, holding: Self.large, mode: 0o644)
        var times = [timespec](repeating: timespec(tv_sec: 1_500_000_000, tv_nsec: 5), count: 2)
        try #require(utimensat(AT_FDCWD, path, &times, 0) == 0)
        let planted = try status(path).st_ino
        let held = open(path, O_RDONLY | O_NONBLOCK)
        defer { close(held) }
        let (summary, answers) = try receive(
            [
                entry(.file, "", size: Self.large.utf8.count), .from(0), .data(ByteBuffer(string: Self.large)),
                .end(digest: SHA256.hash(Self.large)), .finished,
            ])
        #expect(answers.first == .have(offset: 0, digest: SHA256.hash([])))
        #expect(summary.problems == 0)
        let copied = try status(path)
        #expect(copied.st_uid == geteuid() && copied.st_nlink == 1 && copied.st_ino != planted && copied.st_mode & 0o777 == 0o644)
    }

    /// In a sticky folder somebody else's folder of the right name would be theirs with all that is copied into it.
    @Test func aPlantedFolderIsNotFilled() throws {
        defer { cleanUp() }
        guard geteuid() == 0 else { return }
        try #require(chmod(root.path, 0o1777) == 0 && mkdir(root.path + "/x", 0o777) == 0 && chown(root.path + "/x", 65_534, 65_534) == 0)
        let (summary, _) = try receive([entry(.folder, ""), entry(.folderEnd, ""), .finished])
        #expect(summary.problems >= 1)
        // Where not everybody may make folders, somebody else's are filled as cp(1) fills them.
        try #require(chmod(root.path, 0o755) == 0)
        #expect(try receive([entry(.folder, ""), entry(.folderEnd, ""), .finished]).0.problems == 0)
    }

    /// Who asked for one file gets one file, whatever the sender has.
    @Test func withoutRecursionOnlyTheOneFileIsTaken() throws {
        defer { cleanUp() }
        #expect(try receive(file("", "hello") + [.finished], isRecursive: false).0.files == 1)
        let others: [[CopyMessage]] = [
            [entry(.folder, ""), entry(.folderEnd, "")], [entry(.link, "", target: "/etc/passwd")], file("", "one") + file("", "two"),
            file("below", "x"),
        ]
        for messages in others {
            try? FileManager.default.removeItem(atPath: root.path + "/x")
            #expect(throws: CopyFailure.self) { _ = try receive(messages + [.finished], isRecursive: false) }
            let there = try FileManager.default.contentsOfDirectory(atPath: root.path)
            let kind = there.isEmpty ? S_IFREG : try status(root.path + "/x").st_mode & S_IFMT
            #expect(kind == S_IFREG)
        }
    }
}

import Glibc
import MusterAgent
import Testing

@Suite struct ReservedRecordTests {
    private let temporary: TemporaryFolder
    private let folder: Folder

    init() throws {
        temporary = try TemporaryFolder()
        folder = try Folder.open(temporary.path)
    }

    private func record(_ capacity: Int = 64) -> ReservedRecord { ReservedRecord("r", in: folder, capacity: capacity) }
    private func inode(_ name: String) -> UInt64 {
        var facts = stat()
        return stat(folder.path(of: name), &facts) == 0 ? UInt64(facts.st_ino) : 0
    }

    @Test func aReservedPlaceHoldsNothing() throws {
        #expect(try record().read(atMost: 100) == nil)
        try record().reserve()
        #expect(try record().read(atMost: 100) == nil)
        for name in ["r", ".r.next"] { #expect(text(folder.path(of: name)) == String(repeating: "\n", count: 64)) }
    }

    /// Written over in turn: two files are all there ever are, and neither grows.
    @Test func nothingNewIsAskedOfTheDisk() throws {
        try record().reserve()
        let inodes = Set([inode("r"), inode(".r.next")])
        for text in ["one", "two and more", "3"] {
            try record().replace(Array(text.utf8))
            #expect(try record().read(atMost: 100) == Array(text.utf8))
            #expect(try Set(folder.names()) == ["r", ".r.next"])
            #expect(Set([inode("r"), inode(".r.next")]) == inodes)
            #expect(text.count < 64 && MusterAgentTests.text(folder.path(of: "r")).utf8.count == 64)
        }
    }

    /// A file under two names is somebody else's, who put it there: nothing is written through it.
    @Test(arguments: ["r", ".r.next"]) func aPlantedHardLinkIsNotWrittenThrough(name: String) throws {
        let outside = try TemporaryFolder()
        try Folder.open(outside.path).createFile("file", containing: Array("untouched".utf8))
        #expect(link(outside.path + "/file", folder.path(of: name)) == 0)
        try record().reserve()
        try record().replace(Array("5".utf8))
        #expect(try record().read(atMost: 100) == Array("5".utf8))
        #expect(text(outside.path + "/file") == "untouched")
    }

    @Test func whatWasReplacedIsGone() throws {
        try record().reserve()
        try record().replace(Array("key".utf8))
        try record().replace(Array("other".utf8))
        #expect(!text(folder.path(of: ".r.next")).contains("key"))
    }

    /// As an earlier version has left it.
    @Test func aPlaceIsMadeForWhatHasNone() throws {
        try folder.createFile("r", containing: Array("41\n".utf8))
        #expect(try record().read(atMost: 100) == Array("41".utf8))
        try record().reserve()
        #expect(try record().read(atMost: 100) == Array("41".utf8))
        #expect(text(folder.path(of: "r")).utf8.count == 64 && text(folder.path(of: ".r.next")).utf8.count == 64)
    }

    @Test func aCrashBetweenWritingAndExchangingLeavesTheOld() throws {
        try record().reserve()
        try record().replace(Array("old".utf8))
        try folder.openFile(".r.next", create: false).overwrite(Array("half of the n".utf8), path: "")
        #expect(try record().read(atMost: 100) == Array("old".utf8))
        try record().replace(Array("new".utf8))
        #expect(try record().read(atMost: 100) == Array("new".utf8))
    }

    @Test func moreThanThePlaceIsTakenAllTheSame() throws {
        try record().reserve()
        let long = [UInt8](repeating: 0x78, count: 1000)
        try record().replace(long)
        #expect(try record().read(atMost: 2000) == long)
        try record().replace(Array("short".utf8))
        #expect(try record().read(atMost: 2000) == Array("short".utf8))
    }
}

import Glibc
import MusterAgent
import Testing

@Suite struct FolderTests {
    private let temporary: TemporaryFolder
    private let folder: Folder

    init() throws {
        temporary = try TemporaryFolder()
        folder = try Folder.open(temporary.path)
    }

    @Test(arguments: ["", ".", "..", "a/b", "/etc", "../x", "a\0b", String(repeating: "n", count: 256)])
    func namesThatLeadElsewhereAreRefused(_ name: String) {
        #expect(throws: FileError.self) { try folder.createFile(name, containing: [1]) }
        #expect(throws: FileError.self) { try folder.open(name) }
        #expect(throws: FileError.self) { try folder.removeTree(name) }
    }

    @Test func plantedLinksAreNotFollowed() throws {
        let victim = temporary.path + "/victim"
        try folder.createFile("victim", containing: Array("untouched".utf8))
        symlink(victim, temporary.path + "/link")
        symlink(temporary.path, temporary.path + "/here")
        #expect(throws: FileError.self) { try folder.createFile("link", containing: [1]) }
        #expect(throws: FileError.self) { try folder.openFile("link", create: true) }
        #expect(throws: FileError.self) { try folder.read("link", atMost: 100) }
        #expect(throws: FileError.self) { try folder.open("here") }
        #expect(throws: FileError.self) { try Folder.openPrivate(temporary.path + "/here") }
        try folder.replaceFile("link", containing: Array("new".utf8), sync: false)
        try folder.removeTree("here")
        #expect(text(victim) == "untouched")
        #expect(text(temporary.path + "/link") == "new")
    }

    @Test(.timeLimit(.minutes(1))) func aPipeDoesNotHang() throws {
        mkfifo(temporary.path + "/pipe", 0o600)
        #expect(throws: FileError.self) { try folder.read("pipe", atMost: 100) }
        #expect(throws: FileError.self) { try folder.openFile("pipe", create: true) }
    }

    @Test func aFolderThatOthersMayWriteToIsRefused() throws {
        mkdir(temporary.path + "/open", 0o755)
        chmod(temporary.path + "/open", 0o777)
        let error = #expect(throws: FileError.self) { try Folder.openPrivate(temporary.path + "/open") }
        #expect(error?.description.contains("0700") == true)
    }

    @Test func aLargeFileIsNotRead() throws {
        try folder.createFile("large", containing: [UInt8](repeating: 1, count: 101))
        #expect(throws: FileError.self) { try folder.read("large", atMost: 100) }
        #expect(try folder.read("large", atMost: 101)?.count == 101)
        #expect(try folder.read("missing", atMost: 1) == nil)
    }
}

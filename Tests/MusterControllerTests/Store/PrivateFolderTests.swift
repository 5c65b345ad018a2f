import Glibc
import Testing

@testable import MusterController

@Suite struct PrivateFolderTests {
    private let temporary: TemporaryDirectory
    private let path: String

    init() throws {
        temporary = try TemporaryDirectory()
        path = temporary.file("folder")
    }

    @Test func itIsMadeAndOpenedAgainAndNobodyElseMayEnter() throws {
        try #require(try PrivateFolder(path: path).open(ifThere: "file", O_WRONLY | O_CREAT)).append([1, 2, 3])
        #expect(try PrivateFolder(path: path).open("file", O_RDONLY).read(from: 1, atMost: 10) == [2, 3])
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o700)
        #expect(stat(path + "/file", &status) == 0 && status.st_mode & 0o777 == 0o600)
        chmod(path, 0o750)
        #expect(throws: ControllerError.self) { try PrivateFolder(path: path) }
    }

    @Test func linksAreNotFollowed() throws {
        let folder = try PrivateFolder(path: path)
        symlink("/etc", path + "/elsewhere")
        symlink("/etc/passwd", path + "/file")
        symlink(path, temporary.file("link"))
        #expect(throws: ControllerError.self) { try folder.folder("elsewhere", makes: true) }
        #expect(throws: ControllerError.self) { try folder.open(ifThere: "file", O_RDONLY) }
        #expect(throws: ControllerError.self) { try PrivateFolder(path: temporary.file("link")) }
        // What they lead to does not count, and stays.
        #expect(try folder.usage() == 0)
        try folder.remove(all: "elsewhere")
        #expect(try folder.names() == ["file"] && access("/etc/passwd", F_OK) == 0)
    }

    @Test func whatIsThereIsCountedAndGoesAsAWhole() throws {
        let folder = try PrivateFolder(path: path)
        let outer = try #require(try folder.folder("a", makes: true))
        let inner = try #require(try outer.folder("b", makes: true))
        let file = try #require(try inner.open(ifThere: "file", O_RDWR | O_CREAT))
        try file.write([1, 2, 3], at: 4)
        #expect(try file.size() == 7 && folder.usage() == 7)
        #expect(try file.read(from: 3, atMost: 2) == [0, 1])
        try file.cut(to: 5)
        #expect(try folder.usage() == 5)
        #expect(try folder.folder("c", makes: false) == nil && folder.open(ifThere: "c", O_RDONLY) == nil)
        #expect(throws: ControllerError.self) { try folder.open("c", O_RDONLY) }
        try folder.remove(all: "a")
        try folder.remove(file: "c")
        #expect(try folder.names() == [])
    }
}

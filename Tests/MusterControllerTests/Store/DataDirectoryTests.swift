import Foundation
import MusterController
import Testing

@Suite struct DataDirectoryTests {
    private func mode(_ path: String) throws -> Int {
        try #require(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }

    @Test func directoriesAndFilesAreClosedToOthers() throws {
        let temporary = try TemporaryDirectory()
        let directory = DataDirectory(temporary.file("a/b"))
        try directory.create()
        try directory.create()
        try directory.write("text", to: .listening)
        #expect(try mode(directory.path) == 0o700)
        #expect(try mode(directory.path(of: .listening)) == 0o600)
        #expect(try directory.text(.listening) == "text")
        try directory.verifyFiles()
    }

    @Test func whatOthersCanReadIsRefused() throws {
        let temporary = try TemporaryDirectory()
        let directory = DataDirectory(temporary.path)
        try directory.write("secret", to: .key)
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: directory.path(of: .key))
        #expect(throws: ControllerError.self) { try directory.verifyFiles() }
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: directory.path(of: .key))
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: directory.path)
        #expect(throws: ControllerError.self) { try directory.verify() }
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: directory.path)
    }

    /// Somebody who could write here once may have left links to files that are not ours to overwrite.
    @Test func linksAreReplacedAndNotFollowed() throws {
        let temporary = try TemporaryDirectory()
        let victim = temporary.file("victim")
        try DataDirectory.write("untouched", to: victim)
        let directory = DataDirectory(temporary.file("data"))
        try directory.create()
        for name in ["listening", "listening.new"] {
            try FileManager.default.createSymbolicLink(atPath: directory.path + "/" + name, withDestinationPath: victim)
        }
        try directory.write("ours", to: .listening)
        #expect(try DataDirectory.text(at: victim) == "untouched")
        #expect(try directory.text(.listening) == "ours")
        try FileManager.default.createSymbolicLink(atPath: directory.path(of: .lock), withDestinationPath: victim)
        #expect(throws: ControllerError.self) { _ = try directory.acquireLock() }
    }

    @Test func oneControllerADirectory() throws {
        let temporary = try TemporaryDirectory()
        let directory = DataDirectory(temporary.path)
        var lock: DataDirectory.Lock? = try directory.acquireLock()
        #expect(throws: ControllerError.self) { _ = try directory.acquireLock() }
        withExtendedLifetime(lock) {}
        lock = nil
        _ = try directory.acquireLock()
    }
}

import Testing

@testable import MusterController

@Suite struct DiskReserveTests {
    @Test(
        arguments: [
            (Int64(1_000), DiskReserve.Room.ample), (100, .ample), (99, .reserved), (50, .reserved), (49, DiskReserve.Room.none),
            (0, .none),
        ] as [(Int64, DiskReserve.Room)])
    func theReserveIsForTheControllersChanges(free: Int64, room: DiskReserve.Room) {
        #expect(DiskReserve(bytes: 100, free: { free }).room == room)
        #expect(DiskReserve(bytes: 0, free: { free }).room == .ample)
    }

    @Test func theDiskOfAFolderIsAsked() {
        #expect(DiskReserve(path: "/", bytes: 1).room == .ample)
        #expect(DiskReserve(path: "/", bytes: .max).room == .none)
        #expect(DiskReserve(path: "/nonexistent", bytes: .max).room == .ample)
    }
}

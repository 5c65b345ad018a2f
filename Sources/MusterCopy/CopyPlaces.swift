import CLinux
import Glibc
package import MusterWire

/// Where each source of a copy goes, as cp(1) decides it. The receiver alone names these places; a sender can only go down from them.
package struct CopyPlaces: Sendable {
    /// A name in a folder; without a name, the folder itself.
    struct Place: Sendable {
        let folder: FileHandle
        let name: [UInt8]?
    }

    let places: [Place]

    /// - Parameters:
    ///   - destination: a folder, into which everything goes under its own name, or the new name of the one source.
    ///   - names: of the sources, empty for those whose contents are meant.
    package init(destination: [UInt8], names: [[UInt8]], wantsFolder: Bool) throws(CopyFailure) {
        let slash = UInt8(ascii: "/")
        let path = destination.isEmpty ? [UInt8(ascii: ".")] : destination
        if let folder = FileHandle(withName(path) { muster_open($0, O_RDONLY | O_DIRECTORY, 0) }) {
            places = names.map { Place(folder: folder, name: $0.isEmpty ? nil : $0) }
        } else {
            let code = errno
            guard code == ENOENT || code == ENOTDIR else { throw CopyFailure("\(text(path)): \(reason(code))") }
            guard !wantsFolder, names.count == 1, path.last != slash, let name = CopyPath.name(of: path) else {
                throw CopyFailure("\(text(path)) is no folder.")
            }
            let parent = Array(path.dropLast(name.count))
            guard
                let folder = FileHandle(
                    withName(parent.isEmpty ? [UInt8(ascii: ".")] : parent) { muster_open($0, O_RDONLY | O_DIRECTORY, 0) })
            else { throw CopyFailure("\(text(parent)): \(reason())") }
            places = [Place(folder: folder, name: name)]
        }
        guard names.allSatisfy({ $0.isEmpty || CopyPath.isName($0) }) else { throw CopyFailure("A source has a name that it cannot have.") }
    }

    /// The folder in which an entry is, and its name there; nil for the folder itself.
    func resolve(_ entry: CopyEntry) throws(CopyFailure) -> (folder: FileHandle, name: [UInt8]?)? {
        guard Int(entry.source) < places.count, let below = CopyPath.components(entry.path) else {
            throw CopyFailure("The sender named a place that is outside of the destination.")
        }
        let place = places[Int(entry.source)]
        let names = (place.name.map { [$0] } ?? []) + below
        guard let last = names.last else { return (place.folder, nil) }
        guard let folder = place.folder.folder(names.dropLast()) else { return nil }
        return (folder, last)
    }
}

internal import MusterCrypto
package import MusterWire

/// What a backup holds: `manifest.json`, written last, so that a folder without one is a backup that was cut short. [value]
///
///     manifest.json
///     keys/     ca-key.pem, ca-2-key.pem …, operator-keys.key, and the first operator's profile if it is in the data folder
///     store/    controller.sqlite, audit.checkpoint, ca.pem
///     output/  recordings/     as in the data folder
package struct BackupManifest: Codable, Sendable, Equatable {
    package static let name = "manifest.json"
    package static let format = 1
    static let store = "store/controller.sqlite"

    package struct Entry: Codable, Sendable, Equatable {
        package var path: String
        package var length: Int64
        package var sha256: String
    }

    package var format = BackupManifest.format
    package var version: String
    package var account: String
    package var epoch: String
    package var mark: AuditMark
    package var createdAt: Timestamp
    /// Parts that were left out on request.
    package var without: [BackupPart]
    package var files: [Entry]
}

/// What may be left out: it is large, and the store works without it.
package enum BackupPart: String, Codable, Sendable, CaseIterable {
    case outputs
    case recordings

    var folder: String { self == .outputs ? "output" : "recordings" }
}

extension BackupManifest {
    /// Where a file of the backup belongs in the data folder; nil for a name that no backup has.
    static func destination(of path: String) -> String? {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 2, parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." && !$0.utf8.contains(0) }) else { return nil }
        switch parts[0] {
        case "keys" where parts.count == 3 && parts[1] == "profile" && ["config", "credentials", "ca.pem"].contains(parts[2]):
            return "profile/" + parts[2]
        case "keys" where parts.count == 2 && (parts[1] == DataDirectory.File.sealingKey.rawValue || isAuthorityKey(parts[1])):
            return parts[1]
        case "store" where parts.count == 2 && ["controller.sqlite", "audit.checkpoint", "ca.pem"].contains(parts[1]):
            return parts[1]
        case "output", "recordings":
            return path
        default:
            return nil
        }
    }

    private static func isAuthorityKey(_ name: String) -> Bool {
        if name == DataDirectory.File.key.rawValue { return true }
        guard name.hasPrefix("ca-"), name.hasSuffix("-key.pem"), let number = Int(name.dropFirst(3).dropLast(8)) else { return false }
        return number > 1 && name == "ca-\(number)-key.pem"
    }

    /// Of what can be wrong without looking at the files.
    func validate() throws {
        guard format == Self.format else {
            throw ControllerError.badSetting(
                "The backup is of format \(format), this version reads \(Self.format). Use the version that made it.")
        }
        let paths = Set(files.map(\.path))
        guard paths.count == files.count, let stranger = files.first(where: { Self.destination(of: $0.path) == nil || $0.length < 0 })
        else {
            guard paths.count == files.count, paths.contains(Self.store), paths.contains("keys/operator-keys.key"),
                paths.contains("store/ca.pem")
            else {
                throw ControllerError.badSetting(
                    "The manifest names no store, or a file twice: it is not one of a backup. Use another backup.")
            }
            return
        }
        throw ControllerError.badSetting("The manifest names \"\(stranger.path)\", which belongs to no backup. Use another backup.")
    }
}

/// What keeps the controller from starting, in words for the person who starts it.
package enum ControllerError: Error, Sendable, CustomStringConvertible {
    case cannotListen(address: String, reason: String)
    case cannotAccess(path: String, action: String, reason: String)
    case tooOpen(path: String, mode: String, wanted: String)
    case alreadyInitialised(String)
    case notInitialised(String)
    case lost(path: String, directory: String)
    case inUse(String)
    case restoring(String)
    case authoritiesInUse(String)
    case badListener(String)
    case badName(String)
    case badSetting(String)
    case noCertificate

    package var description: String {
        switch self {
        case .cannotListen(let address, let reason):
            "Cannot listen on \(address): \(reason). Choose another address with --listen or in the configuration's listeners."
        case .cannotAccess(let path, let action, let reason):
            "Cannot \(action) \(path): \(reason). Run as the user that the controller belongs to, or pass --data-dir."
        case .tooOpen(let path, let mode, let wanted):
            "\(path) has mode \(mode), so others could read it. Run: chmod \(wanted) \(path)"
        case .alreadyInitialised(let directory):
            "\(directory) already holds a controller. Nothing was changed. Start it with: muster-controller serve --data-dir \(directory)"
        case .notInitialised(let directory):
            "\(directory) holds no controller yet. Run: muster-controller init --data-dir \(directory)"
        case .lost(let path, let directory):
            "\(path) is missing, but \(directory) belongs to a controller that has been in use. Restore it from a backup."
        case .inUse(let directory):
            "Another muster-controller is running in \(directory). Stop that one first."
        case .restoring(let directory):
            "A restore in \(directory) was cut short. Run it again, and it goes on: muster-controller restore --data-dir \(directory) DIR"
        case .authoritiesInUse(let directory):
            "Another `muster-controller ca` is at work in \(directory). Wait for it to end."
        case .badListener(let text):
            "\"\(text)\" is no address to listen on. Write ADDRESS:PORT, for example 0.0.0.0:8443 or [::]:8443."
        case .badName(let text):
            "\"\(text)\" is neither a DNS name nor an IP address. Pass what agents and operators will connect to."
        case .badSetting(let text):
            text
        case .noCertificate:
            "The certificate file holds no certificate."
        }
    }
}

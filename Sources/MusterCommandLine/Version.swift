internal import MusterWire

/// The version of the command line.
package enum Version {
    package static let text = Release.version
}

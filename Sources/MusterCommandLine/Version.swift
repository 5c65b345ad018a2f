/// The version of the command line.
package enum Version {
    package static let text = "0.1.0"
}

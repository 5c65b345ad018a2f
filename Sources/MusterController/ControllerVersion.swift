internal import MusterWire

/// The version of the controller.
package enum ControllerVersion {
    package static let text = Release.version
}

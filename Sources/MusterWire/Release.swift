/// Of all three programs: they are released together.
package enum Release {
    package static let version = "0.1.0"
}

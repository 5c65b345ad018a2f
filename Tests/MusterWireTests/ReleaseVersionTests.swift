import MusterWire
import Testing

@Suite struct ReleaseVersionTests {
    @Test(arguments: [
        ("4.0.1.0", true), ("4.0.1.1", true), ("4.0.2.0", true), ("10.0.0.0", true), ("4.0.0.9", false), ("3.3.1234.0", false),
        ("4.0.1", false), ("", false), ("x.y.z.w", false), ("4.0.1.-1", false), ("4.0.1.0.0", false),
    ]) func comparedByNumber(_ version: String, _ isCurrent: Bool) {
        #expect(ReleaseVersion.isCurrent(version, comparedWith: "4.0.1.0") == isCurrent)
    }
}

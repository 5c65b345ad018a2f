import MusterWire
import Testing

@testable import MusterController

@Suite struct HTTPDateTests {
    /// The example of RFC 9110 section 5.6.7, the epoch, a leap day, and a time before the epoch.
    @Test(
        arguments: [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        ] as [(Int64, String)])
    func dates(_ seconds: Int64, _ text: String) {
        #expect(HTTPDate.text(Timestamp(milliseconds: seconds * 1000)) == text)
    }
}

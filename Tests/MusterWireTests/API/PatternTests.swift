import Testing

@testable import MusterWire

/// The Regex of the standard library, which the module itself must not use on a caller's text, says what is right.
@Suite struct PatternTests {
    private static let all: [Pattern] = [
        .instanceID, .managedInstanceID, .documentARN, .documentVersion, .documentVersionName, .maxConcurrency, .maxErrors, .tagText,
        .targetKey, .activationID,
    ]

    private static let samples = [
        "", "a", "ab", "abc", "AWS-RunShellScript", "arn:aws:ssm:x:1:document/y", "a b", "é", "日本語 1", "a+b", "a@b", "tag:role", "{x}", "#",
        String(repeating: "a", count: 128), String(repeating: "a", count: 129),
        "mi-0123456789abcdef0", "mi-0123456789ABCDEF0", "i-12345678", "i-123456789", "i-0123456789abcdef0", "i-1234567-",
        "mi-0123456789abcde-0",
        "eks_c:a_0123456789abcdef0", "eks_c:a-b_c_0123456789abcdef0", "eks_c:_0123456789abcdef0", "eks_c:a_0123456789abcdef",
        "eks_c:" + String(repeating: "a", count: 101) + "_0123456789abcdef0",
        "eks_c:" + String(repeating: "a", count: 102) + "_0123456789abcdef0",
        "$LATEST", "$DEFAULT", "$latest", "0", "1", "10", "01", "0%", "1%", "10%", "09%", "99%", "100%", "101%", "200%", "%", "1%%", "-1",
        "999999999999999999999",
        "0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11", "0F7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11", "0f7c1c3e-7d33-4b0c-8a5e9-a1c0b8f8c11", "０", "Ⅷ",
        "a\u{2028}b", "a\tb", "a\n",
    ]

    @Test func handWrittenMatchersAgreeWithTheirText() throws {
        for pattern in Self.all {
            // \w is ASCII in Java; the alternatives are wrapped, because all patterns are whole-string matches.
            let regex = try Regex("(?:\(pattern.text.replacing(#"\w"#, with: "[A-Za-z0-9_]")))").matchingSemantics(.unicodeScalar)
                .anchorsMatchLineEndings(false)
            for sample in Self.samples {
                #expect(pattern.matches(sample) == ((try regex.wholeMatch(in: sample)) != nil), "\(pattern.text) and \(sample)")
            }
        }
    }

    @Test func notBlank() {
        for good in ["a", " a", "é", "a "] { #expect(Pattern.notBlank.matches(good)) }
        for bad in ["", " ", "\t \t", "a\n", "\n"] { #expect(!Pattern.notBlank.matches(bad)) }
    }
}

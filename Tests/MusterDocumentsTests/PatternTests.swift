import MusterDocuments
import Testing

@Suite struct PatternTests {
    @Test(
        arguments: [
            ("", "", true), ("", "a", false), ("abc", "abc", true), ("abc", "xabcx", false), ("^abc$", "abc", true), ("a|bc", "bc", true),
            ("a|bc", "ac", false), ("(a|b)*c", "ababc", true), ("(a|b)*c", "abab", false), ("a?b+c*", "bb", true), ("a{2,3}", "a", false),
            ("a{2,3}", "aaa", true), ("a{2,3}", "aaaa", false), ("a{2}", "aa", true), ("a{2,}", "aaaaa", true), ("a{0}", "", true),
            ("a{0}b", "b", true), ("[a-c_]+", "ab_c", true), ("[^a-c]+", "xyz", true), ("[^a-c]+", "xaz", false),
            (#"[\w.-]+"#, "a.b-c_9", true),
            (#"[]]"#, "]", nil), (#"[\]]"#, "]", true), ("[a-]", "-", true), ("[-a]", "-", true), (#"\d{3}-\D"#, "123-x", true),
            (#"\s\S\W"#, " x!", true), (#"[\D]"#, "1", false), (#"\x41\u0042\x{43}"#, "ABC", true), (".", "\n", false),
            ("(?s).", "\n", true),
            (".*", "héllo 😀", true), ("^[^\"]*$", "a'b", true), ("^[^\"]*$", "a\"b", false), ("(?i)abc", "aBC", true),
            ("(?i:a)b", "AB", false), ("(?i:a)b", "Ab", true), ("a(?i)b|c", "aB", true), ("a(?i)b|c", "C", true),
            (#"\bfoo\b.*"#, "foo bar", true),
            (#"\bfoo\b.*"#, "foobar", false), ("(?:ab)+?", "abab", true), ("(?<name>a)(?P<other>b)", "ab", true), (#"\p{L}+"#, "héß", true),
            (#"\p{Lu}"#, "É", true), (#"\pN"#, "7", true), (#"\P{L}"#, "7", true), (#"[\p{L}\p{Z}\p{N}_.:/=+\-@]*"#, "a b/c@é", true),
            (#"\p{Alnum}+"#, "aZ9", true), ("[[:alpha:]]+", "abc", true), ("[[:^alpha:]]+", "123", true), (#"\A\d+\z"#, "12", true),
            ("(?m)^a$\n^b$", "a\nb", true), ("a$b", "ab", false), ("}", "}", true), ("()", "", true), ("(|a)+", "aaa", true),
            ("é", "é", true),
            ("(a*)*b", "aaab", true), ("(?:)", "", true), ("$", "", true), ("^*a", "a", true),
            // As documents of AWS use them.
            ("^(Install|Uninstall)$", "Install", true), (#"^$|^[a-zA-Z0-9._-]{3,128}$"#, "", true),
            (#"^[a-zA-Z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*$"#, "https://x/y?z=[1]", true),
            (#"(^arn:(aws|aws-cn):s3:::[\w.-]+$)|(^$)"#, "arn:aws:s3:::bucket", true),
        ] as [(String, String, Bool?)])
    func matchesTheWhole(_ pattern: String, _ text: String, _ expected: Bool?) throws {
        guard let expected else {
            #expect(throws: PatternError.self) { try Pattern(pattern) }
            return
        }
        #expect(try Pattern(pattern).matches(text) == expected)
    }

    @Test(arguments: [
        "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", "(?>a)", #"(a)\1"#, #"\k<n>"#, "a++", "a*+", "a?+", "a**", "a{2}{3}", "*a", "+", "?", "{2}",
        "a{", "a{,3}", "a{3,2}", "a{1001}", "a{2", "a{x}", "(", ")", "(a", "a)", "[", "[a", "[]", "[b-a]", "[a-\\d]", "[\\d-a]", "[a&&b]",
        "[a[b]]", "[[:nope:]]", "[[:ALPHA:]]", "\\", #"\Z"#, #"\G"#, #"\Q"#, #"\v"#, #"\h"#, #"\0"#, #"\x4"#, #"\u00"#, #"\x{}"#,
        #"\x{110000}"#, #"\p{Greek}"#, #"\p{"#, "(?x)a", "(?-i", "(?<1-2>a)", "(?P=name)", #"\E"#,
    ])
    func refusesWhatItDoesNotServe(_ pattern: String) {
        #expect(throws: PatternError.self) { try Pattern(pattern) }
    }

    @Test func sizeIsBounded() throws {
        for pattern in [
            "((a{1000}){1000}){1000}", String(repeating: "(", count: 70) + String(repeating: ")", count: 70),
            String(repeating: "a", count: 4097),
            "(((){1000}){1000}){1000}", "(((a{0}){1000}){1000}){1000}", "((^{1000}){1000}){1000}",
        ] {
            #expect(throws: PatternError.self) { try Pattern(pattern) }
        }
        _ = try Pattern("[a-z]{0,1000}")
        #expect(throws: PatternError.self) { try Pattern("(a?){1000}(b?){900}").matches(String(repeating: "a", count: 65_000)) }
    }

    /// Each takes a backtracking engine longer than the age of the universe.
    @Test(.timeLimit(.minutes(1)), arguments: ["(a+)+$", "(a|aa)+$", "(a*)*b", "(.*.*)*x", "(a|a?)+b", "([a-zA-Z]+)*1", "(a?){30}a{30}b"])
    func timeIsLinear(_ pattern: String) throws {
        let pattern = try Pattern(pattern)
        #expect(try pattern.matches(String(repeating: "a", count: 20_000) + "!") == false)
    }
}

import Testing

@testable import MusterController

@Suite struct PolicyPatternTests {
    static let texts: [(String, String, Bool)] = [
        ("", "", true), ("", "a", false), ("*", "", true), ("*", "anything", true), ("?", "", false), ("?", "é", true), ("?", "ab", false),
        ("a*c", "abc", true), ("a*c", "ac", true), ("a*c", "abcd", false), ("*a*b*", "xxaxxbxx", true), ("*a*b*", "xxbxxaxx", false),
        ("a?c*", "a€c", true), ("*??", "€", false), ("a*?", "a", false), ("*.example", "x.example.example", true), ("**a", "a", true),
    ]

    @Test(arguments: texts)
    func wildcards(_ pattern: String, text: String, matches: Bool) throws {
        #expect(try PolicyPattern(pattern, .init(), at: "").matches(text) == matches)
    }

    /// Wherever there are stars, the last is the only place to go back to.
    @Test func thereIsNothingToBlowUp() throws {
        let pattern = try PolicyPattern(String(repeating: "a*", count: 2_000) + "b", .init(), at: "")
        let text = String(repeating: "a", count: 10_000)
        let start = ContinuousClock.now
        #expect(!pattern.matches(text))
        #expect(ContinuousClock.now - start < .seconds(30))
    }

    static let arns: [(String, String, Bool)] = [
        ("*", "*", true), ("*", "arn:aws:ssm:r:1:document/x", true), ("arn:aws:ssm:*", "arn:aws:ssm:r:1:document/x", true),
        ("arn:aws:ssm:*:*:document/*", "arn:aws:ssm:r:1:document/a:b", true),
        ("arn:aws:ssm:r:1:document/x", "arn:aws:ssm:r:1:document/X", false),
        ("arn:aws:ssm:*:1:document/x", "arn:aws:ssm:r:2:document/x", false),
        ("arn:aws:ssm:*:*:managed-instance/*", "arn:aws:ssm:r:1:document/x", false),
        ("arn:aws:iam::*:user/x", "arn:aws:iam::1:user/x", true), ("arn:aws:s*:*:1:x", "arn:aws:ssm:r:1:x", true),
        ("arn:aws:ssm:*:*:*", "*", true), ("arn:aws:ssm:r:*:*", "*", false), ("arn:aws:ssm:*:*:document/*", "*", false),
        ("arn:aws:ssm:*::document/AWS-RunShellScript", "arn:aws:ssm:r:1:document/AWS-RunShellScript", true),
        ("arn:aws:ssm:*::document/*", "arn:aws:ssm:r:1:document/Mine", false),
        ("arn:aws:ssm:*::*", "arn:aws:ssm:r:1:managed-instance/mi-1", false),
        ("arn:aws:ssm:*:*:session/${aws:username}-*", "arn:aws:ssm:r:1:session/alice-1", true),
        ("arn:aws:ssm:*:*:session/${aws:username}-*", "arn:aws:ssm:r:1:session/bob-1", false),
        ("arn:aws:ssm:*:*:session/${aws:userid}-*", "arn:aws:ssm:r:1:session/-1", false),
        ("arn:aws:ssm:*:*:session/${aws:UserAgent}", "arn:aws:ssm:r:1:session/a:b*", true),
        ("arn:aws:ssm:*:*:session/${aws:UserAgent}", "arn:aws:ssm:r:1:session/a:bc", false), ("arn:aws:ssm:*:*:x", "nonsense", false),
    ]

    @Test(arguments: arns)
    func resources(_ pattern: String, resource: String, matches: Bool) throws {
        let keys = ConditionKeys(["aws:username": ["alice"], "aws:UserAgent": ["a:b*"]])
        #expect(try ResourcePattern(pattern, variables: true, at: "").matches(ResourceName(resource), keys: keys) == matches)
    }
}

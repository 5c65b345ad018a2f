import Testing

@testable import MusterController

/// Against what AWS documents:
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
@Suite struct ConditionTests {
    /// Operator, key, wanted values, given values (none: the key is absent), whether it holds.
    static let cases: [(String, String, [String], [String], Bool)] = [
        ("StringEquals", "aws:username", ["alice", "bob"], ["bob"], true), ("StringEquals", "aws:username", ["alice"], ["Alice"], false),
        ("StringEquals", "aws:username", ["al*"], ["alice"], false), ("StringEquals", "aws:username", ["al*"], ["al*"], true),
        ("StringEquals", "aws:username", ["é"], ["e\u{301}"], false),
        ("StringEquals", "AWS:UserName", ["alice"], ["alice"], true),
        ("StringNotEquals", "aws:username", ["alice", "bob"], ["carol"], true),
        ("StringNotEquals", "aws:username", ["alice", "bob"], ["bob"], false),
        ("StringEqualsIgnoreCase", "aws:username", ["ALICE"], ["alice"], true),
        ("StringNotEqualsIgnoreCase", "aws:username", ["ALICE"], ["alice"], false),
        ("StringLike", "aws:username", ["a*e"], ["alice"], true), ("StringLike", "aws:username", ["a?"], ["alice"], false),
        ("StringNotLike", "aws:username", ["a*"], ["alice"], false), ("StringNotLike", "aws:username", ["b*"], ["alice"], true),
        ("StringLike", "aws:username", ["a${*}"], ["a*"], true), ("StringLike", "aws:username", ["a${*}"], ["ab"], false),
        ("StringEquals", "aws:username", ["a${$}{x}"], ["a${x}"], true),
        ("NumericEquals", "muster:TargetCount", ["10"], ["10.0"], true), ("NumericEquals", "muster:TargetCount", ["10"], ["nan"], false),
        ("NumericNotEquals", "muster:TargetCount", ["10"], ["11"], true),
        ("NumericLessThan", "muster:TargetCount", ["10"], ["10"], false), ("NumericLessThan", "muster:TargetCount", ["10"], ["9"], true),
        ("NumericLessThanEquals", "muster:TargetCount", ["10"], ["10"], true),
        ("NumericGreaterThan", "muster:TargetCount", ["10"], ["10"], false),
        ("NumericGreaterThan", "muster:TargetCount", ["10"], ["9"], false),
        ("NumericGreaterThanEquals", "muster:TargetCount", ["10"], ["10"], true),
        ("NumericGreaterThan", "aws:PrincipalTag/level", ["3"], ["12"], true),
        ("DateGreaterThan", "aws:CurrentTime", ["2026-11-28T00:00:00Z"], ["2026-11-28T00:00:00.001Z"], true),
        ("DateGreaterThan", "aws:CurrentTime", ["2026-11-28T09:00:00+09:00"], ["2026-11-28T00:00:00Z"], false),
        ("DateEquals", "aws:CurrentTime", ["2026-11-28T09:00:00+09:00"], ["2026-11-28T00:00:00Z"], true),
        ("DateNotEquals", "aws:CurrentTime", ["2026-11-28"], ["2026-11-28T00:00:01Z"], true),
        ("DateLessThan", "aws:EpochTime", ["2026-11-28T00:00:00Z"], ["1700000000"], true),
        ("NumericLessThan", "aws:EpochTime", ["1700000001"], ["1700000000"], true),
        ("DateLessThanEquals", "aws:TokenIssueTime", ["2026-11-28T00:00:00Z"], ["2026-11-28T00:00:00Z"], true),
        ("DateGreaterThanEquals", "aws:TokenIssueTime", ["2026-11-28T00:00:00Z"], ["2026-11-27T23:59:59Z"], false),
        ("Bool", "aws:SecureTransport", ["true"], ["true"], true), ("Bool", "aws:SecureTransport", ["false"], ["true"], false),
        ("Bool", "aws:SecureTransport", ["False"], ["FALSE"], true), ("Bool", "aws:SecureTransport", ["true"], ["1"], false),
        ("IpAddress", "aws:SourceIp", ["203.0.113.0/24"], ["203.0.113.200"], true),
        ("IpAddress", "aws:SourceIp", ["203.0.113.0/25"], ["203.0.113.200"], false),
        ("IpAddress", "aws:SourceIp", ["203.0.113.7"], ["203.0.113.7"], true),
        ("IpAddress", "aws:SourceIp", ["0.0.0.0/0"], ["2001:db8::1"], false),
        ("IpAddress", "aws:SourceIp", ["0.0.0.0/0"], ["8.8.8.8"], true),
        ("IpAddress", "aws:SourceIp", ["2001:db8:1234:5678::/61"], ["2001:db8:1234:567f::1"], true),
        ("IpAddress", "aws:SourceIp", ["2001:db8:1234:5678::/64"], ["2001:db8:1234:567f::1"], false),
        ("IpAddress", "aws:SourceIp", ["203.0.113.0/24"], ["::ffff:203.0.113.9"], true),
        ("IpAddress", "aws:SourceIp", ["::ffff:203.0.113.0/120"], ["203.0.113.9"], true),
        ("IpAddress", "aws:SourceIp", ["203.0.113.0/24"], ["nowhere"], false),
        ("NotIpAddress", "aws:SourceIp", ["203.0.113.0/24"], ["203.0.113.9"], false),
        ("NotIpAddress", "aws:SourceIp", ["203.0.113.0/24", "198.51.100.0/24"], ["192.0.2.1"], true),
        ("ArnEquals", "aws:PrincipalArn", ["arn:aws:iam::*:user/a*"], ["arn:aws:iam::000000000001:user/alice"], true),
        ("ArnLike", "aws:PrincipalArn", ["arn:aws:iam::*:user/b*"], ["arn:aws:iam::000000000001:user/alice"], false),
        ("ArnLike", "aws:PrincipalArn", ["arn:aws:*:user/alice:*"], ["arn:aws:iam::000000000001:user/alice"], false),
        ("ArnNotLike", "aws:PrincipalArn", ["arn:aws:iam::*:user/b*"], ["arn:aws:iam::000000000001:user/alice"], true),
        ("ArnNotEquals", "aws:PrincipalArn", ["arn:aws:iam::*:user/alice"], ["arn:aws:iam::000000000001:user/alice"], false),
        ("StringLike", "aws:PrincipalArn", ["*:user/alice"], ["arn:aws:iam::000000000001:user/alice"], true),
        // A key that is not there
        ("StringEquals", "aws:username", ["alice"], [], false), ("StringNotEquals", "aws:username", ["alice"], [], true),
        ("StringLike", "aws:username", ["*"], [], false), ("StringNotLike", "aws:username", ["*"], [], true),
        ("NumericLessThan", "muster:TargetCount", ["10"], [], false), ("NumericNotEquals", "muster:TargetCount", ["10"], [], true),
        ("DateLessThan", "aws:TokenIssueTime", ["2030-01-01"], [], false),
        ("DateNotEquals", "aws:TokenIssueTime", ["2030-01-01"], [], true),
        ("Bool", "aws:SecureTransport", ["false"], [], false), ("IpAddress", "aws:SourceIp", ["0.0.0.0/0"], [], false),
        ("NotIpAddress", "aws:SourceIp", ["0.0.0.0/0"], [], true), ("ArnLike", "aws:PrincipalArn", ["*"], [], false),
        ("ArnNotLike", "aws:PrincipalArn", ["*"], [], true),
        ("StringEqualsIfExists", "aws:username", ["alice"], [], true), ("StringEqualsIfExists", "aws:username", ["alice"], ["bob"], false),
        ("BoolIfExists", "aws:SecureTransport", ["true"], [], true), ("NotIpAddressIfExists", "aws:SourceIp", ["10.0.0.0/8"], [], true),
        ("NotIpAddressIfExists", "aws:SourceIp", ["10.0.0.0/8"], ["10.0.0.1"], false),
        ("Null", "aws:username", ["true"], [], true), ("Null", "aws:username", ["true"], ["alice"], false),
        ("Null", "aws:username", ["false"], ["alice"], true), ("Null", "aws:username", ["false"], [], false),
        // Keys with several values
        ("ForAnyValue:StringEquals", "aws:TagKeys", ["env", "team"], ["env", "other"], true),
        ("ForAnyValue:StringEquals", "aws:TagKeys", ["env"], ["other"], false),
        ("ForAnyValue:StringEquals", "aws:TagKeys", ["env"], [], false),
        ("ForAllValues:StringEquals", "aws:TagKeys", ["env", "team"], ["env", "team"], true),
        ("ForAllValues:StringEquals", "aws:TagKeys", ["env", "team"], ["env", "other"], false),
        ("ForAllValues:StringEquals", "aws:TagKeys", ["env"], [], true),
        ("ForAnyValue:StringNotEquals", "aws:TagKeys", ["env"], ["env", "other"], true),
        ("ForAnyValue:StringNotEquals", "aws:TagKeys", ["env"], ["env"], false),
        ("ForAnyValue:StringNotEquals", "aws:TagKeys", ["env"], [], false),
        ("ForAllValues:StringNotLike", "aws:TagKeys", ["e*"], ["env", "other"], false),
        ("ForAllValues:StringNotLike", "aws:TagKeys", ["e*"], ["team", "other"], true),
        ("ForAnyValue:StringEqualsIfExists", "aws:TagKeys", ["env"], [], true), ("Null", "aws:TagKeys", ["false"], ["a", "b"], true),
        // Two spellings of one tag
        ("StringEquals", "ssm:resourceTag/env", ["staging"], ["prod", "staging"], true),
        ("StringNotEquals", "ssm:resourceTag/env", ["staging"], ["prod", "staging"], false),
    ]

    @Test(arguments: cases)
    func operators(_ name: String, key: String, wanted: [String], given: [String], holds: Bool) throws {
        let values = wanted.map { "\"\($0)\"" }.joined(separator: ",")
        let set = try PolicySet(allow(#""Condition":{"\#(name)":{"\#(key)":[\#(values)]}}"#))
        let keys = given.isEmpty ? [:] : [key.lowercased(): given]
        #expect(set.decide("ssm:SendCommand", "*", keys).isAllowed == holds)
        let explained = set.explain(AccessRequest(action: "ssm:SendCommand", keys: ConditionKeys(keys)))
        #expect(explained.isAllowed == holds)
        #expect(explained.trace.count == 1)
    }

    @Test func allOperatorsAndKeysHaveToHold() throws {
        let set = try PolicySet(
            allow(
                #""Condition":{"StringEquals":{"aws:username":"alice","muster:RunAsUser":"deploy"},"#
                    + #""NumericLessThan":{"muster:TargetCount":5}}"#
            ))
        let keys = ["aws:username": ["alice"], "muster:RunAsUser": ["deploy"], "muster:TargetCount": ["4"]]
        #expect(set.decide("ssm:SendCommand", "*", keys).isAllowed)
        for name in keys.keys {
            var others = keys
            others[name] = ["root"]
            #expect(!set.decide("ssm:SendCommand", "*", others).isAllowed)
        }
    }

    @Test func variablesAreWhatTheRequestSays() throws {
        let set = try PolicySet(allow(#""Condition":{"StringEquals":{"ssm:resourceTag/owner":"${aws:PrincipalTag/team}"}}"#))
        #expect(set.decide("a:b", "*", ["ssm:resourceTag/owner": ["red"], "aws:PrincipalTag/team": ["red"]]).isAllowed)
        #expect(!set.decide("a:b", "*", ["ssm:resourceTag/owner": ["red"], "aws:PrincipalTag/team": ["blue"]]).isAllowed)
        #expect(!set.decide("a:b", "*", ["ssm:resourceTag/owner": [""]]).isAllowed)
        let negated = try PolicySet(allow(#""Condition":{"StringNotEquals":{"ssm:resourceTag/owner":"${aws:PrincipalTag/team}"}}"#))
        #expect(negated.decide("a:b", "*", ["ssm:resourceTag/owner": ["red"]]).isAllowed)
        let fallback = try PolicySet(allow(#""Condition":{"StringLike":{"aws:userid":"${aws:username, 'nobody'}-?"}}"#))
        #expect(fallback.decide("a:b", "*", ["aws:userid": ["nobody-1"]]).isAllowed)
        #expect(!fallback.decide("a:b", "*", ["aws:userid": ["nobody-1"], "aws:username": ["n*"]]).isAllowed)
    }

    @Test func namesOfTagsThatDifferInCaseAreOneKey() {
        let keys = ConditionKeys(["ssm:resourceTag/Env": ["prod"], "ssm:resourcetag/env": ["staging"]])
        #expect(keys["SSM:ResourceTag/ENV"]?.sorted() == ["prod", "staging"])
        #expect(ConditionKeys(["a": []])["a"] == nil)
    }
}

import FoundationEssentials
import MusterDocuments
import Testing

@Suite struct DocumentValueTests {
    @Test func readsEveryKindOfValue() throws {
        let read = try value(#" { "a" : [ 1 , -2.5e1, true, false, null, "x\n\u00e9\ud83d\ude00\/" ] , "b":{} } "#)
        #expect(
            read
                == .object([
                    "a": .array([.integer(1), .number(-25), .bool(true), .bool(false), .null, .string("x\né😀/")]), "b": .object([:]),
                ]))
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\":1,}", "01", "1.", "+1", "nul", "\"\u{1}\"", "\"\\x\"", "\"abc", "{} {}", "{a:1}", "'a'", "// c\n1",
        "\"\\ud800\"", "\"\\udc00x\"", "\"\\ud800\\u0041\"", "1e999", "[1 2]", "{\"a\" 1}", "\"\\u12\"", "-",
    ])
    func refusesWhatIsNotJSON(_ text: String) {
        #expect(throws: DocumentError.self) { try value(text) }
    }

    @Test func refusesInvalidUTF8() {
        #expect(throws: DocumentError.self) { try DocumentValue(json: [0x22, 0xC3, 0x22]) }
    }

    @Test func refusesEveryTruncation() throws {
        let whole = Array(#"{"a":[1,"xé\u00e9",{"b":null}],"c":true}"#.utf8)
        _ = try DocumentValue(json: whole)
        for count in 0..<whole.count {
            #expect(throws: DocumentError.self) { try DocumentValue(json: Array(whole[..<count])) }
        }
    }

    @Test func saysWhichMemberIsGivenTwiceAndWhere() {
        let error = #expect(throws: DocumentError.self) { try value("{\"a\":1,\n \"a\":2}") }
        #expect(error?.description.contains("line 2, column 2: Member 'a' is given twice") == true)
        #expect(throws: DocumentError.self) { try value(#"{"a":1,"\u0061":2}"#) }
    }

    @Test func depthIsBounded() throws {
        func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
        _ = try value(nested(64))
        #expect(throws: DocumentError.self) { try value(nested(65)) }
        #expect(throws: DocumentError.self) { try value(String(repeating: "{\"a\":", count: 60_000)) }
        let deep = (0..<70).reduce(DocumentValue.null) { inner, _ in .array([inner]) }
        #expect(throws: DocumentError.self) { try DocumentDecoder.decode(.object(["schemaVersion": .string("2.2"), "x": deep])) }
    }

    @Test func writesWhatItReads() throws {
        let text = #"{"a":[1,2.5,"é\u0001\"\\\n"],"b":null,"c":{"d":true}}"#
        #expect(try value(text).json == text)
        #expect(DocumentValue.number(3).json == "3")
    }

    @Test func survivesCoding() throws {
        let original = try value(#"{"a":[1,2.5,"x",null,true,{"b":[]}]}"#)
        let coded = try JSONEncoder().encode(original)
        #expect(try JSONDecoder().decode(DocumentValue.self, from: coded) == original)
    }
}

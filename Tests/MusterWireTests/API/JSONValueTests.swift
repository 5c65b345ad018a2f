import Testing

@testable import MusterWire

@Suite struct JSONValueTests {
    @Test func everyKind() throws {
        let json = #"{"a":[null,true,false,0,-9223372036854775808,1.5,"é/\n"],"b":{},"c":[],"d":{"x":{"y":1}}}"#
        let value = try JSONCoding.decode(JSONValue.self, from: Array(json.utf8))
        #expect(
            value
                == .object([
                    "a": .array([.null, .bool(true), .bool(false), .integer(0), .integer(.min), .number(1.5), .string("é/\n")]),
                    "b": .object([:]),
                    "c": .array([]), "d": .object(["x": .object(["y": .integer(1)])]),
                ]))
        #expect(String(decoding: try JSONCoding.encode(value), as: UTF8.self) == json)
    }

    @Test func numbersBeyondInt64BecomeDoubles() throws {
        #expect(
            try JSONCoding.decode([JSONValue].self, from: Array("[9223372036854775808,1e3]".utf8)).first
                == .number(9_223_372_036_854_775_808))
    }

    @Test(arguments: [100, 500, 600, 100_000]) func depthIsBoundedNotFatal(depth: Int) {
        let lists = Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
        let objects = Array((String(repeating: #"{"a":"#, count: depth) + "1" + String(repeating: "}", count: depth)).utf8)
        #expect(((try? JSONCoding.decode(JSONValue.self, from: lists)) != nil) == (depth <= 500))
        #expect(((try? JSONCoding.decode(JSONValue.self, from: objects)) != nil) == (depth <= 500))
    }

    @Test func cutTextNeverTraps() throws {
        let text = Array(#"{"a":[null,true,-1.5e3,"é\u00e9\ud83d\ude00"],"b":{"c":{}}}"#.utf8)
        for length in 0..<text.count {
            #expect(throws: (any Error).self) { try JSONCoding.decode(JSONValue.self, from: Array(text.prefix(length))) }
        }
        for bit in 0..<text.count * 8 {
            var flipped = text
            flipped[bit / 8] ^= 1 << (bit % 8)
            _ = try? JSONCoding.decode(JSONValue.self, from: flipped)
        }
    }
}

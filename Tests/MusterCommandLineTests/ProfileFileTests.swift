import MusterCommandLine
import Testing

@Suite struct ProfileFileTests {
    func changed(
        _ text: String, _ values: [(String, String)] = [("k", "new")], removing obsolete: Set<String> = [], in section: String = "s"
    ) -> String {
        var file = ProfileFile(text: text)
        file.set(values.map { (key: $0.0, value: $0.1) }, removing: obsolete, in: section)
        return file.text
    }

    @Test(arguments: [
        ("", "[s]\nk = new\n"),
        ("[t]\nk = old", "[t]\nk = old\n\n[s]\nk = new\n"),
        ("[t]\nk = old\n", "[t]\nk = old\n\n[s]\nk = new\n"),
        ("[s]\nk = old\n", "[s]\nk = new\n"),
        ("[ s ]\nK=old\nother = 1\n[t]\nk = kept\n", "[ s ]\nk = new\nother = 1\n[t]\nk = kept\n"),
        ("[s]\nk =\n  nested = 1\n  two = 2\nother = 1\n", "[s]\nk = new\nother = 1\n"),
        ("[s]\n# k = a comment\nother =\n  k = nested\n", "[s]\nk = new\n# k = a comment\nother =\n  k = nested\n"),
        ("[s]\nk = 1\n[t]\n[s]\nk = 2\n", "[s]\nk = new\n[t]\n[s]\n"),
        ("[s]\r\nother = 1\r\n", "[s]\nk = new\nother = 1\n"),
        ("not a section\n[s\nk = x\n", "not a section\n[s\nk = x\n\n[s]\nk = new\n"),
    ])
    func oneSectionIsReplacedAndTheRestStays(before: String, after: String) {
        #expect(changed(before) == after)
        #expect(changed(after) == after)
    }

    @Test func obsoleteKeysGo() {
        #expect(changed("[s]\na = 1\nrole_arn = x\nb = 2\n", removing: ["role_arn"]) == "[s]\nk = new\na = 1\nb = 2\n")
    }

    @Test func theLastValueCounts() {
        let file = ProfileFile(text: "[s]\nk = 1\n[t]\nk = 3\n[s]\nk = 2\n  k = nested\n")
        #expect(file.value("k", in: "s") == "2" && file.value("k", in: "t") == "3" && file.value("x", in: "s") == nil)
    }
}

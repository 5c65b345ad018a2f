import Testing

@testable import MusterAgent

@Suite struct RunAsUserTests {
    static let accounts = [
        "root": RunAsUser.Account(name: "root", userID: 0, groupID: 0, home: "/root", shell: "/bin/bash"),
        "deploy": RunAsUser.Account(name: "deploy", userID: 1000, groupID: 1000, home: "/home/deploy", shell: "/bin/bash"),
        "web": RunAsUser.Account(name: "web", userID: 1001, groupID: 1001, home: "/srv/web", shell: "/bin/sh"),
        "wheel": RunAsUser.Account(name: "wheel", userID: 1002, groupID: 0, home: "/", shell: "/bin/sh"),
    ]

    private func choose(
        _ requested: String = "", document: String = "", standard: String? = nil, elevated: Bool = false, as effective: UInt32 = 0
    ) throws(SessionRefusal) -> RunAsUser {
        try RunAsUser.choose(
            requested: requested, documentDefault: document, isElevated: elevated,
            on: .init(effectiveUserID: effective, defaultUser: standard, account: { Self.accounts[$0] }))
    }

    private func words(_ body: () throws(SessionRefusal) -> RunAsUser) -> String {
        do {
            return "as \(try body().account.name)"
        } catch {
            return error.description
        }
    }

    @Test func theFirstThatIsNamedCounts() throws {
        #expect(try choose("deploy", document: "web", standard: "web").account.name == "deploy")
        #expect(try choose(document: "web", standard: "deploy").account.name == "web")
        #expect(try choose(standard: "deploy").account.name == "deploy")
    }

    @Test func nobodyIsRefused() {
        #expect(words { () throws(SessionRefusal) in try choose() }.contains("sessionRunAsDefault"))
        #expect(words { () throws(SessionRefusal) in try choose(standard: "") }.contains("No user is named"))
    }

    @Test func rootOnlyWhereTheConfigurationOfTheAgentSaysSo() {
        #expect(words { () throws(SessionRefusal) in try choose("root") }.contains("agent.json5"))
        #expect(words { () throws(SessionRefusal) in try choose(document: "root", standard: "deploy") }.contains("agent.json5"))
        #expect(words { () throws(SessionRefusal) in try choose("wheel", standard: "deploy") }.contains("group 0"))
        #expect(words { () throws(SessionRefusal) in try choose(standard: "root") } == "as root")
        #expect(words { () throws(SessionRefusal) in try choose(document: "root", standard: "root") } == "as root")
    }

    @Test func elevatedIsRootOrNothing() {
        #expect(words { () throws(SessionRefusal) in try choose("deploy", standard: "deploy", elevated: true) }.contains("runAsElevated"))
        #expect(words { () throws(SessionRefusal) in try choose("deploy", standard: "root", elevated: true) } == "as root")
    }

    @Test func anAgentThatIsNotRootIsNobodyElse() throws {
        #expect(words { () throws(SessionRefusal) in try choose("deploy", as: 1001) }.contains("does not run as root"))
        let own = try choose("web", as: 1001)
        #expect(own.account.name == "web" && !own.switchesUser)
        #expect(try choose("web").switchesUser)
    }

    @Test func unknownAndImpossibleNames() {
        #expect(words { () throws(SessionRefusal) in try choose("nobody-here") }.contains("does not exist"))
        for name in ["-x", "a b", "a/b", "..", "a\nb", "a:b", "a\0b"] {
            #expect(words { () throws(SessionRefusal) in try choose(name) }.contains("no user name"), "\(name)")
        }
    }
}

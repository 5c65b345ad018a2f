import MusterWire
import Testing

@testable import MusterController

@Suite struct OutputFollowersTests {
    /// Who looks at a thousand commands, each of them once, keeps nobody from watching another one.
    @Test func lookingAtManyCommandsKeepsNobodyFromWatchingOne() async {
        let followers = OutputFollowers()
        let watched = CommandID.random()
        let version = followers.version(watched)
        let watcher = Task { await followers.wait(watched, after: version ?? 0) }
        for _ in 0..<1_100 { #expect(followers.version(CommandID.random()) != nil) }
        followers.changed(watched)
        await watcher.value
        #expect(followers.version(watched) != nil)
    }
}

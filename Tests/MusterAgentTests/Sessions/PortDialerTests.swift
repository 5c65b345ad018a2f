import NIOCore
import NIOPosix
import Testing

@testable import MusterAgent

/// Real connections to a real listener of this host.
@Suite struct PortDialerTests {
    private static let denied = DeniedTargets(["127.0.0.0/8", "::1"].compactMap { DeniedTargets.Range($0, parse: NetworkAddress.init) })

    private func dial(_ host: String?, denied: DeniedTargets) async throws -> Result<Void, any Error> {
        let group = MultiThreadedEventLoopGroup.singleton
        let listener = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(listener.localAddress?.port)
        let result: Result<Void, any Error>
        do {
            let channel = try await PortDialer.port(host: host, port: port).dial(denied: denied, on: group.any()) { _ in }.get()
            try? await channel.close()
            result = .success(())
        } catch {
            result = .failure(error)
        }
        try await listener.close()
        return result
    }

    /// A plain port, which names no address, is as denied as any other way to it.
    @Test(arguments: [nil, "127.0.0.1", "localhost", "0.0.0.0", "0", "0.1.2.3", "::ffff:127.0.0.1", "2130706433", "017700000001"])
    func aDeniedHostIsDeniedUnderEveryName(_ host: String?) async throws {
        guard case .failure(let error) = try await dial(host, denied: Self.denied) else {
            Issue.record("connected to \(host ?? "a plain port")")
            return
        }
        let words = (error as? SessionRefusal)?.description ?? ""
        #expect(words.contains("are denied") && words.contains("sessionDeniedTargets"), "\(error)")
    }

    @Test(arguments: [nil, "127.0.0.1", "0.0.0.0"]) func whatIsNotDeniedIsConnectedTo(_ host: String?) async throws {
        let standard = DeniedTargets(DeniedTargets.standard.compactMap { DeniedTargets.Range($0, parse: NetworkAddress.init) })
        try await dial(host, denied: standard).get()
    }
}

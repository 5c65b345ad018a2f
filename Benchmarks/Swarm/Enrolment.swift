import Logging
import MusterAgent
import MusterClient
import MusterCrypto
import MusterWire
import NIOPosix

/// Makes nodes of nothing, over the API that hosts use: a key, an activation, a certificate each.
struct Enrolment: Sendable {
    /// Agents of one source address. It shares a budget of requests a second there, and has ports for far more.
    static let agentsPerSource = 200
    /// What one activation may register (CreateActivation).
    private static let registrationsPerActivation = 1_000

    let console: Console
    let group: MultiThreadedEventLoopGroup
    let parallel: Int
    let logger: Logger

    func run(_ count: Int) async throws -> [Identity] {
        var activations: [CreateActivation.Output] = []
        for first in stride(from: 0, to: count, by: Self.registrationsPerActivation) {
            activations.append(
                try await console.api.call(
                    CreateActivation.self,
                    .init(
                        iamRole: "swarm", defaultInstanceName: "swarm",
                        registrationLimit: min(Self.registrationsPerActivation, count - first),
                        tags: [Tag(key: "fleet", value: "swarm")])))
        }
        let pin = "sha256:\(Hex.encode(try console.authority().fingerprint))"
        return try await withThrowingTaskGroup(of: (Int, Identity).self) { tasks in
            var identities = [Identity?](repeating: nil, count: count)
            var next = 0
            func add() throws {
                guard next < count else { return }
                let (index, activation) = (next, activations[next / Self.registrationsPerActivation])
                next += 1
                var registration = try Registration(
                    controller: console.endpoint.description, activationID: activation.activationID.rawValue,
                    activationCode: activation.activationCode, pin: pin)
                registration.controller.source = Self.source(of: index)
                let (group, logger, prepared) = (group, logger, registration)
                tasks.addTask {
                    (index, try await prepared.enrol(key: PrivateKey.generate(), group: group.next(), logger: logger))
                }
            }
            for _ in 0..<parallel { try add() }
            while let (index, identity) = try await tasks.next() {
                identities[index] = identity
                try add()
            }
            return identities.compactMap { $0 }
        }
    }

    /// 127.0.1.1, 127.0.1.2, …: the whole of 127.0.0.0/8 is this host.
    static func source(of index: Int) -> String {
        let number = index / agentsPerSource
        return "127.0.\(1 + number / 250).\(1 + number % 250)"
    }
}

import FoundationEssentials
import Logging
package import MusterClient
package import MusterCrypto
import MusterTLS
package import MusterWire

/// An operator at a controller: the AWS profile or environment they came with, and the calls they make.
package struct Operator: Sendable {
    package let profile: OperatorProfile
    package let api: APIClient

    /// - Parameter credentials: where the profile has no plain key, what it leads to.
    package init(
        environment: [String: String] = ProcessInfo.processInfo.environment, profile name: String? = nil, credentials: Credentials? = nil
    ) throws {
        profile = try OperatorProfile.load(environment: environment, profile: name, resolved: credentials)
        let tls = try TLSContext(.client(trust: profile.trust()))
        api = APIClient(
            endpoint: profile.endpoint, credentials: profile.credentials, region: profile.region, tls: tls,
            logger: Logger(label: "muster", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    /// Calls `body` with an operator and closes the connections afterwards, whatever happened.
    package static func with<T>(
        environment: [String: String] = ProcessInfo.processInfo.environment, profile name: String? = nil,
        _ body: (Operator) async throws -> T
    ) async throws -> T {
        let caller = try await resolved(environment: environment, profile: name)
        do {
            let result = try await body(caller)
            caller.api.shutdown()
            return result
        } catch {
            caller.api.shutdown()
            throw error
        }
    }

    /// An operator with the credentials that the profile leads to, also by a program or a role.
    package static func resolved(
        environment: [String: String] = ProcessInfo.processInfo.environment, profile name: String? = nil
    ) async throws -> Operator {
        func credentials(_ source: CredentialSource) async throws -> Credentials {
            switch source {
            case .keys(let credentials): return credentials
            case .process(let command): return try CredentialProcess.credentials(command)
            case .role(let role, let from):
                let caller = try Operator(environment: environment, profile: name, credentials: try await credentials(from))
                defer { caller.api.shutdown() }
                return try await caller.api.assume(role)
            }
        }
        let source = try OperatorProfile.source(environment: environment, profile: name)
        return try Operator(environment: environment, profile: name, credentials: try await credentials(source))
    }

    /// What an agent has to pin, as the controller says. The bundle of this operator may be from before the authority was rolled.
    package func pin() async throws -> String {
        try JSONCoding.decode(AuthorityList.self, from: try await api.get(AuthorityList.path)).pin
    }
}

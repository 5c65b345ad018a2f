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

    package init(environment: [String: String] = ProcessInfo.processInfo.environment, profile name: String? = nil) throws {
        profile = try OperatorProfile.load(environment: environment, profile: name)
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
        let caller = try Operator(environment: environment, profile: name)
        do {
            let result = try await body(caller)
            caller.api.shutdown()
            return result
        } catch {
            caller.api.shutdown()
            throw error
        }
    }

    /// What an agent has to pin, as the controller says. The bundle of this operator may be from before the authority was rolled.
    package func pin() async throws -> String {
        try JSONCoding.decode(AuthorityList.self, from: try await api.get(AuthorityList.path)).pin
    }
}

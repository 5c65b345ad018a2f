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

    /// The authority that an agent has to pin: the one root in the bundle this operator trusts.
    package func pinnedAuthority() throws -> Certificate {
        guard let path = profile.caBundle, let bytes = FileManager.default.contents(atPath: path) else {
            throw CommandLineError(
                "No CA bundle is configured (AWS_CA_BUNDLE or ca_bundle), so the agent's pin is not known. Pass --pin, as `muster-controller init` printed it."
            )
        }
        let authorities = try Certificate.chain(pem: String(decoding: bytes, as: UTF8.self)).filter(\.isCertificateAuthority)
        guard authorities.count == 1, let authority = authorities.first else {
            throw CommandLineError("\(path) holds \(authorities.count) authorities; pass --pin to say which one the agents have to pin.")
        }
        return authority
    }
}

internal import FoundationEssentials
package import Logging
package import MusterCrypto
package import MusterTLS
package import MusterWire
internal import NIOConcurrencyHelpers
internal import ServiceLifecycle

/// The certificate a listener shows, and its successors. [service]
///
/// Our own is issued by the controller's CA, lives for hours and is renewed at half of its life; its key never leaves
/// memory. One from files is read again on request (SIGHUP). New connections get the new one; old ones live on.
package final class ServerCertificate: Service {
    package enum Source: Sendable {
        case authority(AuthoritySet, names: [String], hours: Int)
        case files(certificate: String, key: String)
    }

    /// The clocks of clients may be a little slow.
    private static let backdatedSeconds: Int64 = 5 * 60

    private let logger: Logger
    private let current: NIOLockedValueBox<Current>

    private struct Current {
        var source: Source
        var identity: TLSIdentity
        var clientAuthorities: [Certificate]?
        var context: TLSContext
        var leaf: Certificate
    }

    package init(_ source: Source, clientAuthorities: [Certificate]?, now: Timestamp = .now(), logger: Logger) throws {
        self.logger = logger
        current = NIOLockedValueBox(try Self.make(source, clientAuthorities, now))
    }

    package var context: TLSContext { current.withLockedValue { $0.context } }
    package var leaf: Certificate { current.withLockedValue { $0.leaf } }

    /// On failure the old certificate stays in use.
    package func renew(now: Timestamp = .now()) throws {
        try current.withLockedValue { $0 = try Self.make($0.source, $0.clientAuthorities, now) }
    }

    /// From now on ours is issued, and clients' certificates are judged, by these authorities. One from files stays.
    package func adopt(_ authorities: AuthoritySet, now: Timestamp = .now()) throws {
        // A context of its own also means new keys for session tickets: nobody resumes under an authority that has gone.
        try current.withLockedValue { current in
            let trusted = current.clientAuthorities == nil ? nil : authorities.trusted
            switch current.source {
            case .authority(_, let names, let hours):
                current = try Self.make(.authority(authorities, names: names, hours: hours), trusted, now)
            case .files:
                // As it was read: what is in the files by now is SIGHUP's business.
                if trusted != nil { current = try Self.make(current.source, current.identity, trusted) }
            }
        }
    }

    private var source: Source { current.withLockedValue { $0.source } }

    /// Reads the files again; nothing to do for a certificate of our own.
    package func reload() {
        guard case .files(let certificate, _) = source else { return }
        do {
            try renew()
            logger.info("certificate reloaded", metadata: ["path": "\(certificate)", "not-after": "\(leaf.notAfter)"])
        } catch {
            logger.error(
                "certificate not reloaded; the old one stays", metadata: ["path": "\(certificate)", "error": "\(PlainWords.of(error))"])
        }
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do {
                    try await Task.sleep(for: .seconds(self.secondsToRenewal(now: .now())))
                } catch {
                    return
                }
                guard case .authority = self.source, self.isDue(now: .now()) else { continue }
                do {
                    try self.renew()
                    self.logger.info("server certificate renewed", metadata: ["not-after": "\(self.leaf.notAfter)"])
                } catch {
                    self.logger.error(
                        "server certificate not renewed; trying again in a minute", metadata: ["error": "\(PlainWords.of(error))"])
                    try? await Task.sleep(for: .seconds(60))
                }
            }
        }
    }

    private func secondsToRenewal(now: Timestamp) -> Int64 {
        guard case .authority(_, _, let hours) = source else { return 24 * 3600 }
        // Looked at every ten minutes at least: a host that slept must not serve an expired certificate for half a day.
        return min(600, max(1, leaf.notAfter - Int64(hours) * 1800 - now.milliseconds / 1000))
    }

    /// Half of its life is over. A look that comes earlier changes nothing.
    package func isDue(now: Timestamp) -> Bool {
        guard case .authority(_, _, let hours) = source else { return false }
        return now.milliseconds / 1000 >= leaf.notAfter - Int64(hours) * 1800
    }

    /// That the two files can be served now; for `check`.
    package static func verifyFiles(certificate: String, key: String, now: Timestamp) throws -> Certificate {
        let leaf = try make(.files(certificate: certificate, key: key), nil, now).leaf
        let seconds = now.milliseconds / 1000
        guard leaf.notBefore <= seconds, seconds < leaf.notAfter else {
            throw ControllerError.badSetting("The certificate in \(certificate) is not valid at this time. Replace it.")
        }
        return leaf
    }

    private static func make(_ source: Source, _ clientAuthorities: [Certificate]?, _ now: Timestamp) throws -> Current {
        let chain: [Certificate]
        let key: PrivateKey
        switch source {
        case .authority(let authorities, let names, let hours):
            key = try PrivateKey.generate()
            let isAddress: (String) -> Bool = {
                $0.contains(":") || ($0.split(separator: ".").count == 4 && $0.allSatisfy { $0.isNumber || $0 == "." })
            }
            let seconds = now.milliseconds / 1000
            let leaf = try authorities.issuing.issue(
                CertificateTemplate(
                    commonName: names.first ?? "muster-controller", uris: [],
                    dnsNames: names.filter { !isAddress($0) }, ipAddresses: names.filter(isAddress),
                    notBefore: seconds - backdatedSeconds, notAfter: seconds + Int64(hours) * 3600, usage: .server),
                for: try key.publicKey)
            // The CA goes along, because agents pin it.
            chain = authorities.serverChain(leaf)
        case .files(let certificatePath, let keyPath):
            chain = try Certificate.chain(pem: try DataDirectory.text(at: certificatePath))
            key = try PrivateKey(pem: try DataDirectory.text(at: keyPath))
        }
        return try make(source, TLSIdentity(chain: chain, key: key), clientAuthorities)
    }

    private static func make(_ source: Source, _ identity: TLSIdentity, _ clientAuthorities: [Certificate]?) throws -> Current {
        guard let leaf = identity.chain.first else { throw ControllerError.noCertificate }
        let context = try TLSContext(.server(identity: identity, clientAuthorities: clientAuthorities))
        return Current(source: source, identity: identity, clientAuthorities: clientAuthorities, context: context, leaf: leaf)
    }
}

package import MusterCrypto
package import MusterTLS
package import NIOCore
package import NIOPosix

/// The controller's authority, known so far by the SHA-256 of its certificate only.
package enum PinnedAuthority {
    /// Connects, and returns the certificate at which the verified chain ended: the pinned one, and no other.
    package static func fetch(
        pin: [UInt8], from endpoint: Endpoint, timeout: TimeAmount = .seconds(15),
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) async throws(ClientError) -> Certificate {
        let context: TLSContext
        do {
            context = try TLSContext(.client(trust: .pinned(pin)))
        } catch {
            throw ClientError(.configuration, "Cannot set up TLS: \(error)")
        }
        let secured = try await SecureChannel.connect(to: endpoint, tls: context, group: group, deadline: .now() + timeout)
        let channel = secured.channel
        let anchor = try? await channel.eventLoop.submit {
            try channel.pipeline.syncOperations.handler(type: TLSHandler.self).peer?.verificationAnchor
        }.get()
        channel.close(promise: nil)
        guard let anchor = anchor.flatMap({ $0 }), anchor.fingerprint == pin else {
            throw ClientError(.untrusted, "\(endpoint) did not show the pinned authority.")
        }
        return anchor
    }
}

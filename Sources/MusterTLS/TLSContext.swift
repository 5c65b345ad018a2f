import COpenSSL
import MusterCrypto
import NIOConcurrencyHelpers

/// One configuration, made ready for many connections. It is made anew when a certificate or a set of authorities changes.
///
/// A client's context keeps the newest session ticket, for the host it came from, and gives it away once (RFC 8446 §C.4).
/// A server's tickets hold the session themselves, encrypted: an idle controller remembers nothing about absent nodes.
/// The peer's certificate is part of the session, so a resumed connection has the same identity; whether that is still
/// welcome has to be asked after every handshake.
package final class TLSContext: Sendable {
    private static let sessionSeconds = 7_200
    private static let maximumClientChainBytes = 16_384

    let configuration: TLSConfiguration
    /// Owned. OpenSSL counts references to it atomically and locks what changes; nothing is configured after init.
    private nonisolated(unsafe) let context: OpaquePointer
    private let newest = NIOLockedValueBox<(serverName: String, session: TLSSession)?>(nil)

    package init(_ configuration: TLSConfiguration) throws(TLSError) {
        OpenSSLErrors.clear()
        let method = configuration.isServer ? TLS_server_method() : TLS_client_method()
        guard let context = SSL_CTX_new(method) else { throw .drained(.configuration, "start OpenSSL's TLS") }
        self.configuration = configuration
        self.context = context

        guard shim_SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1,
            // Forward secrecy and authenticated encryption only; TLS 1.3 has nothing else. AES-128 first: RFC 9325 asks for no more, and
            // it is half as fast again as AES-256, which counts in a tunnel, where four ends work on every byte.
            SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20") == 1,
            SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") == 1
        else { throw .drained(.configuration, "restrict TLS to versions 1.3 and 1.2") }
        SSL_CTX_set_options(context, shim_SSL_OP_NO_RENEGOTIATION() | shim_SSL_OP_NO_COMPRESSION())
        // An idle connection keeps no record buffers; a chain is sent as it was given.
        _ = shim_SSL_CTX_set_mode(context, Int(SSL_MODE_RELEASE_BUFFERS) | Int(SSL_MODE_NO_AUTO_CHAIN))
        guard PeerVerification.configure(self, handle: context) else {
            throw .drained(.configuration, "set up the trusted certificate authorities")
        }
        if let identity = configuration.identity { try Self.use(identity, context, isServer: configuration.isServer) }
        try configureSessions()
    }

    deinit {
        SSL_CTX_free(context)
    }

    /// A client keeps its root to itself (RFC 8446 §4.4.2): the server has it or will not believe it, and would hold it in memory once
    /// more for every connection. Servers send theirs: a new client may know nothing of it but the digest.
    private static func use(_ identity: TLSIdentity, _ context: OpaquePointer, isServer: Bool) throws(TLSError) {
        let attempt = "use the certificate \(identity.chain.first?.description ?? "(none)") and its key for TLS"
        guard let leaf = identity.chain.first else { throw TLSError(.configuration, attempt, reasons: ["the chain is empty"]) }
        guard let above = OPENSSL_sk_new_null() else { throw .drained(.configuration, attempt) }
        defer { OPENSSL_sk_free(above) }
        for certificate in identity.chain.dropFirst() {
            certificate.withHandle { if isServer || X509_self_signed($0, 0) != 1 { OPENSSL_sk_push(above, UnsafeRawPointer($0)) } }
        }
        let isUsed = leaf.withHandle { leaf in
            identity.key.withHandle { key in SSL_CTX_use_cert_and_key(context, leaf, key, above, 1) }
        }
        guard isUsed == 1 else { throw .drained(.configuration, attempt) }
    }

    private func configureSessions() throws(TLSError) {
        SSL_CTX_set_timeout(context, Self.sessionSeconds)
        switch configuration.side {
        case .server(_, _, let name):
            _ = shim_SSL_CTX_set_session_cache_mode(context, Int(SSL_SESS_CACHE_OFF))
            // One ticket a handshake: clients keep only the newest.
            SSL_CTX_set_num_tickets(context, 1)
            SSL_CTX_set_options(context, shim_SSL_OP_CIPHER_SERVER_PREFERENCE())
            _ = shim_SSL_CTX_set_max_cert_list(context, Self.maximumClientChainBytes)
            // Without a name OpenSSL refuses to resume sessions that hold a client certificate. The digest is as long as a name may be.
            let digest = SHA256.hash(name)
            guard SSL_CTX_set_session_id_context(context, digest, UInt32(digest.count)) == 1 else {
                throw .drained(.configuration, "name the TLS sessions")
            }
        case .client:
            _ = shim_SSL_CTX_set_session_cache_mode(context, Int(SSL_SESS_CACHE_CLIENT) | Int(SSL_SESS_CACHE_NO_INTERNAL))
            SSL_CTX_sess_set_new_cb(context) { ssl, session in
                guard let ssl, let session, let connection = TLSConnection.of(ssl), let name = connection.serverName,
                    SSL_SESSION_is_resumable(session) == 1
                else { return 0 }
                connection.context.keep(TLSSession(owning: session), for: name)
                return 1
            }
        }
    }

    private func keep(_ session: TLSSession, for serverName: String) {
        newest.withLockedValue { $0 = (serverName, session) }
    }

    /// The newest session with the host, at most once: a ticket used twice links the connections for a listener.
    func takeSession(for serverName: String) -> TLSSession? {
        newest.withLockedValue { newest in
            guard let kept = newest, kept.serverName == serverName else { return nil }
            newest = nil
            return kept.session
        }
    }

    func makeSSL() -> OpaquePointer? {
        SSL_new(context)
    }
}

/// Owns a session; connections on any thread may begin from it, OpenSSL counts references atomically.
final class TLSSession: Sendable {
    nonisolated(unsafe) let handle: OpaquePointer

    init(owning handle: OpaquePointer) {
        self.handle = handle
    }

    deinit {
        SSL_SESSION_free(handle)
    }
}

extension TLSConfiguration {
    var isServer: Bool {
        if case .server = side { true } else { false }
    }

    var identity: TLSIdentity? {
        switch side {
        case .server(let identity, _, _): identity
        case .client(_, let identity): identity
        }
    }
}

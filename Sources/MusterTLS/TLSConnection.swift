import COpenSSL
import MusterCrypto
import NIOCore

/// One SSL object between two buffers of ciphertext. It does no I/O and knows no channel:
///
///     received ──► BIO read ──►┌─────┐──► read: plaintext
///                              │ SSL │
///     outgoing ◄── BIO write ◄─└─────┘◄── write: plaintext
///
/// The BIO is a memory BIO of our own kind (man page BIO_meth_new(3)), which reads and writes the two ByteBuffers in place:
/// OpenSSL's keeps the memory of its largest message for as long as the connection lives. Belongs to one event loop.
final class TLSConnection {
    enum HandshakeOutcome {
        case wantsInput, completed, failed(TLSError)
    }

    enum ReadOutcome {
        case bytes, wantsInput, closeNotify, failed(TLSError)
    }

    let context: TLSContext
    let serverName: String?
    /// Ciphertext that OpenSSL has not taken yet.
    private var received = ByteBuffer()
    /// Ciphertext that OpenSSL wants sent.
    private var outgoing = ByteBuffer()
    /// Why our own part of the verification refused.
    var verificationNote: String?
    private let ssl: OpaquePointer

    init(context: TLSContext, serverName: String?) throws(TLSError) {
        OpenSSLErrors.clear()
        let attempt = "begin a TLS connection"
        guard let ssl = context.makeSSL() else { throw .drained(.configuration, attempt) }
        self.context = context
        self.serverName = serverName
        self.ssl = ssl
        guard SSL_set_ex_data(ssl, Self.index, Unmanaged.passUnretained(self).toOpaque()) == 1,
            let method = ByteBufferBIO.method, let bio = BIO_new(method)
        else { throw .drained(.configuration, attempt) }
        BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        SSL_set_bio(ssl, bio, bio)  // the same for both directions, and its one reference is given away
        if context.configuration.isServer {
            SSL_set_accept_state(ssl)
            return
        }
        guard let serverName, PeerVerification.expect(serverName, ssl) else {
            throw TLSError(
                .configuration, "begin a TLS connection to “\(serverName ?? "")”",
                reasons: ["a client has to know the host name or address it expects, and this is neither"])
        }
        if let session = context.takeSession(for: serverName) { SSL_set_session(ssl, session.handle) }
        SSL_set_connect_state(ssl)
    }

    deinit {
        SSL_free(ssl)
    }

    /// OpenSSL reserves this index for the application (SSL_set_app_data).
    private static let index: Int32 = 0

    /// The connection behind an SSL in a callback.
    static func of(_ ssl: OpaquePointer) -> TLSConnection? {
        SSL_get_ex_data(ssl, index).map { Unmanaged<TLSConnection>.fromOpaque($0).takeUnretainedValue() }
    }

    // MARK: Ciphertext

    func receive(_ ciphertext: inout ByteBuffer) {
        if received.readableBytes == 0 {
            received = ciphertext
        } else {
            received.writeBuffer(&ciphertext)
        }
    }

    var outgoingBytes: Int { outgoing.readableBytes }

    func takeOutgoing() -> ByteBuffer {
        defer { outgoing = ByteBuffer() }
        return outgoing
    }

    fileprivate func read(into target: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(target.count, received.readableBytes)
        received.readWithUnsafeReadableBytes { bytes in
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes.prefix(count)))
            return count
        }
        if received.readableBytes == 0 { received = ByteBuffer() }  // lets go of the memory
        return count
    }

    fileprivate func send(_ bytes: UnsafeRawBufferPointer) {
        outgoing.writeBytes(bytes)
    }

    // MARK: OpenSSL

    func handshake() -> HandshakeOutcome {
        OpenSSLErrors.clear()
        let result = SSL_do_handshake(ssl)
        if result == 1 { return completedHandshake() }
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .wantsInput
        default: return .failed(handshakeError(reasons: OpenSSLErrors.drain()))
        }
    }

    private func completedHandshake() -> HandshakeOutcome {
        let isClient = !context.configuration.isServer
        guard let leaf = SSL_get0_peer_certificate(ssl) else {
            return isClient ? .failed(handshakeError(reasons: ["the server has no certificate"])) : .completed
        }
        guard SSL_get_verify_result(ssl) == Int(X509_V_OK) || !isVerifying else { return .failed(handshakeError(reasons: [])) }
        guard SSL_session_reused(ssl) == 0 || PeerVerification.isWithinValidity(leaf, ssl) else {
            return .failed(TLSError(.verification, attempt, reasons: ["the certificate of the resumed session is not valid at this time"]))
        }
        return .completed
    }

    private var isVerifying: Bool {
        SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER != 0
    }

    private var attempt: String { "complete the TLS handshake with \(partner)" }

    private var partner: String { serverName ?? "a client" }

    private func handshakeError(reasons: [String]) -> TLSError {
        let result = SSL_get_verify_result(ssl)
        guard result != Int(X509_V_OK) else { return TLSError(.handshake, attempt, reasons: reasons) }
        let reason = verificationNote ?? String(cString: X509_verify_cert_error_string(result))
        return TLSError(.verification, attempt, reasons: reasons + [reason])
    }

    /// Appends plaintext to the buffer until there is none or the buffer has grown by about the limit.
    func read(into buffer: inout ByteBuffer, limit: Int) -> ReadOutcome {
        let start = buffer.readableBytes
        while buffer.readableBytes - start < limit {
            OpenSSLErrors.clear()
            var result: Int32 = 0
            // Plaintext is shorter than its ciphertext, so this much room is enough for what has arrived.
            let room = min(max(received.readableBytes, Int(SSL_pending(ssl)), 16), limit)
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { space in
                result = SSL_read(ssl, space.baseAddress, Int32(clamping: space.count))
                return max(0, Int(result))
            }
            if result > 0 {
                // Asking again would only tell that there is nothing.
                if received.readableBytes == 0, SSL_has_pending(ssl) == 0 { return .wantsInput }
                continue
            }
            // Asked at once: any other call on this connection, as a reader might make, would change the answer.
            switch SSL_get_error(ssl, result) {
            case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .wantsInput
            case SSL_ERROR_ZERO_RETURN: return .closeNotify
            default: return .failed(.drained(.connection, "read from the TLS connection with \(partner)"))
            }
        }
        return .bytes
    }

    /// Encrypts into `outgoing`; nil when it worked. The BIO takes everything, so there is never a part left to repeat.
    func write(_ plaintext: UnsafeRawBufferPointer) -> TLSError? {
        guard plaintext.count > 0 else { return nil }
        OpenSSLErrors.clear()
        var written = 0
        outgoing.reserveCapacity(minimumWritableBytes: plaintext.count + (plaintext.count / TLSConnection.recordBytes + 1) * 32)
        let result = SSL_write_ex(ssl, plaintext.baseAddress, plaintext.count, &written)
        guard result == 1, written == plaintext.count else { return .drained(.connection, "write to the TLS connection with \(partner)") }
        return nil
    }

    /// The most plaintext that one record holds (RFC 8446 §5.1).
    static let recordBytes = 16_384

    func sendCloseNotify() {
        OpenSSLErrors.clear()
        SSL_shutdown(ssl)  // 0 or 1; a failure means that there is no connection to close
        OpenSSLErrors.clear()
    }

    // MARK: The peer

    var peer: TLSPeer {
        let isResumed = SSL_session_reused(ssl) == 1
        let chain = isResumed ? resumedChain() : Self.certificates(SSL_get0_verified_chain(ssl))
        return TLSPeer(
            chain: chain.certificates, version: String(cString: SSL_get_version(ssl)), isResumed: isResumed,
            verificationAnchor: chain.isComplete ? chain.certificates.last : nil)
    }

    private static func certificates(_ stack: OpaquePointer?) -> (certificates: [Certificate], isComplete: Bool) {
        var certificates: [Certificate] = []
        for index in 0..<max(0, OPENSSL_sk_num(stack)) {
            // A certificate that cannot be read ends the chain; a missing leaf is nobody.
            guard let certificate = OPENSSL_sk_value(stack, index), let read = try? Certificate(referencing: OpaquePointer(certificate))
            else { return (certificates, false) }
            certificates.append(read)
        }
        return (certificates, !certificates.isEmpty)
    }

    /// A session holds no verified chain, only the leaf that was verified when it began.
    private func resumedChain() -> (certificates: [Certificate], isComplete: Bool) {
        guard let handle = SSL_get0_peer_certificate(ssl), let leaf = try? Certificate(referencing: handle) else { return ([], false) }
        let trusted: [Certificate] =
            switch context.configuration.side {
            case .server(_, let authorities, _): authorities ?? []
            case .client(.authorities(let authorities), _): authorities
            case .client(.pinned(let pin), _): Self.certificates(SSL_get_peer_cert_chain(ssl)).certificates.filter { $0.fingerprint == pin }
            case .client(.system, _): []
            }
        let issuer = trusted.first { issuer in issuer.withHandle { X509_check_issued($0, handle) } == X509_V_OK }
        return (issuer.map { [leaf, $0] } ?? [leaf], issuer != nil)
    }
}

/// The kind of BIO that reads and writes a TLSConnection's buffers. Complete before anybody sees it, and only read then.
private enum ByteBufferBIO {
    nonisolated(unsafe) static let method: OpaquePointer? = {
        guard let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ByteBuffer") else { return nil }
        BIO_meth_set_create(method) { bio in
            BIO_set_init(bio, 1)
            return 1
        }
        BIO_meth_set_read(method) { bio, target, count in
            shim_BIO_clear_retry_flags(bio)
            guard let target, count > 0, let connection = connection(of: bio) else { return -1 }
            let taken = connection.read(into: UnsafeMutableRawBufferPointer(start: target, count: Int(count)))
            if taken == 0 {
                shim_BIO_set_retry_read(bio)  // not the end: the rest has not arrived yet
                return -1
            }
            return Int32(taken)
        }
        BIO_meth_set_write(method) { bio, source, count in
            shim_BIO_clear_retry_flags(bio)
            guard let source, count > 0, let connection = connection(of: bio) else { return -1 }
            connection.send(UnsafeRawBufferPointer(start: source, count: Int(count)))
            return count
        }
        BIO_meth_set_ctrl(method) { _, command, _, _ in
            command == BIO_CTRL_FLUSH ? 1 : 0
        }
        return method
    }()

    private static func connection(of bio: OpaquePointer?) -> TLSConnection? {
        BIO_get_data(bio).map { Unmanaged<TLSConnection>.fromOpaque($0).takeUnretainedValue() }
    }
}

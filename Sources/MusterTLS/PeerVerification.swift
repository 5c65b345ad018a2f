import COpenSSL
import MusterCrypto

/// How OpenSSL is told whom to believe (man pages X509_VERIFY_PARAM_set_flags(3), SSL_CTX_set_cert_verify_callback(3)).
/// It checks the purpose by itself: a server's certificate must allow server use, a client's client use.
enum PeerVerification {
    private static let maximumDepth: Int32 = 8

    static func configure(_ context: TLSContext, handle: OpaquePointer) -> Bool {
        guard let parameters = SSL_CTX_get0_param(handle) else { return false }
        X509_VERIFY_PARAM_set_depth(parameters, maximumDepth)
        if let time = context.configuration.verificationTime { X509_VERIFY_PARAM_set_time(parameters, Int(time)) }
        switch context.configuration.side {
        case .server(_, clientAuthorities: nil, _):
            SSL_CTX_set_verify(handle, SSL_VERIFY_NONE, nil)
            return true
        case .server(_, clientAuthorities: let authorities?, _):
            SSL_CTX_set_verify(handle, SSL_VERIFY_PEER, nil)
            return trust(authorities, handle)
                && authorities.allSatisfy { authority in authority.withHandle { SSL_CTX_add_client_CA(handle, $0) } == 1 }
        case .client(let trust, _):
            SSL_CTX_set_verify(handle, SSL_VERIFY_PEER, nil)
            switch trust {
            case .system:
                return SSL_CTX_set_default_verify_paths(handle) == 1
            case .authorities(let authorities):
                return self.trust(authorities, handle)
            case .pinned:
                // The pinned one is an anchor even when another authority has signed it.
                X509_VERIFY_PARAM_set_flags(parameters, UInt(X509_V_FLAG_PARTIAL_CHAIN))
                SSL_CTX_set_cert_verify_callback(handle, { store, _ in PeerVerification.verifyPinned(store) }, nil)
                return true
            }
        }
    }

    private static func trust(_ authorities: [Certificate], _ handle: OpaquePointer) -> Bool {
        let store = SSL_CTX_get_cert_store(handle)
        return authorities.allSatisfy { authority in authority.withHandle { X509_STORE_add_cert(store, $0) } == 1 }
    }

    /// The pin rule, in place of OpenSSL's own verification: of everything the server presented, only the certificate with
    /// the pinned digest is trusted; then OpenSSL verifies chain, purpose and name as always.
    private static func verifyPinned(_ store: OpaquePointer?) -> Int32 {
        guard let store,
            let ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()).map(OpaquePointer.init),
            let connection = TLSConnection.of(ssl),
            case .client(.pinned(let pin), _) = connection.context.configuration.side,
            let anchors = OPENSSL_sk_new_null()
        else { return refuse(store) }
        // Its certificates belong to the connection.
        defer { OPENSSL_sk_free(anchors) }
        let presented = X509_STORE_CTX_get0_untrusted(store)
        for index in 0..<max(0, OPENSSL_sk_num(presented)) {
            guard let certificate = OPENSSL_sk_value(presented, index) else { continue }
            // A pinned leaf is no authority: it would vouch for itself, and for ever.
            if hasDigest(pin, OpaquePointer(certificate)), X509_check_ca(OpaquePointer(certificate)) == 1 {
                OPENSSL_sk_push(anchors, certificate)
                break
            }
        }
        guard OPENSSL_sk_num(anchors) == 1 else {
            connection.verificationNote = "no certificate authority in the presented chain has the pinned SHA-256 digest"
            return refuse(store)
        }
        X509_STORE_CTX_set0_trusted_stack(store, anchors)
        let result = X509_verify_cert(store)
        guard result == 1, let chain = X509_STORE_CTX_get0_chain(store), OPENSSL_sk_num(chain) > 1,
            let last = OPENSSL_sk_value(chain, OPENSSL_sk_num(chain) - 1), hasDigest(pin, OpaquePointer(last))
        else { return result == 1 ? refuse(store) : 0 }
        return 1
    }

    private static func refuse(_ store: OpaquePointer?) -> Int32 {
        if let store { X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION) }
        return 0
    }

    static func hasDigest(_ pin: [UInt8], _ certificate: OpaquePointer) -> Bool {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        return X509_digest(certificate, EVP_sha256(), &digest, &length) == 1 && Array(digest.prefix(Int(length))) == pin
    }

    /// Whom a client expects: a host name, or an address. False when the name is neither.
    static func expect(_ name: String, _ ssl: OpaquePointer) -> Bool {
        // An empty name would switch the check off.
        guard !name.isEmpty, name.utf8.allSatisfy({ (0x21...0x7E).contains($0) }), let parameters = SSL_get0_param(ssl)
        else { return false }
        if isAddress(name) { return X509_VERIFY_PARAM_set1_ip_asc(parameters, name) == 1 }
        // The common name is no host name, whatever it looks like (RFC 6125 §6.4.4).
        X509_VERIFY_PARAM_set_hostflags(
            parameters, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT))
        return X509_VERIFY_PARAM_set1_host(parameters, name, name.utf8.count) == 1 && shim_SSL_set_tlsext_host_name(ssl, name) == 1
    }

    private static func isAddress(_ name: String) -> Bool {
        guard let address = a2i_IPADDRESS(name) else {
            OpenSSLErrors.clear()
            return false
        }
        ASN1_OCTET_STRING_free(address)
        return true
    }

    /// A resumed handshake verifies nothing again, so a session would outlive the certificate it began with.
    static func isWithinValidity(_ certificate: OpaquePointer, _ ssl: OpaquePointer) -> Bool {
        X509_cmp_timeframe(SSL_get0_param(ssl), X509_get0_notBefore(certificate), X509_get0_notAfter(certificate)) == 0
    }
}

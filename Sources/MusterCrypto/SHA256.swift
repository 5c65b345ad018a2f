import COpenSSL

/// SHA-256 (FIPS 180-4), in pieces or at once. A copy continues on its own.
package struct SHA256: Sendable {
    private var state: State

    package init() {
        state = State()
    }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        if !isKnownUniquelyReferenced(&state) { state = State(copying: state) }
        state.update(bytes)
    }

    package mutating func update(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { update($0) }
    }

    /// The digest of everything so far; more may be added afterwards.
    package func finalize() -> [UInt8] {
        State(copying: state).finish()
    }

    package static func hash(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: Digests.sha256Length) { digest, count in
            let isDone = EVP_Digest(bytes.baseAddress, bytes.count, digest.baseAddress, nil, Digests.sha256, nil)
            precondition(isDone == 1, "OpenSSL cannot compute SHA-256")
            count = Digests.sha256Length
        }
    }

    /// For those who hash every frame: the 32 bytes go where the caller wants them.
    package static func hash(_ bytes: UnsafeRawBufferPointer, into digest: UnsafeMutableRawBufferPointer) {
        precondition(digest.count >= Digests.sha256Length, "no room for a digest")
        let isDone = EVP_Digest(
            bytes.baseAddress, bytes.count, digest.baseAddress?.assumingMemoryBound(to: UInt8.self), nil, Digests.sha256, nil)
        precondition(isDone == 1, "OpenSSL cannot compute SHA-256")
    }

    package static func hash(_ bytes: [UInt8]) -> [UInt8] {
        bytes.withUnsafeBytes { hash($0) }
    }

    package static func hash(_ text: String) -> [UInt8] {
        var text = text
        return text.withUTF8 { hash(UnsafeRawBufferPointer($0)) }
    }
}

/// Owns one digest context. Only reached through the struct above, which copies it before a shared one would change.
private final class State: @unchecked Sendable {
    private let context: OpaquePointer

    init() {
        context = State.makeContext()
        precondition(EVP_DigestInit_ex2(context, Digests.sha256, nil) == 1, "OpenSSL cannot start SHA-256")
    }

    init(copying other: State) {
        context = State.makeContext()
        precondition(EVP_MD_CTX_copy_ex(context, other.context) == 1, "OpenSSL cannot copy a SHA-256 state")
    }

    deinit {
        EVP_MD_CTX_free(context)
    }

    func update(_ bytes: UnsafeRawBufferPointer) {
        precondition(EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1, "OpenSSL cannot compute SHA-256")
    }

    func finish() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: Digests.sha256Length) { digest, count in
            precondition(EVP_DigestFinal_ex(context, digest.baseAddress, nil) == 1, "OpenSSL cannot compute SHA-256")
            count = Digests.sha256Length
        }
    }

    private static func makeContext() -> OpaquePointer {
        guard let context = EVP_MD_CTX_new() else { preconditionFailure("out of memory for a digest") }
        return context
    }
}

/// The digest implementation, fetched once: a fetch by name for every message costs more than a short message's digest.
/// Nothing changes it then, and OpenSSL counts references to it atomically.
enum Digests {
    static let sha256Length = 32

    nonisolated(unsafe) static let sha256: OpaquePointer = {
        OpenSSLLibrary.prepare()
        guard let digest = EVP_MD_fetch(nil, "SHA256", nil) else {
            preconditionFailure("OpenSSL on this host offers no SHA-256: \(OpenSSLErrors.drain())")
        }
        return digest
    }()
}

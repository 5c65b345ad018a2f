import MusterCrypto
package import MusterWire

/// How one stream stands on its way to the controller. [value]
///
///     asking ──progress──▶ hashing ──▶ sending ──progress──▶ … ──▶ done
///
/// The digest covers the whole stream, also the part that an earlier agent sent: that part is read again, not sent again.
package struct StreamUpload: Sendable {
    package enum Action: Sendable, Equatable {
        /// Ask the controller how far the stream is.
        case ask
        /// Read so much from there, for the digest only.
        case hash(from: Int64, count: Int)
        /// Send so much from there; `isLast` with the total and the digest.
        case send(from: Int64, count: Int, isLast: Bool)
        /// Everything that there is has been sent; the step goes on.
        case wait
        case done
    }

    package private(set) var offset: Int64?
    private var digest = SHA256()
    private var hashed: Int64 = 0
    private var isDone = false

    package init() {}

    /// - Parameters:
    ///   - size: of the file as it is now.
    ///   - isEnded: the file will not grow any more.
    package func next(size: Int64, isEnded: Bool, piece: Int = OutputRoute.pieceBytes) -> Action {
        if isDone { return .done }
        guard let offset else { return .ask }
        if hashed < min(offset, size) { return .hash(from: hashed, count: Int(min(Int64(piece), min(offset, size) - hashed))) }
        let rest = max(0, size - offset)
        let count = Int(min(Int64(piece), rest))
        if count == 0, !isEnded { return .wait }
        return .send(from: offset, count: count, isLast: isEnded && Int64(count) == rest)
    }

    package mutating func hashed(_ bytes: [UInt8]) {
        digest.update(bytes)
        hashed += Int64(bytes.count)
    }

    /// The digest of everything up to and with `last`, which is the rest of the file.
    package func finalDigest(with last: [UInt8]) -> String {
        var digest = digest
        digest.update(last)
        return Hex.encode(digest.finalize())
    }

    /// What the controller has answered. `sent` is what the request carried, when it was taken from `offset` on.
    package mutating func answered(_ progress: UploadProgress, sent: [UInt8] = []) {
        if progress.state.isFinal {
            isDone = true
            return
        }
        let taken = max(0, progress.offset)
        if let offset, offset == hashed, taken == offset + Int64(sent.count) {
            hashed(sent)
        } else if taken < hashed {
            // The controller has lost what it had: the digest begins anew.
            digest = SHA256()
            hashed = 0
        }
        offset = taken
    }

    /// The connection ended in the middle: nobody knows what has arrived.
    package mutating func interrupted() { offset = nil }
}

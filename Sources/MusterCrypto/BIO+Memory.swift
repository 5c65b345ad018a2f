import COpenSSL

/// A read-only view of bytes for OpenSSL's PEM readers; valid inside the closure only.
func withReadingBIO<Result, Failure: Error>(
    _ bytes: [UInt8], _ body: (OpaquePointer?) throws(Failure) -> Result
) throws(Failure) -> Result {
    // BIO_new_mem_buf refuses a null address and would call strlen for a length of -1; an empty text has one byte of nothing.
    let storage = bytes.isEmpty ? [0x0A] : bytes
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: storage.count, alignment: 1)
    copy.copyBytes(from: storage)
    defer {
        OPENSSL_cleanse(copy.baseAddress, copy.count)  // it may hold a private key
        copy.deallocate()
    }
    let bio = Int32(exactly: copy.count).flatMap { BIO_new_mem_buf(copy.baseAddress, $0) }
    defer { BIO_free(bio) }
    return try body(bio)
}

/// What a PEM writer puts out, nil when it fails.
func textWritten(by body: (OpaquePointer) -> Int32) -> String? {
    // The secure kind clears its memory when it is freed.
    guard let bio = BIO_new(BIO_s_secmem()) else { return nil }
    defer { BIO_free(bio) }
    guard body(bio) == 1 else { return nil }
    var start: UnsafeMutablePointer<CChar>?
    let count = shim_BIO_get_mem_data(bio, &start)
    guard let start, count > 0 else { return nil }
    return String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
}

/// The DER of an OpenSSL object by its i2d function, which is called twice: for the length, then for the bytes.
func derEncoding(by encode: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>?) -> Int32) -> [UInt8]? {
    let length = encode(nil)
    guard length > 0 else { return nil }
    return [UInt8](unsafeUninitializedCapacity: Int(length)) { bytes, count in
        var position = bytes.baseAddress
        count = encode(&position) == length ? Int(length) : 0
    }
}

/// Decodes DER with a d2i function and insists that nothing follows.
func derDecoding(
    _ bytes: [UInt8], by decode: (UnsafeMutablePointer<UnsafePointer<UInt8>?>, Int) -> OpaquePointer?, free: (OpaquePointer?) -> Void
) -> OpaquePointer? {
    bytes.withUnsafeBufferPointer { buffer in
        guard let start = buffer.baseAddress else { return nil }
        var position: UnsafePointer<UInt8>? = start
        guard let object = decode(&position, buffer.count) else { return nil }
        guard position == start + buffer.count else {
            free(object)
            return nil
        }
        return object
    }
}

internal import FoundationEssentials
internal import HTTPTypes
internal import MusterCrypto
internal import MusterTLS
internal import MusterWire
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

/// Puts objects into an object store, in constant memory: small ones at once, large ones in parts.
/// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
struct ObjectUpload: Sendable {
    typealias Read = @Sendable (_ offset: Int64, _ count: Int) async throws -> [UInt8]

    struct Failure: Error, CustomStringConvertible {
        let description: String
        /// What the store answered; 0 if it answered nothing.
        var status = 0
    }

    /// From 5 MiB up, and at most 10,000 parts: 640 GB.
    private static let partBytes: Int64 = 64 << 20
    private static let pieceBytes = 256 << 10
    private static let answerBytes = 64 << 10

    let store: ObjectStore
    let tls: TLSContext?

    init(store: ObjectStore) throws {
        self.store = store
        tls = store.isSecure ? try TLSContext(.client(trust: .system)) : nil
    }

    func put(_ bucket: String, _ key: String, length: Int64, sha256: String, _ read: @escaping Read) async throws {
        guard length > Self.partBytes else {
            _ = try await request(.PUT, bucket, key, length: length, sha256: sha256, read)
            return
        }
        let begun = try await request(.POST, bucket, key, query: "uploads=")
        guard let id = Self.element("UploadId", in: begun.body) else { throw Failure(description: "The store began no upload in parts.") }
        let upload = ObjectStore.encoded(id).split(separator: "/", omittingEmptySubsequences: false).joined(separator: "%2F")
        do {
            var parts = ""
            var offset: Int64 = 0
            var number = 1
            while offset < length {
                let (start, count) = (offset, min(Self.partBytes, length - offset))
                let part: Read = { try await read(start + $0, $1) }
                let digest = try await Self.digest(count, part)
                let answer = try await request(
                    .PUT, bucket, key, query: "partNumber=\(number)&uploadId=\(upload)", length: count, sha256: digest, part)
                guard let tag = answer.headers.first(name: "etag"), tag.allSatisfy({ $0 != "<" && $0 != "&" }) else {
                    throw Failure(description: "The store did not name a part.")
                }
                parts += "<Part><PartNumber>\(number)</PartNumber><ETag>\(tag)</ETag></Part>"
                offset += count
                number += 1
            }
            let document = Array("<CompleteMultipartUpload>\(parts)</CompleteMultipartUpload>".utf8)
            let answer = try await request(
                .POST, bucket, key, query: "uploadId=\(upload)", length: Int64(document.count), sha256: Hex.encode(SHA256.hash(document))
            ) { offset, count in Array(document[Int(offset)..<(Int(offset) + count)]) }
            // This one answer says 200 and may still be an error.
            if answer.body.contains("<Error>") {
                throw Failure(description: "The store did not put the parts together: \(answer.body.prefix(300))")
            }
        } catch {
            _ = try? await request(.DELETE, bucket, key, query: "uploadId=\(upload)")
            throw error
        }
    }

    /// A small object; nil when there is none.
    func get(_ bucket: String, _ key: String) async throws -> String? {
        do {
            return try await request(.GET, bucket, key).body
        } catch let failure as Failure where failure.status == 404 {
            return nil
        }
    }

    private static func digest(_ length: Int64, _ read: Read) async throws -> String {
        var digest = SHA256()
        var offset: Int64 = 0
        while offset < length {
            let bytes = try await read(offset, Int(min(Int64(pieceBytes), length - offset)))
            guard !bytes.isEmpty else { throw Failure(description: "The stored output is shorter than it should be.") }
            digest.update(bytes)
            offset += Int64(bytes.count)
        }
        return Hex.encode(digest.finalize())
    }

    /// The text of an element of the store's answer.
    static func element(_ name: String, in body: String) -> String? {
        guard let start = body.firstRange(of: "<\(name)>"), let end = body[start.upperBound...].firstRange(of: "</\(name)>") else {
            return nil
        }
        return String(body[start.upperBound..<end.lowerBound])
    }

    // MARK: One request

    private func request(
        _ method: HTTPMethod, _ bucket: String, _ key: String, query: String = "", length: Int64 = 0,
        sha256: String = Hex.encode(SHA256.hash([])), _ read: @escaping Read = { _, _ in [] }
    ) async throws -> (headers: HTTPHeaders, body: String) {
        let (host, path) = store.address(bucket, key)
        var fields = HTTPFields()
        fields[.contentSHA256] = sha256
        SigV4.sign(
            method: method.rawValue, path: path, query: query, headers: &fields, payloadHash: sha256, host: host,
            credentials: store.credentials, region: store.region, service: "s3", isPathVerbatim: true, at: .now())
        var head = HTTPRequestHead(version: .http1_1, method: method, uri: query.isEmpty ? path : "\(path)?\(query)")
        head.headers.add(name: "host", value: host)
        for field in fields { head.headers.add(name: field.name.rawName, value: field.value) }
        head.headers.add(name: "content-length", value: String(length))
        head.headers.add(name: "connection", value: "close")
        let (status, headers, body) = try await exchange(head, length: length, read)
        guard (200..<300).contains(status) else {
            throw Failure(
                description:
                    "The store answered \(status) \(Self.element("Code", in: body) ?? ""): \(Self.element("Message", in: body) ?? "")",
                status: status)
        }
        return (headers, body)
    }

    private func exchange(_ head: HTTPRequestHead, length: Int64, _ read: @escaping Read) async throws -> (Int, HTTPHeaders, String) {
        let (tls, name) = (tls, store.host)
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(.seconds(10))
            .connect(host: store.host, port: store.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls { try channel.pipeline.syncOperations.addHandler(TLSHandler(context: tls, serverName: name)) }
                    try channel.pipeline.syncOperations.addHTTPClientHandlers(leftOverBytesStrategy: .dropBytes)
                    return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(wrappingChannelSynchronously: channel)
                }
            }
        // Half a minute, and a megabyte a second.
        let timer = channel.channel.eventLoop.scheduleTask(in: .seconds(30 + length >> 20)) { channel.channel.close(promise: nil) }
        defer { timer.cancel() }
        return try await channel.executeThenClose { inbound, outbound in
            try await outbound.write(.head(head))
            var offset: Int64 = 0
            while offset < length {
                let bytes = try await read(offset, Int(min(Int64(Self.pieceBytes), length - offset)))
                guard !bytes.isEmpty else { throw Failure(description: "The stored output is shorter than it should be.") }
                try await outbound.write(.body(.byteBuffer(ByteBuffer(bytes: bytes))))
                offset += Int64(bytes.count)
            }
            try await outbound.write(.end(nil))
            var status: Int?
            var headers = HTTPHeaders()
            var body: [UInt8] = []
            for try await part in inbound {
                switch part {
                case .head(let head): (status, headers) = (Int(head.status.code), head.headers)
                case .body(let bytes):
                    if body.count < Self.answerBytes {
                        body.append(contentsOf: bytes.readableBytesView.prefix(Self.answerBytes - body.count))
                    }
                case .end:
                    if let status { return (status, headers, String(decoding: body, as: UTF8.self)) }
                }
            }
            throw Failure(description: "The store closed the connection before its answer was complete.")
        }
    }
}

extension HTTPField.Name {
    fileprivate static let contentSHA256 = HTTPField.Name("x-amz-content-sha256")!
}

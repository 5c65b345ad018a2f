import FoundationEssentials
import HTTPTypes
package import Logging
package import MusterTLS
package import MusterWire
import NIOConcurrencyHelpers
package import NIOCore
import NIOHTTP1
package import NIOPosix

/// Calls the controller's API: AWS JSON 1.1 (https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html), signed with
/// SigV4 when there are credentials; without them the caller is known by the TLS client certificate.
///
/// A call is tried again when no answer came, when the answer was a server's fault and when it was throttling. All tries of one
/// call carry the same `amz-sdk-invocation-id`, by which the controller answers a repeat with its first answer, so that a lost
/// answer never starts a second command. Each try is signed anew, in the controller's time once that is known.
package struct APIClient: Sendable {
    package let endpoint: Endpoint
    package let region: String
    /// The controller's time as its answers told it.
    package let clock: ServerClock

    private let credentials: Credentials?
    private let tls: TLSContext
    private let group: any EventLoopGroup
    private let logger: Logger
    private let attempts: Int
    private let pool = ConnectionPool()

    /// How long one try may take, from the first packet to the last byte of the answer.
    private let timeout: TimeAmount

    package init(
        endpoint: Endpoint,
        credentials: Credentials?,
        region: String,
        tls: TLSContext,
        clock: ServerClock = ServerClock(),
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        timeout: TimeAmount = .seconds(30),
        attempts: Int = 4,
        logger: Logger
    ) {
        self.endpoint = endpoint
        self.credentials = credentials
        self.region = region
        self.tls = tls
        self.clock = clock
        self.group = group
        self.timeout = timeout
        self.attempts = max(1, attempts)
        self.logger = logger
    }

    /// This end's address, as the last call that is over used it; nil when its connection is not open any more.
    package var localAddress: String? { pool.localAddress }

    /// Throws the controller's `APIError`, or a `ClientError` when there was no answer, or `CancellationError`.
    ///
    /// - Parameters:
    ///   - patience: how long a call goes on that may have reached the controller and whose answer was lost. It stays one call: the
    ///     controller answers every repeat, also after its restart, with the first answer.
    ///   - onLost: told once, when that begins.
    package func call<O: Operation>(
        _ operation: O.Type, _ input: O.Input, patience: Duration = .zero, onLost: (@Sendable (any Error) -> Void)? = nil
    ) async throws -> O.Output {
        let body: [UInt8]
        do {
            body = try JSONCoding.encode(input)
        } catch {
            throw ClientError(.configuration, "Cannot write the request of \(O.name): \(error)")
        }
        let answer = try await answer(to: .json(O.name, O.target), body: body, patience: Patience(patience, onLost))
        do {
            return try JSONCoding.decode(O.Output.self, from: answer)
        } catch {
            throw ClientError(.protocolViolation, "Cannot read the answer of \(endpoint) to \(O.name): it \(JSONCoding.explain(error))")
        }
    }

    /// One of the controller's routes beside the API. Tried again like a call: these routes answer a repeat with the same.
    ///
    /// Throws the controller's `APIError` for every status that is no success.
    package func get(_ path: String, query: String = "") async throws -> [UInt8] {
        try await fetch(.GET, path, query: query, body: [])
    }

    package func post(_ path: String, body: [UInt8]) async throws -> [UInt8] {
        try await fetch(.POST, path, query: "", body: body)
    }

    private func fetch(_ method: HTTPMethod, _ path: String, query: String, body: [UInt8]) async throws -> [UInt8] {
        try await retrying(path, error: APIError.init(status:body:)) { _ in
            let deadline = NIODeadline.now() + timeout
            let request = HTTPRequest(
                method: method, path: query.isEmpty ? path : "\(path)?\(query)",
                headers: signed(method, path, query: query, body: body),
                body: body)
            return try await send(request, deadline: deadline)
        }
    }

    private func signed(_ method: HTTPMethod, _ path: String, query: String, body: [UInt8]) -> HTTPHeaders {
        var fields = HTTPFields()
        fields[.contentType] = "application/json"
        if let credentials {
            SigV4.sign(
                method: method.rawValue, path: path, query: query, headers: &fields, body: body, host: endpoint.authority,
                credentials: credentials, region: region, service: "ssm", at: clock.now())
        }
        fields[.userAgent] = "muster"
        var headers = HTTPHeaders([("host", endpoint.authority)])
        for field in fields { headers.add(name: field.name.rawName, value: field.value) }
        return headers
    }

    /// Closes the idle connections. Calls afterwards open new ones.
    package func shutdown() {
        pool.closeAll()
    }

    /// What is called, and how it is written: AWS JSON 1.1 for SSM, a form for STS and IAM.
    enum Call: Sendable {
        case json(String, OperationTarget)
        case form(String, service: String)

        var name: String {
            switch self {
            case .json(let name, _), .form(let name, _): name
            }
        }
        var service: String {
            switch self {
            case .json(_, let target): target.service
            case .form(_, let service): service
            }
        }
        func error(status: Int, body: [UInt8]) -> APIError {
            if case .form = self { QueryAnswer.error(status: status, body: body) } else { APIError(status: status, body: body) }
        }
    }

    /// How long an answer that was lost is asked for.
    struct Patience: Sendable {
        static let none = Patience(.zero, nil)

        let duration: Duration
        let onLost: (@Sendable (any Error) -> Void)?

        init(_ duration: Duration, _ onLost: (@Sendable (any Error) -> Void)?) {
            self.duration = duration
            self.onLost = onLost
        }
    }

    func answer(to operation: Call, body: [UInt8], patience: Patience = .none) async throws -> [UInt8] {
        let invocation = UUID().uuidString.lowercased()
        return try await retrying(operation.name, error: operation.error, patience: patience) { attempt in
            try await exchange(operation, body: body, invocation: invocation, attempt: attempt)
        }
    }

    /// The body of the answer to the first try that succeeds. Each try is made anew, because it is signed anew.
    private func retrying(
        _ name: String, error describe: (Int, [UInt8]) -> APIError, patience: Patience = .none,
        _ exchange: (_ attempt: Int) async throws -> HTTPResponse
    ) async throws -> [UInt8] {
        let begun = ContinuousClock.now
        var mayHaveArrived = false
        var isSaid = false
        var backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
        var hasCorrectedClock = false
        var attempt = 1
        while true {
            let failure: any Error
            do {
                let offset = clock.offsetMilliseconds ?? 0
                let response = try await exchange(attempt)
                if (200..<300).contains(response.status) { return response.body }
                let error = describe(response.status, response.body)
                let corrected = abs((clock.offsetMilliseconds ?? 0) - offset) > 60_000
                if ["InvalidSignatureException", "SignatureDoesNotMatch"].contains(error.code), corrected, !hasCorrectedClock {
                    // The host's clock was the fault; from now on signatures are made in the controller's time.
                    hasCorrectedClock = true
                    continue
                }
                guard error.status >= 500 || error.status == 429 || Self.throttlingCodes.contains(error.code) else { throw error }
                // What stands before a controller says so of one that is away.
                if [502, 503, 504].contains(error.status) { mayHaveArrived = true }
                failure = error
            } catch var error as ClientError {
                mayHaveArrived = mayHaveArrived || error.mayHaveArrived
                error.mayHaveArrived = mayHaveArrived
                switch error.kind {
                case .unreachable, .closed, .timedOut: failure = error
                default: throw error
                }
            }
            try Task.checkCancellation()
            if attempt >= attempts {
                guard mayHaveArrived, ContinuousClock.now - begun < patience.duration else { throw failure }
                if !isSaid { patience.onLost?(failure) }
                isSaid = true
            }
            attempt += 1
            logger.debug(
                "trying a call again", metadata: ["operation": "\(name)", "attempt": "\(attempt)", "reason": "\(failure)"])
            try await Task.sleep(for: backoff.next())
        }
    }

    private func exchange(_ operation: Call, body: [UInt8], invocation: String, attempt: Int) async throws -> HTTPResponse {
        let deadline = NIODeadline.now() + timeout
        let request = HTTPRequest(headers: headers(operation, body: body, invocation: invocation, attempt: attempt), body: body)
        return try await send(request, deadline: deadline)
    }

    private func send(_ request: HTTPRequest, deadline: NIODeadline) async throws -> HTTPResponse {
        let connection: HTTPConnection
        if let idle = pool.take() {
            connection = idle
        } else {
            connection = try await HTTPConnection.connect(endpoint: endpoint, tls: tls, group: group, deadline: deadline)
        }
        let response: HTTPResponse
        do {
            response = try await connection.send(request, deadline: deadline)
        } catch {
            var failure = error
            failure.mayHaveArrived = true
            throw failure
        }
        pool.give(connection)
        clock.observe(response.headers.first(name: ServerClock.header))
        return response
    }

    private func headers(_ operation: Call, body: [UInt8], invocation: String, attempt: Int) -> HTTPHeaders {
        var fields = HTTPFields()
        switch operation {
        case .json(let name, let target):
            fields[.contentType] = "application/x-amz-json-1.1"
            fields[.amzTarget] = "\(target.rawValue).\(name)"
        case .form:
            fields[.contentType] = "application/x-www-form-urlencoded; charset=utf-8"
        }
        fields[.invocationID] = invocation
        if let credentials {
            SigV4.sign(
                method: "POST", path: "/", headers: &fields, body: body, host: endpoint.authority,
                credentials: credentials, region: region, service: operation.service, at: clock.now()
            )
        }
        // Not signed, as in the AWS SDKs: it differs from try to try.
        fields[.sdkRequest] = "attempt=\(attempt); max=\(attempts)"
        fields[.userAgent] = "muster"
        var headers = HTTPHeaders([("host", endpoint.authority)])
        for field in fields {
            headers.add(name: field.name.rawName, value: field.value)
        }
        return headers
    }

    /// What the AWS SDKs take for throttling, whatever the HTTP status
    /// (https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html).
    private static let throttlingCodes: Set<String> = [
        "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottledException", "TooManyRequestsException",
        "ProvisionedThroughputExceededException", "RequestLimitExceeded", "BandwidthLimitExceeded", "LimitExceededException",
        "RequestThrottled", "SlowDown", "PriorRequestNotComplete", "TransactionInProgressException",
    ]
}

extension HTTPField.Name {
    fileprivate static let invocationID = HTTPField.Name("amz-sdk-invocation-id")!
    fileprivate static let sdkRequest = HTTPField.Name("amz-sdk-request")!
}

/// Idle connections, newest last. A few are enough: a client makes a few calls at a time.
private final class ConnectionPool: Sendable {
    private static let limit = 4
    private let idle = NIOLockedValueBox<[HTTPConnection]>([])

    func take() -> HTTPConnection? {
        idle.withLockedValue { idle in
            while let connection = idle.popLast() {
                if connection.isOpen { return connection }
            }
            return nil
        }
    }

    func give(_ connection: HTTPConnection) {
        let isKept = idle.withLockedValue { idle in
            guard connection.isOpen, idle.count < Self.limit else { return false }
            idle.append(connection)
            return true
        }
        if !isKept { connection.close() }
    }

    var localAddress: String? { idle.withLockedValue { $0.last?.localAddress } }

    func closeAll() {
        let connections = idle.withLockedValue { idle in
            defer { idle = [] }
            return idle
        }
        for connection in connections { connection.close() }
    }

    deinit {
        closeAll()
    }
}

internal import MusterTLS
internal import MusterWire
internal import NIOConcurrencyHelpers

/// How many bytes of requests may be in memory while their senders are not known, or are nodes.
///
/// A body is read before its signature can be verified. Strangers have a budget of their own, nodes another one: when it is used up, the
/// oldest body of whoever has most there makes room, and its connection ends.
struct BodyBudget: Sendable {
    private let strangers: Quota<String>
    private let callers: Quota<String>
    private let nodes: Quota<String>

    /// - Parameter largest: of one request.
    init(largest: Int) {
        strangers = Quota(total: max(64 << 20, 8 * largest), perSource: max(16 << 20, 2 * largest), graceMilliseconds: 1_000)
        callers = Quota(total: max(64 << 20, 8 * largest), perSource: max(16 << 20, 2 * largest), graceMilliseconds: 1_000)
        nodes = Quota(total: max(64 << 20, 8 * largest), perSource: max(8 << 20, 2 * largest), graceMilliseconds: 1_000)
    }

    var taken: Int { strangers.taken + callers.taken + nodes.taken }

    /// Nothing yet: it grows with the body.
    func room(for connection: UpgradeChannel.Connection) throws -> Quota<String>.Share {
        let cut: @Sendable () -> Void = { [place = connection.place] in place.cut() }
        let share =
            if let node = connection.peer?.leaf.flatMap({ NodeAdmission.identity(in: $0)?.node }) {
                nodes.take(0, for: node.rawValue, cut: cut)
            } else if let user = connection.user.withLockedValue({ $0 }) {
                callers.take(0, for: user, cut: cut)
            } else {
                strangers.take(0, for: AddressRange.stranger(connection.remoteAddress), cut: cut)
            }
        guard let share else { throw APIError.busy }
        return share
    }
}

extension APIError {
    /// SDKs come again by themselves.
    static let busy = APIError(code: "ThrottlingException", message: "Too much at once; come again.", status: 503)
}

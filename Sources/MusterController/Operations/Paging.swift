import MusterCrypto
import MusterWire

/// Pages of a list that is ordered by a key. The token is the last key that was shown, sealed and bound to the operation
/// and its filters, so it holds across restarts and says nothing about what comes and goes in between.
struct Paging: Sendable {
    let key: [UInt8]

    /// The key after which the page begins; empty for the first page.
    func position(_ token: String?, operation: String, filters: some Encodable) throws -> String {
        guard let token, !token.isEmpty else { return "" }
        guard let position = PageToken.open(token, operation: operation, filters: try digest(filters), key: key) else {
            throw APIError.invalidNextToken()
        }
        return position
    }

    func token(after position: String?, operation: String, filters: some Encodable) throws -> String? {
        guard let position else { return nil }
        return PageToken.seal(position, operation: operation, filters: try digest(filters), key: key)
    }

    private func digest(_ filters: some Encodable) throws -> [UInt8] {
        SHA256.hash(try JSONCoding.encode(filters))
    }

    /// Reads chunk after chunk until the page is full. `next` is the last key shown when more follows.
    static func fill<Row>(
        from position: String, limit: Int, key: (Row) -> String, fetch: (String, Int) throws -> [Row], matches: (Row) throws -> Bool
    ) rethrows -> (rows: [Row], next: String?) {
        let chunk = 256
        var position = position
        var page: [Row] = []
        while true {
            let rows = try fetch(position, chunk)
            for row in rows where try matches(row) {
                if page.count == limit { return (page, page.last.map(key)) }
                page.append(row)
            }
            guard rows.count == chunk, let last = rows.last else { return (page, nil) }
            position = key(last)
        }
    }
}

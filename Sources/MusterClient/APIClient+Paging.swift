package import MusterWire

extension APIClient {
    /// Every page of an operation that hands out `NextToken`s, one call for each step of the loop.
    ///
    ///     for try await page in client.pages(ListCommands.self, input, next: \.nextToken, token: \.nextToken) { … }
    package func pages<O: Operation>(
        _ operation: O.Type,
        _ input: O.Input,
        next: any WritableKeyPath<O.Input, String?> & Sendable,
        token: any KeyPath<O.Output, String?> & Sendable
    ) -> Pages<O> {
        Pages(client: self, input: input, next: next, token: token)
    }

    package struct Pages<O: Operation>: AsyncSequence, Sendable {
        package typealias Element = O.Output
        package typealias Failure = any Error

        fileprivate let client: APIClient
        fileprivate let input: O.Input
        fileprivate let next: any WritableKeyPath<O.Input, String?> & Sendable
        fileprivate let token: any KeyPath<O.Output, String?> & Sendable

        package func makeAsyncIterator() -> AsyncIterator {
            AsyncIterator(pages: self, input: input)
        }

        package struct AsyncIterator: AsyncIteratorProtocol {
            fileprivate let pages: Pages
            fileprivate var input: O.Input
            fileprivate var isDone = false

            package mutating func next() async throws -> O.Output? {
                guard !isDone else { return nil }
                let page = try await pages.client.call(O.self, input)
                let token = page[keyPath: pages.token]
                if let token, !token.isEmpty {
                    guard token != input[keyPath: pages.next] else {
                        throw ClientError(
                            .protocolViolation, "\(pages.client.endpoint) answers \(O.name) with the same page again and again.")
                    }
                    input[keyPath: pages.next] = token
                } else {
                    isDone = true
                }
                return page
            }
        }
    }
}

/// What keeps `muster` from doing what was asked: wrong usage, a refusal, a controller that does not answer.
///
/// Ends the process with status 2. A command that ran and failed is a result, not an error.
package struct CommandLineError: Error, CustomStringConvertible, Sendable {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

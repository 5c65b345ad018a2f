/// One call of the API: its name on the wire, what goes in, what comes out.
package protocol Operation: Sendable {
    associatedtype Input: Codable & Sendable & Validatable
    associatedtype Output: Codable & Sendable
    static var name: String { get }
    static var target: OperationTarget { get }
}

/// The service that an operation belongs to, as X-Amz-Target names it before the dot.
package enum OperationTarget: String, Sendable, CaseIterable {
    case systemsManager = "AmazonSSM"
    case messageDelivery = "EC2WindowsMessageDeliveryService"
    /// Called with a form (the query protocol); the name is the one its JSON form would have.
    case securityToken = "AWSSecurityTokenServiceV20110615"
    case identity = "AWSIdentityManagementV20100508"
}

extension Operation {
    package static var target: OperationTarget { .systemsManager }
}

package protocol Validatable {
    func validate(_ validation: inout Validation)

    /// Members SSM knows and Muster does not serve, as far as this input asks something of them. The operation refuses them by name.
    var unserved: [String] { get }
}

extension Validatable {
    package var unserved: [String] { [] }
}

extension Operation {
    /// The input a request body holds: SerializationException when a member has the wrong JSON type, ValidationException with every
    /// broken constraint otherwise. Null counts as absent and members nobody knows are ignored, both as SSM does it.
    package static func decodeInput(_ body: [UInt8]) throws(APIError) -> Input {
        let input: Input
        do {
            input = try JSONCoding.decode(Input.self, from: body)
        } catch {
            throw .serialization("The request body \(JSONCoding.explain(error))")
        }
        var validation = Validation()
        input.validate(&validation)
        if let failure = validation.failure() { throw failure }
        return input
    }
}

extension Optional {
    /// A required member after validation. Asking for one that validation did not require gives the same refusal.
    package func required(_ member: String) throws(APIError) -> Wrapped {
        guard let self else {
            throw .validation(
                "1 validation error detected: Value null at '\(member)' failed to satisfy constraint: Member must not be null")
        }
        return self
    }
}

/// The output of operations that answer `{}`.
package struct EmptyOutput: Codable, Sendable, Equatable {
    package init() {}
}

import FoundationEssentials
import Testing

@testable import MusterWire

/// Every constraint of the service's model is checked, and nothing beside it complains.
@Suite struct ModelConstraintTests {
    struct Violation: Decodable {
        let operation, body, path, constraint: String
    }

    private static let operations: [String: @Sendable (String) -> APIError?] = {
        var table: [String: @Sendable (String) -> APIError?] = [:]
        func add<O: Operation>(_: O.Type) {
            table[O.name] = { body in
                do throws(APIError) {
                    _ = try O.decodeInput(Array(body.utf8))
                    return nil
                } catch { return error }
            }
        }
        add(SendCommand.self)
        add(ListCommands.self)
        add(ListCommandInvocations.self)
        add(GetCommandInvocation.self)
        add(CancelCommand.self)
        add(CreateActivation.self)
        add(DescribeActivations.self)
        add(DeregisterManagedInstance.self)
        add(DescribeInstanceInformation.self)
        add(GetConnectionStatus.self)
        add(AddTagsToResource.self)
        add(RemoveTagsFromResource.self)
        add(ListTagsForResource.self)
        add(GetDocument.self)
        add(DescribeDocument.self)
        add(ListDocuments.self)
        add(DescribeInstanceProperties.self)
        add(UpdateManagedInstanceRole.self)
        add(GetServiceSetting.self)
        add(UpdateServiceSetting.self)
        add(ResetServiceSetting.self)
        add(StartAccessRequest.self)
        add(GetAccessToken.self)
        return table
    }()

    @Test func eachIsCheckedAlone() throws {
        let all = try JSONDecoder().decode([Violation].self, from: Data(violations.utf8))
        #expect(all.count > 80)
        for violation in all {
            let refuse = try #require(Self.operations[violation.operation])
            let message = refuse(violation.body)?.message ?? "nothing"
            // A value may break its length and its pattern at once; the named constraint is among what is told, at its path.
            #expect(
                message.contains("at '\(violation.path)' failed to satisfy constraint: \(violation.constraint)"),
                "\(violation.operation) \(violation.body.prefix(200)): \(message.prefix(400))")
            let paths = message.components("at '").dropFirst().map { String($0.prefix { $0 != "'" }) }
            #expect(Set(paths) == [violation.path], "\(violation.operation) \(violation.body.prefix(200)): \(message.prefix(400))")
        }
    }
}

extension String {
    fileprivate func components(_ separator: String) -> [Substring] { self.split(separator: separator, omittingEmptySubsequences: false) }
}

import Testing

@testable import MusterWire

/// Wording as in replies of the service.
@Suite struct ValidationTests {
    private func refusal<O: Operation>(_: O.Type, _ json: String) -> APIError? {
        do throws(APIError) {
            _ = try O.decodeInput(Array(json.utf8))
            return nil
        } catch { return error }
    }

    private func message<O: Operation>(_ operation: O.Type, _ json: String) -> String? {
        let error = refusal(operation, json)
        #expect(error == nil || error?.code == "ValidationException" && error?.status == 400)
        return error?.message
    }

    private let head = "1 validation error detected: "

    @Test func missingMember() {
        #expect(
            message(SendCommand.self, "{}") == head + "Value null at 'documentName' failed to satisfy constraint: Member must not be null")
        #expect(
            message(SendCommand.self, #"{"DocumentName":null}"#) == head
                + "Value null at 'documentName' failed to satisfy constraint: Member must not be null")
    }

    @Test func severalErrorsAreCountedAndJoined() {
        #expect(
            message(GetCommandInvocation.self, #"{"CommandId":"abc","PluginName":"x"}"#)
                == "3 validation errors detected: Value 'abc' at 'commandId' failed to satisfy constraint: Member must have length greater than or equal to 36; Value null at 'instanceId' failed to satisfy constraint: Member must not be null; Value 'x' at 'pluginName' failed to satisfy constraint: Member must have length greater than or equal to 4"
        )
    }

    @Test func lengthOfAString() {
        let long = String(repeating: "é", count: 101)
        #expect(
            message(SendCommand.self, #"{"DocumentName":"abc","Comment":"\#(long)"}"#) == head
                + "Value '\(long)' at 'comment' failed to satisfy constraint: Member must have length less than or equal to 100")
        #expect(message(SendCommand.self, #"{"DocumentName":"abc","Comment":"\#(String(repeating: "é", count: 100))"}"#) == nil)
    }

    @Test func range() {
        #expect(
            message(SendCommand.self, #"{"DocumentName":"abc","TimeoutSeconds":29}"#) == head
                + "Value '29' at 'timeoutSeconds' failed to satisfy constraint: Member must have value greater than or equal to 30")
        #expect(
            message(SendCommand.self, #"{"DocumentName":"abc","TimeoutSeconds":2592001}"#) == head
                + "Value '2592001' at 'timeoutSeconds' failed to satisfy constraint: Member must have value less than or equal to 2592000")
        #expect(
            message(ListCommands.self, #"{"MaxResults":9999}"#) == head
                + "Value '9999' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 50")
        #expect(
            message(DescribeInstanceInformation.self, #"{"MaxResults":4}"#) != nil
                && message(DescribeInstanceInformation.self, #"{"MaxResults":5}"#) == nil)
    }

    @Test func pattern() {
        #expect(
            message(SendCommand.self, #"{"DocumentName":"a"}"#) == head
                + #"Value 'a' at 'documentName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9_\-.:/]{3,128}$"#
        )
        #expect(
            message(SendCommand.self, #"{"DocumentName":"abc","MaxErrors":"12345678%"}"#)
                == #"2 validation errors detected: Value '12345678%' at 'maxErrors' failed to satisfy constraint: Member must have length less than or equal to 7; Value '12345678%' at 'maxErrors' failed to satisfy constraint: Member must satisfy regular expression pattern: ^([1-9][0-9]*|[0]|[1-9][0-9]%|[0-9]%|100%)$"#
        )
    }

    @Test func enumeration() {
        #expect(
            message(SendCommand.self, #"{"DocumentName":"abc","DocumentHashType":"MD5"}"#) == head
                + "Value 'MD5' at 'documentHashType' failed to satisfy constraint: Member must satisfy enum value set: [Sha256, Sha1]")
        #expect(
            message(ListTagsForResource.self, #"{"ResourceType":"Host","ResourceId":"x"}"#)?.contains(
                "Member must satisfy enum value set: [Document, ManagedInstance,") == true)
    }

    @Test func insideAListOfStrings() {
        #expect(
            message(SendCommand.self, #"{"DocumentName":"abc","InstanceIds":["mi-0123456789abcdef0","x"]}"#)
                == head
                + #"Value '[mi-0123456789abcdef0, x]' at 'instanceIds' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy regular expression pattern: (^i-(\w{8}|\w{17})$)|(^mi-\w{17}$)]"#
        )
        #expect(
            message(RemoveTagsFromResource.self, #"{"ResourceType":"ManagedInstance","ResourceId":"x","TagKeys":[""]}"#)
                == head
                + #"Value '[]' at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: ^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$]"#
        )
    }

    @Test func insideAListOfStructures() {
        #expect(
            message(SendCommand.self, ##"{"DocumentName":"abc","Targets":[{"Key":"tag:a"},{"Key":"#"}]}"##)
                == head
                + #"Value '#' at 'targets.2.member.key' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[\p{L}\p{Z}\p{N}_.:/=\-@]*$|resource-groups:ResourceTypeFilters|resource-groups:Name"#
        )
        #expect(
            message(ListCommands.self, #"{"Filters":[{"key":"Status"}]}"#) == head
                + "Value null at 'filters.1.member.value' failed to satisfy constraint: Member must not be null")
        #expect(
            message(CreateActivation.self, #"{"IamRole":"r","Tags":[{"Key":"a","Value":"b"},{"Key":"a","Value":"{"}]}"#)?.contains(
                "'tags.2.member.value'") == true)
    }

    @Test func lengthOfAListPrintsJavaText() {
        let targets = Array(repeating: #"{"Key":"tag:a","Values":["1","2"]}"#, count: 6).joined(separator: ",")
        let printed = Array(repeating: "Target(key=tag:a, values=[1, 2])", count: 6).joined(separator: ", ")
        #expect(
            message(SendCommand.self, #"{"DocumentName":"abc","Targets":[\#(targets)]}"#) == head
                + "Value '[\(printed)]' at 'targets' failed to satisfy constraint: Member must have length less than or equal to 5")
        #expect(
            message(ListCommands.self, #"{"Filters":[]}"#) == head
                + "Value '[]' at 'filters' failed to satisfy constraint: Member must have length greater than or equal to 1")
    }

    @Test func secretsAreNotRepeated() {
        let body =
            #"{"ActivationId":"0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11","ActivationCode":"hunter2","PublicKey":"k","PublicKeyType":"Ec"}"#
        #expect(
            message(RegisterManagedInstance.self, body) == head
                + "Value at 'activationCode' failed to satisfy constraint: Member must have length greater than or equal to 20")
    }

    @Test func manyErrorsGiveABoundedMessage() {
        let tags = Array(repeating: #"{"Key":"{{{{","Value":"}}}}"}"#, count: 1000).joined(separator: ",")
        let text = message(AddTagsToResource.self, #"{"ResourceType":"ManagedInstance","ResourceId":"x","Tags":[\#(tags)]}"#)
        #expect(text?.hasPrefix("2000 validation errors detected: ") == true && (text?.utf8.count ?? 0) < 20_000)
        let huge = message(SendCommand.self, #"{"DocumentName":"\#(String(repeating: "a", count: 500_000))"}"#)
        #expect((huge?.utf8.count ?? 0) < 2000)
    }

    @Test(arguments: [
        ("[]", "The request body has the wrong JSON type at '/': expected an object."),
        ("", "The request body is not JSON, or has a number that is out of range."),
        ("{", "The request body is not JSON, or has a number that is out of range."),
        (#"{"DocumentName":1}"#, "The request body has the wrong JSON type at 'DocumentName': expected a string."),
        (#"{"TimeoutSeconds":"30"}"#, "The request body has the wrong JSON type at 'TimeoutSeconds': expected an integer."),
        (#"{"Targets":[{},{"Values":{}}]}"#, "The request body has the wrong JSON type at 'Targets.2.Values': expected a list."),
        (
            #"{"CloudWatchOutputConfig":{"CloudWatchOutputEnabled":"true"}}"#,
            "The request body has the wrong JSON type at 'CloudWatchOutputConfig.CloudWatchOutputEnabled': expected a boolean."
        ),
        (#"{"InstanceIds":[null]}"#, "The request body has null at 'InstanceIds.1': expected a string."),
        (#"{"TimeoutSeconds":1e30}"#, "The request body is not JSON, or has a number that is out of range."),
        (#"{"Parameters":{"commands":"ls"}}"#, "The request body has the wrong JSON type at 'Parameters.commands': expected a list."),
    ])
    func wrongJSON(body: String, text: String) {
        #expect(refusal(SendCommand.self, body) == .serialization(text))
    }

    @Test func unknownMembersAreIgnoredAndNamesAreCaseSensitive() throws {
        let input = try SendCommand.decodeInput(Array(#"{"DocumentName":"abc","Later":{"a":[1]},"comment":"x","Comment":null}"#.utf8))
        #expect(input == SendCommand.Input(documentName: "abc"))
    }
}

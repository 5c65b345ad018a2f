import Testing

@testable import MusterWire

@Suite struct OperationTests {
    private func text(_ value: some Encodable) throws -> String { String(decoding: try JSONCoding.encode(value), as: UTF8.self) }

    private func roundTrip<O: Operation>(_: O.Type, _ json: String) throws where O.Input: Equatable {
        let input = try O.decodeInput(Array(json.utf8))
        #expect(try text(input) == json)
        #expect(input.unserved.isEmpty)
        #expect(O.name == String(describing: O.self))
    }

    /// Every member that SSM and Muster both know, as botocore spells it.
    @Test func inputsKeepEveryMember() throws {
        try roundTrip(
            SendCommand.self,
            #"{"CloudWatchOutputConfig":{"CloudWatchLogGroupName":"g","CloudWatchOutputEnabled":false},"Comment":"c","DocumentHash":"h","DocumentHashType":"Sha256","DocumentName":"AWS-RunShellScript","DocumentVersion":"$DEFAULT","InstanceIds":["mi-0123456789abcdef0"],"MaxConcurrency":"50%","MaxErrors":"0","OutputS3Region":"eu-west-1","Parameters":{"commands":["a","b"]},"Targets":[{"Key":"tag:a","Values":["1"]}],"TimeoutSeconds":30}"#
        )
        try roundTrip(
            ListCommands.self,
            #"{"CommandId":"0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11","Filters":[{"key":"Status","value":"Success"}],"InstanceId":"i-12345678","MaxResults":50,"NextToken":"t"}"#
        )
        try roundTrip(
            ListCommandInvocations.self,
            #"{"CommandId":"0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11","Details":true,"Filters":[{"key":"Status","value":"Success"}],"InstanceId":"i-12345678","MaxResults":50,"NextToken":"t"}"#
        )
        try roundTrip(
            GetCommandInvocation.self,
            #"{"CommandId":"0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11","InstanceId":"i-12345678","PluginName":"runShellScript"}"#)
        try roundTrip(CancelCommand.self, #"{"CommandId":"0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11","InstanceIds":["i-12345678"]}"#)
        try roundTrip(
            CreateActivation.self,
            #"{"DefaultInstanceName":"n","Description":"d","ExpirationDate":1700000000.5,"IamRole":"r","RegistrationLimit":1000,"Tags":[{"Key":"k","Value":""}]}"#
        )
        try roundTrip(
            DescribeActivations.self, #"{"Filters":[{"FilterKey":"IamRole","FilterValues":["r"]}],"MaxResults":1,"NextToken":"t"}"#)
        try roundTrip(DeleteActivation.self, #"{"ActivationId":"x"}"#)
        try roundTrip(DeregisterManagedInstance.self, #"{"InstanceId":"mi-0123456789abcdef0"}"#)
        try roundTrip(
            DescribeInstanceInformation.self,
            #"{"Filters":[{"Key":"tag:a","Values":["1"]}],"InstanceInformationFilterList":[{"key":"PingStatus","valueSet":["Online"]}],"MaxResults":50,"NextToken":"t"}"#
        )
        try roundTrip(GetConnectionStatus.self, #"{"Target":"x"}"#)
        try roundTrip(AddTagsToResource.self, #"{"ResourceId":"x","ResourceType":"ManagedInstance","Tags":[{"Key":"k","Value":"v"}]}"#)
        try roundTrip(RemoveTagsFromResource.self, #"{"ResourceId":"x","ResourceType":"ManagedInstance","TagKeys":["k"]}"#)
        try roundTrip(ListTagsForResource.self, #"{"ResourceId":"x","ResourceType":"ManagedInstance"}"#)
        try roundTrip(GetDocument.self, #"{"DocumentFormat":"JSON","DocumentVersion":"1","Name":"AWS-RunShellScript","VersionName":"v"}"#)
        try roundTrip(DescribeDocument.self, #"{"DocumentVersion":"$LATEST","Name":"AWS-RunShellScript","VersionName":"v"}"#)
        try roundTrip(
            ListDocuments.self,
            #"{"DocumentFilterList":[{"key":"Owner","value":"Self"}],"Filters":[{"Key":"Owner","Values":["Self"]}],"MaxResults":50,"NextToken":"t"}"#
        )
        try roundTrip(
            DescribeInstanceProperties.self,
            #"{"FiltersWithOperator":[{"Key":"Name","Operator":"BeginWith","Values":["w"]}],"InstancePropertyFilterList":[{"key":"PingStatus","valueSet":["Online"]}],"MaxResults":1000,"NextToken":"t"}"#
        )
        try roundTrip(UpdateManagedInstanceRole.self, #"{"IamRole":"r","InstanceId":"mi-0123456789abcdef0"}"#)
        try roundTrip(GetServiceSetting.self, #"{"SettingId":"/ssm/managed-instance/activation-tier"}"#)
        try roundTrip(UpdateServiceSetting.self, #"{"SettingId":"/ssm/managed-instance/activation-tier","SettingValue":"advanced"}"#)
        try roundTrip(ResetServiceSetting.self, #"{"SettingId":"/ssm/managed-instance/activation-tier"}"#)
        try roundTrip(
            RegisterManagedInstance.self,
            #"{"ActivationCode":"01234567890123456789","ActivationId":"0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11","AgentVersion":"1.0.0.0","CertificateRequest":"MII=","ComputerName":"vm","Fingerprint":"f","IPAddress":"192.0.2.2","PlatformName":"Debian","PlatformType":"Linux","PlatformVersion":"12","PublicKey":"k","PublicKeyType":"Ec"}"#
        )
        try roundTrip(RequestCertificateChallenge.self, #"{"InstanceId":"mi-0123456789abcdef0"}"#)
        try roundTrip(
            RenewManagedInstanceCertificate.self,
            #"{"CertificateRequest":"MII=","Generation":1,"InstanceId":"mi-0123456789abcdef0","Nonce":"n","Signature":"s"}"#)
        try roundTrip(
            UpdateInstanceInformation.self,
            #"{"AgentName":"amazon-ssm-agent","AgentStatus":"Active","AgentVersion":"3.3.0.0","ComputerName":"vm","IPAddress":"192.0.2.2","InstanceId":"mi-0123456789abcdef0","PlatformName":"Debian GNU/Linux","PlatformType":"Linux","PlatformVersion":"12","SSMConnectionChannel":"ssmmessages"}"#
        )
    }

    @Test(arguments: [
        // Whether these are served depends on the controller's configuration.
        (#""OutputS3BucketName":"bucket""#, []), (#""OutputS3KeyPrefix":"p""#, []),
        (#""OutputS3KeyPrefix":"""#, []),
        (#""ServiceRoleArn":"arn""#, ["ServiceRoleArn"]), (#""NotificationConfig":{"NotificationArn":"a"}"#, ["NotificationConfig"]),
        (#""NotificationConfig":{}"#, []),
        (#""NotificationConfig":null"#, []), (#""CloudWatchOutputConfig":{"CloudWatchOutputEnabled":true}"#, ["CloudWatchOutputConfig"]),
        (#""CloudWatchOutputConfig":{"CloudWatchOutputEnabled":false}"#, []),
        (#""AlarmConfiguration":{"Alarms":[{"Name":"a"}]}"#, ["AlarmConfiguration"]),
        (#""OutputS3Region":"eu-west-1""#, []), (#""DocumentHash":"h""#, []),
        (#""ServiceRoleArn":"a","AlarmConfiguration":{}"#, ["ServiceRoleArn", "AlarmConfiguration"]),
    ])
    func whatSendCommandDoesNotServe(members: String, names: [String]) throws {
        #expect(try SendCommand.decodeInput(Array(#"{"DocumentName":"abc",\#(members)}"#.utf8)).unserved == names)
    }

    @Test func whatCreateActivationDoesNotServe() throws {
        #expect(
            try CreateActivation.decodeInput(Array(#"{"IamRole":"r","RegistrationMetadata":[{"Key":"a","Value":"b"}]}"#.utf8)).unserved == [
                "RegistrationMetadata"
            ])
        #expect(APIError.notServed(["A", "B"], operation: "Op").message == "Op does not serve A, B yet: leave them out.")
    }

    @Test func newCommandAnswersEmptyStringsAndLists() throws {
        let command = Command(
            commandID: CommandID("0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11")!, documentName: "AWS-RunShellScript",
            expiresAfter: Timestamp(milliseconds: 7_200_500),
            instanceIDs: [NodeID("mi-0123456789abcdef0")!], requestedDateTime: Timestamp(milliseconds: 500), status: .pending,
            statusDetails: "Pending",
            maxConcurrency: "50", maxErrors: "0", targetCount: 1, completedCount: 0, errorCount: 0, deliveryTimedOutCount: 0,
            timeoutSeconds: 3600)
        let json =
            #"{"Command":{"CloudWatchOutputConfig":{"CloudWatchLogGroupName":"","CloudWatchOutputEnabled":false},"CommandId":"0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11","Comment":"","CompletedCount":0,"DeliveryTimedOutCount":0,"DocumentName":"AWS-RunShellScript","DocumentVersion":"","ErrorCount":0,"ExpiresAfter":7200.5,"InstanceIds":["mi-0123456789abcdef0"],"MaxConcurrency":"50","MaxErrors":"0","NotificationConfig":{"NotificationArn":"","NotificationEvents":[],"NotificationType":""},"OutputS3BucketName":"","OutputS3KeyPrefix":"","Parameters":{},"RequestedDateTime":0.5,"ServiceRole":"","Status":"Pending","StatusDetails":"Pending","TargetCount":1,"Targets":[],"TimeoutSeconds":3600}}"#
        #expect(try text(SendCommand.Output(command: command)) == json)
        #expect(try JSONCoding.decode(SendCommand.Output.self, from: Array(json.utf8)).command == command)
    }

    @Test func absentMembersAreLeftOut() throws {
        #expect(try text(ListCommands.Output(commands: [])) == #"{"Commands":[]}"#)
        #expect(try text(EmptyOutput()) == "{}")
        #expect(try text(UpdateInstanceInformation.Output()) == "{}")
        #expect(
            try text(InstanceInformation(instanceID: NodeID("i-12345678")!, pingStatus: .connectionLost, ipAddress: "::1"))
                == #"{"IPAddress":"::1","InstanceId":"i-12345678","PingStatus":"ConnectionLost","ResourceType":"ManagedInstance"}"#)
        #expect(try text(GetConnectionStatus.Output(target: "x", status: .notConnected)) == #"{"Status":"notconnected","Target":"x"}"#)
    }

    @Test func nodePropertiesSettingsAndIdentity() throws {
        #expect(
            try text(
                DescribeInstanceProperties.Output(instanceProperties: [
                    InstanceInformation(
                        instanceID: NodeID("mi-0123456789abcdef0")!, pingStatus: .online, lastPingDateTime: Timestamp(milliseconds: 1500),
                        agentVersion: "1.0.0.0", platformType: "Linux", platformName: "Debian", platformVersion: "13",
                        activationID: ActivationID("0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11"), iamRole: "r",
                        registrationDate: Timestamp(milliseconds: 1000), name: "n", ipAddress: "192.0.2.1", computerName: "c",
                        sourceID: "s", sourceType: "AWS::SSM::ManagedInstance")
                ]))
                == #"{"InstanceProperties":[{"ActivationId":"0f7c1c3e-7d33-4b0c-8a5e-9a1c0b8f8c11","AgentVersion":"1.0.0.0","ComputerName":"c","IPAddress":"192.0.2.1","IamRole":"r","InstanceId":"mi-0123456789abcdef0","LastPingDateTime":1.5,"Name":"n","PingStatus":"Online","PlatformName":"Debian","PlatformType":"Linux","PlatformVersion":"13","RegistrationDate":1,"ResourceType":"ManagedInstance","SourceId":"s","SourceType":"AWS::SSM::ManagedInstance"}]}"#
        )
        #expect(
            try text(
                ServiceSettingOutput(
                    serviceSetting: ServiceSetting(
                        settingID: "/ssm/a", settingValue: "v", lastModifiedDate: Timestamp(milliseconds: 1000), lastModifiedUser: "u",
                        arn: "arn",
                        status: .customized)))
                == #"{"ServiceSetting":{"ARN":"arn","LastModifiedDate":1,"LastModifiedUser":"u","SettingId":"/ssm/a","SettingValue":"v","Status":"Customized"}}"#
        )
        #expect(try text(GetCallerIdentity.Output(account: "1", arn: "a", userID: "u")) == #"{"Account":"1","Arn":"a","UserId":"u"}"#)
    }

    @Test func secretsDoNotPrint() {
        let output = CreateActivation.Output(activationID: .random(), activationCode: "hunter2")
        let register = RegisterManagedInstance.Input(activationCode: "hunter2")
        let send = SendCommand.Input(documentName: "abc", parameters: ["p": ["hunter2"]])
        var dumped = "\(output) \(register) \(send) \([send])"
        dump([output] as [Any] + [register, send], to: &dumped)
        #expect(!dumped.contains("hunter2"))
    }

    @Test func requiredMembers() throws {
        #expect(try Optional("x").required("name") == "x")
        #expect(
            throws: APIError.validation(
                "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null")
        ) {
            try String?.none.required("name")
        }
    }

    @Test func renewalProof() {
        #expect(
            RenewManagedInstanceCertificate.proof(instanceID: NodeID("mi-0123456789abcdef0")!, generation: 2, nonce: "bm8=")
                == Array("muster-renewal\nmi-0123456789abcdef0\n2\nbm8=".utf8))
    }

    @Test func catalog() {
        #expect(OperationCatalog.all.count == 146)
        for name in [SendCommand.name, ListDocuments.name, CreateActivation.name, GetConnectionStatus.name] {
            #expect(OperationCatalog.all.contains(name))
        }
        #expect(!OperationCatalog.all.contains(RegisterManagedInstance.name))
    }
}

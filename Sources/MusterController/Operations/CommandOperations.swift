import MusterCrypto
import MusterDocuments
import MusterWire
import NIOConcurrencyHelpers

/// SendCommand, ListCommands, ListCommandInvocations, GetCommandInvocation, CancelCommand.
package struct CommandOperations: Sendable {
    private static let defaultTimeoutSeconds = 3_600
    private static let defaultConcurrency = "50"
    private static let defaultErrors = "0"
    private static let maximumStandardError = 8_000

    private let database: any SQLDatabase
    private let dispatcher: CommandDispatcher
    private let objects: ObjectStore?
    private let reads = ReadLedger()

    package init(database: any SQLDatabase, dispatcher: CommandDispatcher, objects: ObjectStore? = nil) {
        self.objects = objects
        self.database = database
        self.dispatcher = dispatcher
    }

    package func register(in table: inout OperationTable) {
        table.register(SendCommand.self, permission: "ssm:SendCommand", route: .operators, access: .inside, changes: true, send)
        table.register(ListCommands.self, permission: "ssm:ListCommands", route: .operators, access: .inside, changes: false, list)
        table.register(
            ListCommandInvocations.self, permission: "ssm:ListCommandInvocations", route: .operators, access: .inside, changes: false,
            listInvocations)
        table.register(
            GetCommandInvocation.self, permission: "ssm:GetCommandInvocation", route: .operators, access: .inside, changes: false,
            getInvocation)
        table.register(CancelCommand.self, permission: "ssm:CancelCommand", route: .operators, access: .inside, changes: true, cancel)
    }

    // MARK: Send

    /// Everything is checked before anything is stored. Command, invocations, audit event and the answer for a repeat are one
    /// transaction; the answer is given after its commit.
    @Sendable func send(_ input: SendCommand.Input, _ context: OperationContext) async throws -> SendCommand.Output {
        let order = try Order(input, objects)
        let (output, isRepeat) = try await database.write { tx in
            let answer = try IdempotencyStore.once(context.retry, now: context.now, in: tx) { try Self.accept(order, context, in: tx) }
            if answer.isRepeat { context.access.isRepeat() }
            return answer
        }
        if !isRepeat { await dispatcher.commandCreated(output.command.commandID) }
        return output
    }

    /// A request that has passed every check that needs no store.
    private struct Order: Sendable {
        let input: SendCommand.Input
        let ids: [String]
        let targets: [Target]
        let document: BuiltInDocument
        let executionTimeoutSeconds: Int
        let maxConcurrency: String
        let maxErrors: String
        let outputBucket: String
        let outputPrefix: String

        init(_ input: SendCommand.Input, _ objects: ObjectStore?) throws {
            guard input.unserved.isEmpty else { throw APIError.notServed(input.unserved, operation: SendCommand.name) }
            self.input = input
            ids = input.instanceIDs ?? []
            targets = input.targets ?? []
            guard ids.isEmpty || targets.isEmpty else { throw APIError.validation("InstanceIds and Targets cannot be given together.") }
            guard !ids.isEmpty || !targets.isEmpty else {
                throw APIError.validation("SendCommand needs InstanceIds or Targets: it is never for every node by default.")
            }
            document = try CommandOperations.document(input)
            executionTimeoutSeconds = try Self.executionTimeout(of: document.document, input.parameters ?? [:])
            maxConcurrency = input.maxConcurrency ?? defaultConcurrency
            maxErrors = input.maxErrors ?? defaultErrors
            guard RateControl.Limit(maxConcurrency) != nil, RateControl.Limit(maxErrors) != nil else {
                throw APIError.validation("MaxConcurrency and MaxErrors are numbers or percentages.")
            }
            (outputBucket, outputPrefix) = try Self.outputs(input, objects)
        }

        /// Bucket and prefix of the copies; empty when there are none.
        private static func outputs(_ input: SendCommand.Input, _ objects: ObjectStore?) throws(APIError) -> (String, String) {
            let (named, prefix) = (input.outputS3BucketName ?? "", input.outputS3KeyPrefix ?? "")
            guard let objects else {
                guard named.isEmpty, prefix.isEmpty else {
                    throw .validation(
                        "SendCommand cannot serve \(named.isEmpty ? "OutputS3KeyPrefix" : "OutputS3BucketName"): no object store is configured on this controller (outputS3Endpoint). Complete outputs are kept by the controller itself."
                    )
                }
                return ("", "")
            }
            let bucket = named.isEmpty ? objects.defaultBucket ?? "" : named
            guard !bucket.isEmpty || prefix.isEmpty else { throw .validation("OutputS3KeyPrefix needs OutputS3BucketName.") }
            guard bucket.isEmpty || ObjectStore.isBucket(bucket) else { throw .validation("OutputS3BucketName is no bucket name.") }
            guard bucket.isEmpty || objects.takesOutputs(bucket) else {
                throw .validation(
                    "OutputS3BucketName names a bucket that this controller brings no outputs to. Those it does are outputS3Bucket and outputS3Buckets in its configuration."
                )
            }
            guard ObjectStore.isPrefix(prefix) else {
                throw .validation(
                    "OutputS3KeyPrefix must not begin with '/', nor hold control characters or the segments '', '.' and '..'.")
            }
            return (bucket, prefix)
        }

        private static func executionTimeout(of document: Document, _ parameters: [String: [String]]) throws(APIError) -> Int {
            do {
                let bindings = try ParameterBindings(parameters, for: document)
                let plan = try Plan.build(document: document, values: bindings.values, platform: .linux)
                // What a node would refuse is said now, before anything is run anywhere.
                for item in plan.items where item.action == PluginKind.runShellScript.rawValue {
                    guard item.inputs[caseInsensitive: "workingDirectory"] != nil, let script = try? ScriptInputs(item.inputs) else {
                        continue
                    }
                    _ = try script.absoluteWorkingDirectory()
                }
                return plan.executionTimeoutSeconds
            } catch {
                throw error.kind == .size ? .maxDocumentSizeExceeded(error.description) : .invalidParameters(error.description)
            }
        }
    }

    private static func accept(_ order: Order, _ context: OperationContext, in tx: any SQLTransaction) throws -> SendCommand.Output {
        let (input, name) = (order.input, order.document.name)
        let resolved = try resolve(order, context, in: tx)
        let nodes = resolved.map(\.node)
        let permit: Permit
        do {
            permit = try context.access.authorize(
                targets(nodes, order, context), for: subject(nodes, order, context), reason: input.comment ?? "", in: tx)
        } catch var denial as AccessDenial {
            if order.ids.isEmpty, try !context.access.isAllowed([.anything], action: "ssm:DescribeInstanceInformation", in: tx) {
                // Which node has the tag is for those who may see nodes.
                denial.hidesResource = true
            }
            throw denial
        }
        let platforms = Set(order.document.platformTypes.map(\.rawValue))
        var invocations: [InvocationRecord] = []
        for (position, target) in resolved.enumerated() {
            var invocation = InvocationRecord(
                node: target.node, position: position, generation: target.generation, instanceName: target.name)
            if let platform = target.platform, !platforms.contains(platform) {
                invocation.state = .invalidPlatform
                invocation.trace = "The document does not run on \(platform)."
            }
            invocations.append(invocation)
        }
        if !order.ids.isEmpty, invocations.allSatisfy({ $0.state == .invalidPlatform }) {
            throw APIError.unsupportedPlatformType("Document \(name) runs on \(platforms.sorted().joined(separator: ", ")).")
        }
        var command = CommandRecord(
            id: .random(), documentName: name, documentVersion: input.documentVersion ?? "", document: order.document.content,
            parameters: input.parameters ?? [:], comment: input.comment ?? "",
            instanceIDs: order.ids.isEmpty ? [] : resolved.map(\.node), targets: order.targets,
            timeoutSeconds: input.timeoutSeconds ?? defaultTimeoutSeconds, executionTimeoutSeconds: order.executionTimeoutSeconds,
            maxConcurrency: order.maxConcurrency, maxErrors: order.maxErrors, requestedBy: context.caller.arn,
            targetCount: resolved.count, requestedAt: context.now)
        (command.outputBucket, command.outputPrefix) = (order.outputBucket, order.outputPrefix)
        try CommandStore.insert(command, invocations, by: permit, in: tx)
        var details = [
            "documentName": name, "targetCount": String(resolved.count), "maxConcurrency": order.maxConcurrency,
            "maxErrors": order.maxErrors,
        ]
        details["targets"] = order.ids.isEmpty ? order.targets.map(\.javaText).joined(separator: ", ") : order.ids.joined(separator: ", ")
        details["accessRequestId"] = permit.access.approval
        try AuditLog.append(context.audit(SendCommand.name, resource: command.id.description, details: details), in: tx)
        return SendCommand.Output(command: shape(command))
    }

    /// Whether a node is there, and what has become of it, is for those who may run something on it: to anybody else it is denied, as with any node.
    private static func resolve(_ order: Order, _ context: OperationContext, in tx: any SQLTransaction) throws -> [TargetResolver.Resolved]
    {
        do {
            return order.ids.isEmpty
                ? try TargetResolver.resolve(order.targets, account: context.account, in: tx)
                : try TargetResolver.resolve(ids: order.ids, account: context.account, in: tx)
        } catch let error as APIError {
            let named = order.ids + order.targets.filter { $0.key?.lowercased() == "instanceids" }.flatMap { $0.values ?? [] }
            if !named.isEmpty {
                let nodes = named.compactMap { NodeID($0) }
                let others = nodes.count == named.count ? [] : [AccessTarget.anything]
                _ = try context.access.requirements(targets(nodes, order, context) + others, action: "ssm:SendCommand", in: tx)
            }
            throw error
        }
    }

    /// The document and every node of the frozen set. Who names nodes by a tag has to be allowed each that has it.
    private static func targets(_ nodes: [NodeID], _ order: Order, _ context: OperationContext) -> [AccessTarget] {
        var keys = ConditionKeys(["ssm:DocumentName": [order.document.name], "muster:TargetCount": [String(nodes.count)]])
        if let comment = order.input.comment, !comment.isEmpty { keys["muster:Reason"] = [comment] }
        return [.document(order.document.name, context, keys: keys)] + nodes.map { .node($0, context, keys: keys) }
    }

    /// What others agree to: this document with these parameters, on the frozen set.
    private static func subject(_ nodes: [NodeID], _ order: Order, _ context: OperationContext) -> ApprovalSubject {
        let parameters = order.input.parameters ?? [:]
        let values = parameters.sorted { $0.key < $1.key }.flatMap { [$0.key, String($0.value.count)] + $0.value }
        return ApprovalSubject(
            action: "ssm:SendCommand", nodes: nodes.map { AccessTarget.node($0, context).resource },
            document: AccessTarget.document(order.document.name, context).resource, parameters: parameters,
            content: [order.document.content] + values)
    }

    private static func document(_ input: SendCommand.Input) throws -> BuiltInDocument {
        let document = try DocumentOperations.command(try input.documentName.required("documentName"), version: input.documentVersion)
        if let hash = input.documentHash, !hash.isEmpty {
            let isSHA1 = input.documentHashType == "Sha1"
            guard let digest = isSHA1 ? SHA1.hash(Array(document.content.utf8)) : SHA256.hash(document.content) else {
                throw APIError.validation(
                    "DocumentHashType Sha1 is forbidden by the cryptographic policy of the controller's host: use Sha256.")
            }
            guard Hex.decode(hash.lowercased()) == digest else {
                throw APIError.invalidDocument("The document's hash is not the one given in DocumentHash.")
            }
        }
        return document
    }

    private static func shape(_ command: CommandRecord) -> Command {
        Command(
            commandID: command.id, documentName: command.documentName, documentVersion: command.documentVersion, comment: command.comment,
            expiresAfter: command.expiresAt, parameters: command.parameters, instanceIDs: command.instanceIDs, targets: command.targets,
            requestedDateTime: command.requestedAt,
            status: MusterWire.CommandStatus(rawValue: command.progress.status.status) ?? .pending,
            statusDetails: command.progress.status.details, outputS3BucketName: command.outputBucket,
            outputS3KeyPrefix: command.outputPrefix, maxConcurrency: command.maxConcurrency, maxErrors: command.maxErrors,
            targetCount: command.progress.targetCount, completedCount: command.progress.completedCount,
            errorCount: command.progress.errorCount, deliveryTimedOutCount: command.progress.deliveryTimedOutCount,
            timeoutSeconds: command.timeoutSeconds)
    }

    // MARK: List

    @Sendable func list(_ input: ListCommands.Input, _ context: OperationContext) async throws -> ListCommands.Output {
        let filters = input.filters ?? []
        let binding = Self.binding(input.commandID, input.instanceID, filters)
        let limit = input.maxResults ?? 50
        return try await database.read { tx in
            try CommandAccess.authorizeList(of: input.commandID, context, in: tx)
            let paging = try Self.paging(in: tx)
            let position = try Self.position(input.nextToken, paging, ListCommands.name, binding)
            var selection = try Self.selection(input.commandID, input.instanceID, in: tx)
            try CommandListFilters.commands.apply(filters, to: &selection)
            if selection.node != nil, selection.status == "Pending" {
                throw APIError.validation("InstanceId cannot be combined with the filter Status Pending.")
            }
            let found = try CommandStore.commands(selection, after: position, limit: limit + 1, in: tx)
            let page = found.prefix(limit)
            let next = found.count > limit ? page.last : nil
            return ListCommands.Output(
                commands: page.map(Self.shape),
                nextToken: try paging.token(
                    after: next.map { CommandStore.Position(requestedAt: $0.requestedAt.milliseconds, command: $0.id.description).text },
                    operation: ListCommands.name, filters: binding))
        }
    }

    @Sendable func listInvocations(
        _ input: ListCommandInvocations.Input, _ context: OperationContext
    ) async throws -> ListCommandInvocations.Output {
        let filters = input.filters ?? []
        let binding = Self.binding(input.commandID, input.instanceID, filters)
        let limit = input.maxResults ?? 50
        let output = try await database.read { tx in
            try CommandAccess.authorizeList(of: input.commandID, context, in: tx)
            let paging = try Self.paging(in: tx)
            let position = try Self.position(input.nextToken, paging, ListCommandInvocations.name, binding)
            var selection = try Self.selection(input.commandID, input.instanceID, in: tx)
            try CommandListFilters.invocations.apply(filters, to: &selection)
            let found = try CommandStore.invocations(selection, after: position, limit: limit + 1, in: tx)
            let page = found.prefix(limit)
            var commands: [CommandID: CommandRecord] = [:]
            var shown: [CommandInvocation] = []
            for listed in page {
                var plugins: [CommandPlugin] = []
                if input.details == true {
                    if commands[listed.command] == nil { commands[listed.command] = try CommandStore.command(listed.command, in: tx) }
                    if let command = commands[listed.command] {
                        plugins = Self.plugins(
                            listed.invocation, try Self.stepNames(of: command),
                            try CommandStore.steps(of: listed.command, listed.invocation.node, in: tx))
                        if !command.outputBucket.isEmpty {
                            plugins = try plugins.map { try located($0, command, listed.invocation.node) }
                        }
                    }
                }
                shown.append(
                    CommandInvocation(
                        commandID: listed.command, instanceID: listed.invocation.node, instanceName: listed.invocation.instanceName,
                        comment: listed.comment, documentName: listed.documentName, documentVersion: listed.documentVersion,
                        requestedDateTime: listed.requestedAt,
                        status: CommandInvocationStatus(rawValue: listed.invocation.state.status) ?? .pending,
                        statusDetails: listed.invocation.state.details, traceOutput: listed.invocation.trace, commandPlugins: plugins))
            }
            let next = found.count > limit ? page.last : nil
            return ListCommandInvocations.Output(
                commandInvocations: shown,
                nextToken: try paging.token(
                    after: next.map {
                        CommandStore.Position(
                            requestedAt: $0.requestedAt.milliseconds, command: $0.command.description, target: Int64($0.invocation.position)
                        ).text
                    }, operation: ListCommandInvocations.name, filters: binding))
        }
        let read = output.commandInvocations.filter { $0.commandPlugins.contains { !$0.output.isEmpty } }
        try await auditReading(of: Set(read.map(\.commandID)), ListCommandInvocations.name, context)
        return output
    }

    /// What a page token is bound to.
    private static func binding(_ command: String?, _ node: String?, _ filters: [CommandFilter]) -> [String] {
        [command ?? "", node ?? ""] + filters.flatMap { [$0.key ?? "", $0.value ?? ""] }
    }

    private static func paging(in tx: any SQLTransaction) throws -> Paging {
        guard let key = try MetaStore.value(.pageTokenKey, in: tx).flatMap({ Base64.decode($0) }) else {
            throw StoredValueError(table: "meta", key: MetaStore.Key.pageTokenKey.rawValue)
        }
        return Paging(key: key)
    }

    private static func position(
        _ token: String?, _ paging: Paging, _ operation: String, _ binding: [String]
    ) throws -> CommandStore.Position? {
        let text = try paging.position(token, operation: operation, filters: binding)
        if text.isEmpty { return nil }
        guard let position = CommandStore.Position(text) else { throw APIError.invalidNextToken() }
        return position
    }

    private static func selection(_ command: String?, _ node: String?, in tx: any SQLTransaction) throws -> CommandStore.Selection {
        var selection = CommandStore.Selection()
        if let command {
            guard let id = CommandID(command), try CommandStore.command(id, in: tx) != nil else { throw APIError.invalidCommandID() }
            selection.command = id
        }
        if let node {
            guard let id = NodeID(node), try NodeStore.node(id, in: tx) != nil else {
                throw APIError.invalidInstanceID("Node \(node) does not exist.")
            }
            selection.node = id
        }
        return selection
    }

    private static func stepNames(of command: CommandRecord) throws -> [String] {
        try DocumentDecoder.decode(json: Array(command.document.utf8)).steps.map(\.name.rawValue)
    }

    /// With where its outputs are in the bucket.
    private func located(_ plugin: CommandPlugin, _ command: CommandRecord, _ node: NodeID) throws -> CommandPlugin {
        var plugin = plugin
        plugin.outputS3BucketName = command.outputBucket
        plugin.outputS3KeyPrefix = command.outputPrefix
        if plugin.status != .pending, plugin.status != .inProgress {
            let urls = try urls(command, node, plugin.name)
            (plugin.standardOutputURL, plugin.standardErrorURL) = (urls.output, urls.error)
        }
        return plugin
    }

    private func urls(_ command: CommandRecord, _ node: NodeID, _ step: String) throws -> (output: String, error: String) {
        guard let objects, !command.outputBucket.isEmpty else { return ("", "") }
        let document = try DocumentDecoder.decode(json: Array(command.document.utf8))
        func url(_ stream: OutputStream) -> String {
            OutputKey(command: command.id, node: node, step: step, stream: stream, in: document).map {
                objects.url(command.outputBucket, $0.objectKey(prefix: command.outputPrefix))
            } ?? ""
        }
        return (url(.standardOutput), url(.standardError))
    }

    /// One for each step, also for those that have left nothing yet or never will.
    private static func plugins(_ invocation: InvocationRecord, _ names: [String], _ steps: [StepRecord]) -> [CommandPlugin] {
        let known = Dictionary(steps.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let others = steps.filter { !names.contains($0.name) }
        return names.map { name in known[name].map(plugin) ?? missing(name, invocation) } + others.map(plugin)
    }

    private static func plugin(_ step: StepRecord) -> CommandPlugin {
        CommandPlugin(
            name: step.name, status: step.status, statusDetails: step.statusDetails, responseCode: step.code,
            responseStartDateTime: step.startedAt, responseFinishDateTime: step.endedAt, output: step.output)
    }

    private static func missing(_ name: String, _ invocation: InvocationRecord) -> CommandPlugin {
        let status: CommandPluginStatus =
            switch invocation.state {
            case .pending, .delayed: .pending
            case .inProgress, .inProgressDelayed, .cancelling: .inProgress
            default: CommandPluginStatus(rawValue: invocation.state.status) ?? .failed
            }
        return CommandPlugin(
            name: name, status: status, statusDetails: invocation.state.isFinal ? invocation.state.details : status.rawValue,
            responseCode: -1)
    }

    // MARK: Get

    @Sendable func getInvocation(
        _ input: GetCommandInvocation.Input, _ context: OperationContext
    ) async throws -> GetCommandInvocation.Output {
        // Waiters go on waiting at this error and at no other.
        guard let id = CommandID(try input.commandID.required("commandId")),
            let node = NodeID(try input.instanceID.required("instanceId"))
        else { throw APIError.invocationDoesNotExist() }
        let output = try await database.read { tx in
            try context.access.authorize([try CommandAccess.target(id, node, context, in: tx)], in: tx)
            guard let command = try CommandStore.command(id, in: tx), let invocation = try CommandStore.invocation(id, node, in: tx) else {
                throw APIError.invocationDoesNotExist()
            }
            let names = try Self.stepNames(of: command)
            let name: String
            if let wanted = input.pluginName {
                guard names.contains(wanted) else { throw APIError.invalidPluginName("The document has no step \(wanted).") }
                name = wanted
            } else if names.count == 1 {
                name = names[0]
            } else {
                throw APIError.invalidPluginName(
                    "The document has more than one step: give PluginName, one of \(names.joined(separator: ", ")).")
            }
            let step = try CommandStore.steps(of: id, node, in: tx).first { $0.name == name }
            var output = Self.shape(command, invocation, name, isOnly: names.count == 1, step)
            if let step, step.status != .pending, step.status != .inProgress {
                let urls = try urls(command, node, name)
                (output.standardOutputURL, output.standardErrorURL) = (urls.output, urls.error)
            }
            return output
        }
        if !output.standardOutputContent.isEmpty || !output.standardErrorContent.isEmpty {
            try await auditReading(of: [id], GetCommandInvocation.name, context)
        }
        return output
    }

    /// That somebody read what nodes have written: one event for all that one caller reads of a command in a while.
    private func auditReading(of commands: Set<CommandID>, _ operation: String, _ context: OperationContext) async throws {
        try await reads.write(commands.map { context.audit(operation, resource: $0.description) }, in: database)
    }

    private static func shape(
        _ command: CommandRecord, _ invocation: InvocationRecord, _ name: String, isOnly: Bool, _ step: StepRecord?
    ) -> GetCommandInvocation.Output {
        var output = GetCommandInvocation.Output(
            commandID: command.id, instanceID: invocation.node, comment: command.comment, documentName: command.documentName,
            documentVersion: command.documentVersion, pluginName: name,
            status: CommandInvocationStatus(rawValue: invocation.state.status) ?? .pending, statusDetails: invocation.state.details)
        guard let step, step.status != .pending, step.status != .inProgress else {
            // There is no other place for the reason why nothing was run.
            if invocation.state.isFinal { output.standardErrorContent = JobReport.cut(invocation.trace, maximumStandardError) }
            return output
        }
        if !isOnly {
            output.status = CommandInvocationStatus(rawValue: step.status.rawValue) ?? output.status
            output.statusDetails = step.statusDetails
        }
        output.responseCode = step.code
        output.executionStartDateTime = step.startedAt?.iso8601 ?? ""
        output.executionEndDateTime = step.endedAt?.iso8601 ?? ""
        if let start = step.startedAt, let end = step.endedAt {
            output.executionElapsedTime = elapsed(end.milliseconds - start.milliseconds)
        }
        output.standardOutputContent = step.standardOutput
        output.standardErrorContent = JobReport.cut(step.standardError, maximumStandardError)
        return output
    }

    /// An ISO 8601 duration as Java writes it: `PT0.091S`, `PT1H0.271S`, `PT2M`.
    static func elapsed(_ milliseconds: Int64) -> String {
        let total = max(0, milliseconds)
        let (hours, minutes, seconds, rest) = (total / 3_600_000, total / 60_000 % 60, total / 1000 % 60, total % 1000)
        var text = "PT"
        if hours > 0 { text += "\(hours)H" }
        if minutes > 0 { text += "\(minutes)M" }
        if rest > 0 {
            var fraction = String(String(1000 + rest).dropFirst())
            while fraction.hasSuffix("0") { fraction.removeLast() }
            text += "\(seconds).\(fraction)S"
        } else if seconds > 0 || text == "PT" {
            text += "\(seconds)S"
        }
        return text
    }

    // MARK: Cancel

    /// Best effort: what has not been sent ends at once, the nodes that have it are told to stop.
    @Sendable func cancel(_ input: CancelCommand.Input, _ context: OperationContext) async throws -> CancelCommand.Output {
        guard let id = CommandID(try input.commandID.required("commandId")) else { throw APIError.invalidCommandID() }
        let ids = input.instanceIDs ?? []
        guard Set(ids).count == ids.count else { throw APIError.duplicateInstanceID() }
        let nodes = try await database.write { tx -> [NodeID] in
            try context.access.authorize(try CommandAccess.targets(id, ids, context, in: tx), in: tx)
            guard try CommandStore.command(id, in: tx) != nil else { throw APIError.invalidCommandID() }
            let nodes = try ids.map { text in
                guard let node = NodeID(text), try CommandStore.invocation(id, node, in: tx) != nil else {
                    throw APIError.invalidInstanceID("The command was not sent to \(text).")
                }
                return node
            }
            if nodes.isEmpty {
                try CommandStore.requestCancel(of: id, in: tx)
            } else {
                for node in nodes { try CommandStore.requestCancel(of: id, on: node, in: tx) }
            }
            try AuditLog.append(
                context.audit(
                    CancelCommand.name, resource: id.description,
                    details: nodes.isEmpty ? [:] : ["instanceIds": ids.joined(separator: ", ")]),
                in: tx)
            return nodes
        }
        await dispatcher.cancel(id, nodes: nodes.isEmpty ? nil : nodes)
        return CancelCommand.Output()
    }
}

/// What a host does for one command: every step with its parameters in place, in order.
package struct Plan: Sendable, Hashable {
    package struct Item: Sendable, Hashable {
        package enum Readiness: Sendable, Hashable {
            case ready
            /// Does not apply here; the text says why.
            case skipped(reason: String)
            /// Cannot run; the text says why.
            case refused(reason: String)
        }

        package enum AfterFailure: Sendable, Hashable {
            case goOn
            case exit
            /// The step counts as a success and nothing after it runs.
            case successAndExit
        }

        package enum AfterSuccess: Sendable, Hashable {
            case goOn
            case exit
        }

        package let name: StepName
        package let action: String
        /// Parameters are in place; what the flow control reads is still in it and is none of a plugin's business.
        package let inputs: DocumentValue
        package let settings: DocumentValue
        package let readiness: Readiness
        package let onFailure: AfterFailure
        package let onSuccess: AfterSuccess
        /// Runs whatever happened before it. Only ever true of the last step.
        package let isFinally: Bool
        /// How long the step may run.
        package let timeoutSeconds: Int

        package init(
            name: StepName, action: String, inputs: DocumentValue, settings: DocumentValue = .null, readiness: Readiness = .ready,
            onFailure: AfterFailure = .goOn, onSuccess: AfterSuccess = .goOn, isFinally: Bool = false,
            timeoutSeconds: Int = ScriptInputs.defaultTimeoutSeconds
        ) {
            self.name = name
            self.action = action
            self.inputs = inputs
            self.settings = settings
            self.readiness = readiness
            self.onFailure = onFailure
            self.onSuccess = onSuccess
            self.isFinally = isFinally
            self.timeoutSeconds = timeoutSeconds
        }
    }

    package let items: [Item]

    package init(items: [Item]) {
        self.items = items
    }

    /// The longest the whole may run: steps run one after the other, and each that applies may take all of its time.
    package var executionTimeoutSeconds: Int {
        let ready = items.filter { $0.readiness == .ready }
        guard !ready.isEmpty else { return ScriptInputs.defaultTimeoutSeconds }
        return ready.reduce(0) { $0 + $1.timeoutSeconds }
    }
}

/// Decides what follows what in one run of a plan. It does nothing itself: it is told how steps ended and says what is next.
///
/// After a restart or reboot, make a new one and tell it the ends that were written down, in any order; it goes on from there.
package struct PlanMachine: Sendable, Hashable {
    package enum Action: Sendable, Hashable {
        /// Run this step, then say `stepEnded`.
        case run(Plan.Item)
        /// Report these as ended (Skipped 0, Failed 1, Cancelled 1) with the reason as their output; they count as ended already.
        case skip(Plan.Item, reason: String)
        case fail(Plan.Item, reason: String)
        case cancel(Plan.Item, reason: String)
        /// A step is running; ask again when it has ended.
        case wait
        /// Nothing is left. After `successAndReboot` the same step runs again once the host is back.
        case finish(DocumentStatus)
    }

    /// How a step is to be reported, after flow control has had its say.
    package struct Ending: Sendable, Hashable {
        package var status: StepStatus
        package var code: Int
        /// Append these to what the step wrote; nil: nothing to add.
        package var outputNotice: String? = nil
        package var errorNotice: String? = nil
        /// The step's standard error is not reported at all.
        package var dropsStandardError = false

        package init(status: StepStatus, code: Int) {
            self.status = status
            self.code = code
        }
    }

    private let plan: Plan
    private var endings: [StepName: Ending] = [:]
    private var running: StepName?
    private var isCancelled = false

    package init(plan: Plan) {
        self.plan = plan
    }

    package mutating func next() -> Action {
        if running != nil { return .wait }
        if endings.values.contains(where: { $0.status == .successAndReboot }) { return .finish(.successAndReboot) }
        guard let index = plan.items.firstIndex(where: { endings[$0.name] == nil }) else { return .finish(status) }
        let item = plan.items[index]

        if isCancelled {
            return end(item, .cancelled, 1, .cancel(item, reason: "Step cancelled before it started."))
        }
        if !item.isFinally, let culprit = plan.items[..<index].first(where: endsDocument) {
            return end(item, .skipped, 0, .skip(item, reason: "Step skipped: step '\(culprit.name)' ended the document."))
        }
        switch item.readiness {
        case .skipped(let reason): return end(item, .skipped, 0, .skip(item, reason: reason))
        case .refused(let reason): return end(item, .failed, 1, .fail(item, reason: reason))
        case .ready:
            running = item.name
            return .run(item)
        }
    }

    /// The same news twice, or news of a step that is not in the plan, changes nothing.
    @discardableResult
    package mutating func stepEnded(_ name: StepName, status: StepStatus, code: Int) -> Ending {
        if let known = endings[name] { return known }
        var ending = Ending(status: status, code: code)
        guard let item = plan.items.first(where: { $0.name == name }) else { return ending }

        switch (status, code) {
        case (.success, ExitCode.successAndExit), (.failed, ExitCode.successAndExit):
            ending.status = .success
            ending.dropsStandardError = true
            ending.outputNotice = "\nStep exited with code 168: it succeeded, and the steps after it are skipped."
        case (.failed, ExitCode.failureAndExit):
            ending.outputNotice = "\nStep exited with code 169: it failed, and the steps after it are skipped."
            ending.errorNotice = ending.outputNotice
        case (.failed, _) where item.onFailure != .goOn:
            ending.outputNotice = "\nStep failed and has onFailure set: the steps after it are skipped."
            ending.errorNotice = ending.outputNotice
            if item.onFailure == .successAndExit {
                ending.status = .success
                ending.code = ExitCode.successAndExit
            }
        default: break
        }
        endings[name] = ending
        if running == name { running = nil }
        return ending
    }

    /// Steps that have not started never will. The one that is running is still waited for.
    package mutating func cancel() {
        isCancelled = true
    }

    /// How the document stands now.
    package var status: DocumentStatus {
        DocumentStatus(steps: plan.items.map { endings[$0.name]?.status ?? .notStarted })
    }

    private func endsDocument(_ item: Plan.Item) -> Bool {
        guard let ending = endings[item.name] else { return false }
        switch (ending.status, ending.code) {
        case (_, ExitCode.successAndExit), (_, ExitCode.failureAndExit): return true
        case (.failed, _): return item.onFailure == .exit
        case (.success, _): return item.onSuccess == .exit
        default: return false
        }
    }

    private mutating func end(_ item: Plan.Item, _ status: StepStatus, _ code: Int, _ action: Action) -> Action {
        endings[item.name] = Ending(status: status, code: code)
        return action
    }
}

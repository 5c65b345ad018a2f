import MusterDocuments
import Testing

@Suite struct PlanMachineTests {
    func item(
        _ name: String, readiness: Plan.Item.Readiness = .ready, onFailure: Plan.Item.AfterFailure = .goOn,
        onSuccess: Plan.Item.AfterSuccess = .goOn, isFinally: Bool = false
    ) throws -> Plan.Item {
        Plan.Item(
            name: try #require(StepName(name)), action: "aws:runShellScript", inputs: .object([:]), readiness: readiness,
            onFailure: onFailure, onSuccess: onSuccess, isFinally: isFinally)
    }

    /// Runs to the end; `ends` says how the steps that run end. The result: `run a`, `skip b`, …, then the status.
    func history(_ items: [Plan.Item], _ ends: [String: Int], cancelAfter: String? = nil) -> [String] {
        var machine = PlanMachine(plan: Plan(items: items))
        var history: [String] = []
        while history.count < 100 {
            switch machine.next() {
            case .run(let item):
                history.append("run \(item.name)")
                #expect(machine.next() == .wait)
                let code = ends[item.name.rawValue] ?? 0
                machine.stepEnded(item.name, status: StepStatus(exitCode: code), code: code)
                if item.name.rawValue == cancelAfter { machine.cancel() }
            case .skip(let item, _): history.append("skip \(item.name)")
            case .fail(let item, _): history.append("fail \(item.name)")
            case .cancel(let item, _): history.append("cancel \(item.name)")
            case .wait: history.append("wait")
            case .finish(let status):
                history.append(status.rawValue)
                return history
            }
        }
        return history
    }

    @Test func stepsRunInOrderAndGoOnAfterAFailure() throws {
        let items = [try item("a"), try item("b"), try item("c")]
        #expect(history(items, [:]) == ["run a", "run b", "run c", "Success"])
        #expect(history(items, ["a": 1]) == ["run a", "run b", "run c", "Failed"])
        #expect(history(items, ["b": 137]) == ["run a", "run b", "run c", "TimedOut"])
    }

    @Test func onFailureExit() throws {
        let items = [try item("a", onFailure: .exit), try item("b"), try item("c", isFinally: true)]
        #expect(history(items, ["a": 3]) == ["run a", "skip b", "run c", "Failed"])
        #expect(history(items, [:]) == ["run a", "run b", "run c", "Success"])
        var machine = PlanMachine(plan: Plan(items: items))
        _ = machine.next()
        let ending = machine.stepEnded(items[0].name, status: .failed, code: 3)
        #expect(ending.status == .failed && ending.code == 3)
        #expect(ending.outputNotice != nil && ending.errorNotice != nil)
    }

    @Test func onFailureSuccessAndExit() throws {
        let items = [try item("a", onFailure: .successAndExit), try item("b")]
        #expect(history(items, ["a": 3]) == ["run a", "skip b", "Success"])
        var machine = PlanMachine(plan: Plan(items: items))
        let ending = machine.stepEnded(items[0].name, status: .failed, code: 3)
        #expect(ending.status == .success && ending.code == 168 && !ending.dropsStandardError)
    }

    @Test func onSuccessExit() throws {
        let items = [try item("a", onSuccess: .exit), try item("b")]
        #expect(history(items, [:]) == ["run a", "skip b", "Success"])
        #expect(history(items, ["a": 1]) == ["run a", "run b", "Failed"])
    }

    @Test func exitCodesThatEndTheDocument() throws {
        let items = [try item("a"), try item("b"), try item("c", isFinally: true)]
        #expect(history(items, ["a": 168]) == ["run a", "skip b", "run c", "Success"])
        #expect(history(items, ["a": 169]) == ["run a", "skip b", "run c", "Failed"])
        var machine = PlanMachine(plan: Plan(items: items))
        #expect(machine.stepEnded(items[0].name, status: .success, code: 168).dropsStandardError)
    }

    @Test func rebootRunsTheSameStepAgain() throws {
        let items = [try item("a"), try item("b"), try item("c")]
        #expect(history(items, ["b": 194]) == ["run a", "run b", "SuccessAndReboot"])
        var machine = PlanMachine(plan: Plan(items: items))
        machine.stepEnded(items[0].name, status: .success, code: 0)
        #expect(machine.next() == .run(items[1]))
    }

    @Test func whatWasWrittenDownIsNotDoneAgain() throws {
        let items = [try item("a", onFailure: .successAndExit), try item("b")]
        var first = PlanMachine(plan: Plan(items: items))
        let ending = first.stepEnded(items[0].name, status: .failed, code: 9)
        var second = PlanMachine(plan: Plan(items: items))
        second.stepEnded(items[0].name, status: ending.status, code: ending.code)
        guard case .skip(items[1], _) = second.next() else {
            Issue.record("b must be skipped")
            return
        }
        #expect(second.next() == .finish(.success))
    }

    @Test func theSameNewsTwiceChangesNothing() throws {
        let items = [try item("a"), try item("b")]
        var machine = PlanMachine(plan: Plan(items: items))
        _ = machine.next()
        machine.stepEnded(items[0].name, status: .success, code: 0)
        let before = machine
        #expect(machine.stepEnded(items[0].name, status: .failed, code: 1).status == .success)
        machine.stepEnded(try #require(StepName("unknown")), status: .failed, code: 1)
        #expect(machine == before)
    }

    @Test func readinessDecides() throws {
        let items = [try item("a", readiness: .skipped(reason: "r")), try item("b", readiness: .refused(reason: "r")), try item("c")]
        #expect(history(items, [:]) == ["skip a", "fail b", "run c", "Failed"])
        let exit = [try item("a", readiness: .refused(reason: "r"), onFailure: .exit), try item("b")]
        #expect(history(exit, [:]) == ["fail a", "skip b", "Failed"])
    }

    @Test func cancelEndsWhatHasNotStarted() throws {
        let items = [try item("a"), try item("b"), try item("c", isFinally: true)]
        #expect(history(items, ["a": 137], cancelAfter: "a") == ["run a", "cancel b", "cancel c", "TimedOut"])
        var machine = PlanMachine(plan: Plan(items: items))
        machine.cancel()
        for _ in items { _ = machine.next() }
        #expect(machine.next() == .finish(.cancelled))
    }

    @Test(
        arguments: [
            ([.success, .skipped], .success), ([], .success), ([.success, .notStarted], .inProgress), ([.failed, .timedOut], .failed),
            ([.cancelled, .timedOut], .timedOut), ([.cancelled, .success], .cancelled), ([.failed, .successAndReboot], .successAndReboot),
            ([.inProgress, .failed], .failed), ([.skipped], .success),
        ] as [([StepStatus], DocumentStatus)])
    func documentStatus(_ steps: [StepStatus], _ status: DocumentStatus) {
        #expect(DocumentStatus(steps: steps) == status)
    }
}

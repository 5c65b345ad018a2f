/// Decides, for one command, which target is offered the job when, and what becomes of each.
///
///     pending ──send──▶ inProgress ──ack──▶ acknowledged ──result──▶ success | failed | executionTimedOut
///        ▲  │              │  │ silence: sent again to the same node            │
///        │  │              │  └ (InProgress/Delayed)                            └─cancel──▶ cancelling ──▶ cancelled
///        │  └─start-by──▶ deliveryTimedOut, cancel ──▶ cancelled, budget ──▶ terminated
///        └──no room / no connection (Delayed, holds no slot)
///
/// A value without clock, network or store: events are told with the time (milliseconds since 1970), and what they make
/// necessary is fetched with `takeActions`. Orders to a node are only decided there, after all events of a batch, and the
/// rows in the same answer have to be durable before a frame goes out. What is kept between two batches can be rebuilt
/// from the rows alone, so the process may end anywhere:
///
/// - A row that says InProgress or Cancelling holds its slot and is sent again; the node starts a job once, by its id.
/// - A row that says Pending or Delayed has certainly not reached the node.
/// - A row that has ended as a stray is told to its node as a cancellation until the command's time is over.
///
/// Targets are known here by their position in the command.
package struct DispatchMachine: Sendable {
    package struct Timing: Sendable {
        /// Silence after which a job or a cancellation is sent again, doubled up to `longestRetry`.
        package var retry: Int64 = 3_000
        package var longestRetry: Int64 = 60_000
        /// How long a cancellation may remain unconfirmed before the invocation ends with its outcome unknown.
        package var cancellation: Int64 = 60_000

        package init() {}
    }

    package struct Recorded: Sendable {
        package var generation: Int
        package var status: InvocationState
        package var isStray: Bool

        package init(generation: Int, status: InvocationState = .pending, isStray: Bool = false) {
            self.generation = generation
            self.status = status
            self.isStray = isStray
        }
    }

    /// What a node made of a job, by its own report.
    package enum Outcome: Sendable, Equatable {
        case success, failed, timedOut, cancelled
        /// Not started, because it reached the node too late.
        case expired
    }

    /// An agent's answer to a job frame.
    package enum Acknowledgement: Sendable, Equatable {
        case accepted
        /// Certainly not kept; may be offered again later.
        case noRoom
        case refused(code: String)
    }

    package struct Update: Sendable, Equatable {
        package var target: Int
        package var status: InvocationState
        package var reason: InvocationReason?
        /// The node may be running it all the same.
        package var isStray = false
    }

    /// `updates` and `command` are made durable together, before any frame of `jobs` and `cancellations` is sent.
    package struct Actions: Sendable, Equatable {
        package var updates: [Update] = []
        package var command: CommandProgress?
        package var jobs: [Int] = []
        package var cancellations: [Int] = []

        package var isEmpty: Bool { updates.isEmpty && command == nil && jobs.isEmpty && cancellations.isEmpty }
    }

    private struct Target: Sendable {
        let generation: Int
        var status: InvocationState
        var reason: InvocationReason?
        var isConnected = false
        /// Stands in `ready`.
        var isQueued = false
        /// Offered and turned away; not offered again before `wakeAt`.
        var isHeldBack = false
        var isAcknowledged = false
        var isCancelConfirmed = false
        /// The invocation has ended although the node may still be running the job: it is told to stop.
        var isStray = false
        var hasProven = false
        var isDirty = false
        /// Frames with the job of which it is not known that the node did not keep them.
        var doubtful = 0
        var retry: Int64 = 0
        var wakeAt = Int64.max
        var cancelBy = Int64.max
    }

    package private(set) var rate: RateControl
    package private(set) var tally = CommandTally()
    package private(set) var isCancelRequested: Bool
    private var targets: [Target] = []
    private let startBy: Int64
    private let deadline: Int64
    private let timing: Timing

    /// Connected targets to be offered the job, in turn; taken from `nextReady` on.
    private var ready: [Int] = []
    private var nextReady = 0
    private var wakes = WakeQueue()
    private var dirty: [Int] = []
    private var resends: [Int] = []
    private var cancellations: [Int] = []
    private var strays = 0
    private var isPastStartBy = false
    private var isPastDeadline = false
    private var hasStopped = false
    private var shown: CommandProgress?

    /// - Parameters:
    ///   - startBy: a target that has not been sent the job by then is not sent it any more.
    ///   - deadline: every invocation has ended by then, whatever its node does.
    ///   - shown: what the command's row says already.
    package init(
        targets recorded: [Recorded], maximumConcurrency: RateControl.Limit, maximumErrors: RateControl.Limit,
        startBy: Int64, deadline: Int64, isCancelRequested: Bool = false, shown: CommandProgress? = nil,
        timing: Timing = Timing(), at now: Int64
    ) {
        self.rate = RateControl(maximumConcurrency: maximumConcurrency, maximumErrors: maximumErrors, targets: recorded.count)
        self.startBy = startBy
        self.deadline = deadline
        self.isCancelRequested = isCancelRequested
        self.timing = timing
        self.shown = shown
        targets.reserveCapacity(recorded.count)
        for (position, row) in recorded.enumerated() {
            var target = Target(generation: row.generation, status: row.status)
            tally.add(row.status)
            if row.status.isInFlight {
                rate.started()
                // One from before the restart, to which no answer can be told apart any more.
                target.doubtful = 1
                if row.status == .cancelling {
                    target.cancelBy = now + timing.cancellation
                    wakes.add(position, at: target.cancelBy)
                }
            } else if row.status.isError {
                rate.failed()
            }
            if row.isStray, row.status.isFinal {
                target.isStray = true
                strays += 1
            }
            if row.status == .success || row.status.isError {
                target.hasProven = true
                rate.proven()
            }
            targets.append(target)
        }
        stopIfNecessary()
        timeReached(at: now)
    }

    // MARK: Events

    /// A target's node has a connection, of this generation of its identity.
    package mutating func connected(_ position: Int, generation: Int, at now: Int64) {
        guard targets.indices.contains(position), generation >= targets[position].generation else { return }
        if generation > targets[position].generation {
            return end(position, as: .undeliverable, because: .identityReplaced)
        }
        targets[position].isConnected = true
        switch targets[position].status {
        case .pending: enqueue(position)
        case .delayed:
            // Whatever was in the way belonged to the connection before.
            targets[position].isHeldBack = false
            enqueue(position)
        case .inProgress, .inProgressDelayed:
            if !targets[position].isAcknowledged { resends.append(position) }
        case .cancelling:
            if !targets[position].isCancelConfirmed { cancellations.append(position) }
        default:
            if targets[position].isStray { cancellations.append(position) }
        }
    }

    package mutating func disconnected(_ position: Int) {
        guard targets.indices.contains(position) else { return }
        targets[position].isConnected = false
        if targets[position].status.isInFlight, !targets[position].isAcknowledged { stalled(position) }
    }

    /// The job was not handed to any connection. Once for a frame, as `acknowledged`.
    package mutating func sendFailed(_ position: Int, at now: Int64) {
        acknowledged(position, .noRoom, at: now)
    }

    /// - Parameter answer: `noRoom` at most once for a frame.
    package mutating func acknowledged(_ position: Int, _ answer: Acknowledgement, at now: Int64) {
        guard targets.indices.contains(position), !targets[position].status.isFinal else { return }
        switch answer {
        case .accepted: accepted(position)
        case .noRoom:
            guard targets[position].status.isInFlight, !targets[position].isAcknowledged else { return }
            targets[position].doubtful -= 1
            notTaken(position, at: now)
        case .refused(let code):
            if targets[position].status == .cancelling, !targets[position].isAcknowledged {
                end(position, as: .cancelled, because: .neverSent)
            } else if isUnacknowledged(position) {
                end(position, as: .failed, because: .refused(code: code))
            }
        }
    }

    /// A reply without a final status: the node has the job.
    package mutating func progressed(_ position: Int) {
        guard targets.indices.contains(position), !targets[position].status.isFinal else { return }
        accepted(position)
    }

    /// The node's own final report. It counts whatever was planned with the node; only what has ended stays as it is.
    package mutating func finished(_ position: Int, _ outcome: Outcome) {
        guard targets.indices.contains(position) else { return }
        clearStray(position)
        switch outcome {
        case .success: end(position, as: .success)
        case .failed: end(position, as: .failed)
        case .timedOut: end(position, as: .executionTimedOut)
        case .cancelled: end(position, as: .cancelled)
        case .expired: end(position, as: .deliveryTimedOut)
        }
    }

    /// - Parameter positions: nil for the whole command.
    package mutating func cancel(_ positions: [Int]?, at now: Int64) {
        if positions == nil { isCancelRequested = true }
        for position in positions ?? Array(targets.indices) where targets.indices.contains(position) {
            switch targets[position].status {
            case .pending, .delayed: end(position, as: .cancelled, because: .neverSent)
            case .inProgress, .inProgressDelayed:
                set(position, .cancelling)
                targets[position].cancelBy = now + timing.cancellation
                targets[position].wakeAt = .max
                targets[position].retry = 0
                wakes.add(position, at: targets[position].cancelBy)
                cancellations.append(position)
            default: break
            }
        }
    }

    package mutating func cancelAcknowledged(_ position: Int) {
        guard targets.indices.contains(position) else { return }
        clearStray(position)
        if targets[position].status == .cancelling { targets[position].isCancelConfirmed = true }
    }

    package mutating func deregistered(_ position: Int) {
        guard targets.indices.contains(position) else { return }
        clearStray(position)
        targets[position].isConnected = false
        end(position, as: .undeliverable, because: .deregistered)
    }

    package mutating func timeReached(at now: Int64) {
        if now >= startBy, !isPastStartBy {
            isPastStartBy = true
            endWaiting(as: .deliveryTimedOut, because: .notDelivered)
        }
        if now >= deadline, !isPastDeadline {
            isPastDeadline = true
            for position in targets.indices where !targets[position].status.isFinal {
                abandon(position)
            }
        }
        while let position = wakes.take(until: now) {
            wake(position, at: now)
        }
    }

    // MARK: Answers

    /// Everything the events so far have made necessary.
    package mutating func takeActions(at now: Int64) -> Actions {
        var actions = Actions()
        actions.jobs = resends.filter { isUnacknowledged($0) && targets[$0].isConnected }
        resends.removeAll(keepingCapacity: true)
        while now < startBy, rate.hasRoom, let position = nextInTurn() {
            start(position)
            actions.jobs.append(position)
        }
        for position in actions.jobs {
            targets[position].doubtful += 1
            scheduleRetry(position, at: now)
        }
        actions.cancellations = cancellations.filter { needsCancellation($0) && targets[$0].isConnected }
        cancellations.removeAll(keepingCapacity: true)
        for position in actions.cancellations { scheduleRetry(position, at: now) }

        actions.updates.reserveCapacity(dirty.count)
        for position in dirty {
            targets[position].isDirty = false
            actions.updates.append(
                Update(
                    target: position, status: targets[position].status, reason: targets[position].reason,
                    isStray: targets[position].isStray))
        }
        dirty.removeAll(keepingCapacity: true)
        let progress = self.progress
        if progress != shown {
            shown = progress
            actions.command = progress
        }
        return actions
    }

    package var progress: CommandProgress {
        CommandProgress(
            status: tally.status(isCancelRequested: isCancelRequested, allowedErrors: rate.allowedErrors),
            targetCount: tally.targets, completedCount: tally.completed, errorCount: tally.errors,
            deliveryTimedOutCount: tally[.deliveryTimedOut])
    }

    package var isFinished: Bool { tally.open == 0 }

    /// Nothing is left to do, not even to stop a node that may still be running what was cancelled.
    package func isIdle(at now: Int64) -> Bool { isFinished && (strays == 0 || now >= deadline) }

    /// When `timeReached` has to be called next; it may turn out that nothing was due.
    package var nextDeadline: Int64? {
        var next = wakes.earliest ?? .max
        if !isPastStartBy, !isFinished { next = min(next, startBy) }
        if !isPastDeadline, !isFinished || strays > 0 { next = min(next, deadline) }
        return next == .max ? nil : next
    }

    package func status(of position: Int) -> InvocationState { targets[position].status }
    package func reason(of position: Int) -> InvocationReason? { targets[position].reason }

    // MARK: Steps

    private func isUnacknowledged(_ position: Int) -> Bool {
        let target = targets[position]
        return (target.status == .inProgress || target.status == .inProgressDelayed) && !target.isAcknowledged
    }

    private func needsCancellation(_ position: Int) -> Bool {
        let target = targets[position]
        return target.status == .cancelling ? !target.isCancelConfirmed : target.isStray
    }

    private mutating func set(_ position: Int, _ status: InvocationState) {
        let old = targets[position].status
        guard old != status else { return }
        targets[position].status = status
        tally.move(from: old, to: status)
        if status.isInFlight, !old.isInFlight { rate.started() }
        if old.isInFlight, !status.isInFlight { rate.ended() }
        if !targets[position].isDirty {
            targets[position].isDirty = true
            dirty.append(position)
        }
    }

    private mutating func end(_ position: Int, as status: InvocationState, because reason: InvocationReason? = nil) {
        guard !targets[position].status.isFinal else { return }
        targets[position].reason = reason
        targets[position].wakeAt = .max
        targets[position].cancelBy = .max
        if targets[position].status.isInFlight { prove(position) }
        set(position, status)
        if status.isError {
            rate.failed()
            stopIfNecessary()
        }
    }

    private mutating func prove(_ position: Int) {
        guard !targets[position].hasProven else { return }
        targets[position].hasProven = true
        rate.proven()
    }

    private mutating func enqueue(_ position: Int) {
        guard !targets[position].isQueued else { return }
        targets[position].isQueued = true
        ready.append(position)
    }

    private mutating func nextInTurn() -> Int? {
        while nextReady < ready.count {
            let position = ready[nextReady]
            nextReady += 1
            targets[position].isQueued = false
            let target = targets[position]
            if target.isConnected, !target.isHeldBack, target.status == .pending || target.status == .delayed { return position }
        }
        ready.removeAll(keepingCapacity: true)
        nextReady = 0
        return nil
    }

    private mutating func start(_ position: Int) {
        targets[position].doubtful = 0
        targets[position].retry = 0
        set(position, .inProgress)
    }

    private mutating func accepted(_ position: Int) {
        targets[position].isAcknowledged = true
        prove(position)
        // Also for a target thought not to have it: the node knows better.
        if targets[position].status != .cancelling {
            targets[position].wakeAt = .max
            set(position, .inProgress)
        }
    }

    /// One frame was certainly not kept. If that is so of all of them, the node does not have the job.
    private mutating func notTaken(_ position: Int, at now: Int64) {
        let isCertain = targets[position].doubtful == 0
        if targets[position].status == .cancelling {
            if isCertain { end(position, as: .cancelled, because: .neverSent) }
            return
        }
        if isCertain {
            targets[position].isHeldBack = true
            targets[position].retry = 0
            set(position, .delayed)
            if now >= startBy { return end(position, as: .deliveryTimedOut, because: .notDelivered) }
            if rate.isSpent { return end(position, as: .terminated, because: .budgetSpent) }
        } else {
            set(position, .inProgressDelayed)
        }
        scheduleRetry(position, at: now)
    }

    /// A silent node keeps its slot, because it may be running the job, but the ramp does not wait for it.
    private mutating func stalled(_ position: Int) {
        prove(position)
        if targets[position].status == .inProgress { set(position, .inProgressDelayed) }
    }

    private mutating func scheduleRetry(_ position: Int, at now: Int64) {
        let retry = targets[position].retry == 0 ? timing.retry : min(targets[position].retry * 2, timing.longestRetry)
        targets[position].retry = retry
        targets[position].wakeAt = now + retry
        wakes.add(position, at: now + retry)
    }

    private mutating func wake(_ position: Int, at now: Int64) {
        if now >= targets[position].cancelBy, targets[position].status == .cancelling { return abandon(position) }
        guard now >= targets[position].wakeAt else { return }
        targets[position].wakeAt = .max
        switch targets[position].status {
        case .delayed:
            targets[position].isHeldBack = false
            if targets[position].isConnected { enqueue(position) }
        case .inProgress, .inProgressDelayed:
            guard isUnacknowledged(position) else { return }
            stalled(position)
            // Without a connection there is nothing to do until the next one.
            if targets[position].isConnected { resends.append(position) }
        default:
            if needsCancellation(position), targets[position].isConnected { cancellations.append(position) }
        }
    }

    /// Ends an invocation whose node has the job, or may have it, without knowing what became of it.
    private mutating func abandon(_ position: Int) {
        let status = targets[position].status
        if !targets[position].isCancelConfirmed, status.isInFlight {
            targets[position].isStray = true
            strays += 1
            cancellations.append(position)
        }
        if status == .cancelling {
            end(position, as: .cancelled, because: .outcomeUnknown)
        } else {
            end(position, as: .deliveryTimedOut, because: status.isInFlight ? .noResult : .notDelivered)
        }
    }

    private mutating func clearStray(_ position: Int) {
        guard targets[position].isStray else { return }
        targets[position].isStray = false
        targets[position].wakeAt = .max
        strays -= 1
    }

    private mutating func stopIfNecessary() {
        guard rate.isSpent, !hasStopped else { return }
        hasStopped = true
        endWaiting(as: .terminated, because: .budgetSpent)
    }

    private mutating func endWaiting(as status: InvocationState, because reason: InvocationReason) {
        for position in targets.indices where targets[position].status == .pending || targets[position].status == .delayed {
            end(position, as: status, because: reason)
        }
    }
}

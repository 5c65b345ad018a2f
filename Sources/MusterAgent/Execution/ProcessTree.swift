import CLinux
import Glibc

/// Ends every process of a step, whatever groups, sessions and parents they have moved to.
///
/// Stop first, then kill: a stopped process cannot fork, so a round that finds nobody new has found everybody.
package enum ProcessTree {
    /// How long the end of a tree may take. A process in an uninterruptible system call cannot be ended by anybody.
    package static let patienceSeconds = 10

    /// Everything below this process, which is a subreaper (PR_SET_CHILD_SUBREAPER(2const)): orphans become its children. So without a child
    /// there is nobody, which the kernel says at once; to read /proc takes the longer the more the host runs, and most scripts and sessions
    /// end with nobody left.
    package static func ownDescendants() -> [ProcessTable.Entry] {
        var info = siginfo_t()
        // Waits for nothing and takes nothing (waitid(2)).
        guard waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD else { return [] }
        return ProcessTable.read().descendants(of: getpid())
    }

    /// Ends what `members` finds until it finds nobody. `reap` collects children that died, if they are ours.
    /// Returns how many would not die.
    package static func end(_ members: () -> [ProcessTable.Entry], reap: () -> Void = {}) -> Int {
        let deadline = monotonicSeconds() + patienceSeconds
        while true {
            stop(members)
            for member in members() { signal(member, SIGKILL) }
            reap()
            let left = members().filter { $0.state != UInt8(ascii: "Z") && $0.state != UInt8(ascii: "X") }
            if left.isEmpty || monotonicSeconds() >= deadline {
                reap()
                return left.count
            }
            // Between SIGKILL and the end of a process the kernel frees its memory.
            awaitEnd(of: left[0])
        }
    }

    /// Until the process has ended, whosever child it is (pidfd_open(2)); not for long, because others may have come meanwhile.
    private static func awaitEnd(of member: ProcessTable.Entry) {
        let pidfd = muster_pidfd_open(member.identity.pid)
        if pidfd < 0, errno == ESRCH { return }
        defer { if pidfd >= 0 { close(pidfd) } }
        // Opened first and compared then: what the descriptor stands for cannot change any more.
        guard ProcessTable.entry(of: member.identity.pid)?.identity == member.identity else { return }
        // Without a descriptor to spare, poll(2) leaves out the negative one and waits all the same.
        var entry = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
        _ = poll(&entry, 1, pidfd < 0 ? 5 : 50)
    }

    /// Stops everybody, until a round finds nobody new. Bounded, so that a fork bomb is killed rather than chased.
    private static func stop(_ members: () -> [ProcessTable.Entry]) {
        var stopped: Set<ProcessIdentity> = []
        for _ in 0..<64 {
            let new = members().filter { stopped.insert($0.identity).inserted }
            if new.isEmpty { return }
            for member in new { signal(member, SIGSTOP) }
        }
    }

    private static func signal(_ member: ProcessTable.Entry, _ number: Int32) {
        // Between the reading of /proc and the signal the number may have been given away: look once more. What is
        // left of the race is shorter than a pid takes to come round.
        guard ProcessTable.entry(of: member.identity.pid)?.identity == member.identity else { return }
        kill(member.identity.pid, number)
    }

    private static func monotonicSeconds() -> Int {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return now.tv_sec
    }
}

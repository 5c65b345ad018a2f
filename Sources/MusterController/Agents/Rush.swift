import CLinux

/// Knows when many agents have connected and it has become quiet again. [value]
///
/// Handshakes leave the heap full of holes: after two thousand of them, a third of what the process held was free and not given
/// back. glibc looks for whole free pages only when it is told to.
struct Rush: Sendable {
    /// Fewer connections leave nothing worth the walk over the heap.
    private static let worthwhile = 100

    private var connections = 0
    private var connectionsAtLook = 0

    mutating func connected() { connections += 1 }

    /// True once after a rush: at the first look that finds nobody new.
    mutating func looked() -> Bool {
        guard connections == connectionsAtLook else {
            connectionsAtLook = connections
            return false
        }
        guard connections >= Self.worthwhile else { return false }
        (connections, connectionsAtLook) = (0, 0)
        return true
    }

    /// Takes some milliseconds for each hundred megabytes (man page malloc_trim(3)).
    static func giveMemoryBack() { _ = muster_give_memory_back() }
}

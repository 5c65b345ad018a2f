/// The times at which targets want to be looked at, earliest first: a binary heap.
/// Entries are never removed early; whoever takes one checks whether it still holds.
struct WakeQueue: Sendable {
    struct Wake: Sendable {
        let time: Int64
        let target: Int
    }

    private var heap: [Wake] = []

    var earliest: Int64? { heap.first?.time }

    mutating func add(_ target: Int, at time: Int64) {
        heap.append(Wake(time: time, target: target))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].time < heap[parent].time else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func take(until now: Int64) -> Int? {
        guard let first = heap.first, first.time <= now else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return first.target }
        heap[0] = last
        var parent = 0
        while true {
            var smallest = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].time < heap[smallest].time {
                smallest = child
            }
            guard smallest != parent else { return first.target }
            heap.swapAt(parent, smallest)
            parent = smallest
        }
    }
}

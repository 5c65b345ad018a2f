package import MusterWire

/// How long something is ago, as people say it: with the two largest units at most. [value]
package enum Age {
    package static func words(since time: Timestamp, now: Timestamp = .now()) -> String {
        let seconds = max(0, (now.milliseconds - time.milliseconds) / 1_000)
        switch seconds {
        case ..<120: return "\(seconds) s"
        case ..<7_200: return "\(seconds / 60) min"
        case ..<172_800: return "\(seconds / 3_600) h \(seconds / 60 % 60) min"
        default: return "\(seconds / 86_400) d"
        }
    }
}

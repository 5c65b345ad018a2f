package import CoreMetrics
internal import NIOConcurrencyHelpers

/// A swift-metrics backend that renders the Prometheus text format, version 0.0.4.
/// https://prometheus.io/docs/instrumenting/exposition_formats/
///
/// Labels come from the program and never from a peer, so the number of series is bounded by the source code; what would
/// still exceed the bound is dropped.
package final class Metrics: MetricsFactory {
    private static let maximumSeries = 4_096
    private static let bounds: [Double] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

    private struct Series: Hashable {
        let name: String
        let labels: String
    }

    private enum Value {
        case counter(Double)
        case gauge(Double)
        case histogram(counts: [Int], sum: Double, count: Int)
    }

    private let table = NIOLockedValueBox<[Series: Value]>([:])

    package init() {
        for metric in MetricHelp.all {
            switch metric.kind {
            case .counter: count(metric.name, by: 0)
            case .gauge: set(metric.name, to: 0)
            case .other: break
            }
        }
    }

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        CounterSeries(metrics: self, series: Self.series(label, dimensions))
    }

    package func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        RecorderSeries(metrics: self, series: Self.series(label, dimensions), aggregates: aggregate)
    }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        MeterSeries(metrics: self, series: Self.series(label, dimensions))
    }

    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        TimerSeries(metrics: self, series: Self.series(label, dimensions))
    }

    package func destroyCounter(_ handler: any CounterHandler) {}
    package func destroyRecorder(_ handler: any RecorderHandler) {}
    package func destroyMeter(_ handler: any MeterHandler) {}
    package func destroyTimer(_ handler: any TimerHandler) {}

    /// One counter up, for callers that hold the registry.
    package func count(_ label: String, _ dimensions: [(String, String)] = [], by amount: Double = 1) {
        add(Self.series(label, dimensions), amount)
    }

    package func set(_ label: String, _ dimensions: [(String, String)] = [], to value: Double) {
        update(Self.series(label, dimensions)) { $0 = .gauge(value) }
    }

    package func observe(_ label: String, _ dimensions: [(String, String)] = [], seconds: Double) {
        record(Self.series(label, dimensions), seconds)
    }

    package func render() -> String {
        let values = table.withLockedValue { $0 }
        var text = ""
        var described = ""
        for (series, value) in values.sorted(by: { ($0.key.name, $0.key.labels) < ($1.key.name, $1.key.labels) }) {
            let type =
                switch value {
                case .counter: "counter"
                case .gauge: "gauge"
                case .histogram: "histogram"
                }
            if described != series.name {
                if let help = MetricHelp.text[series.name] { text += "# HELP \(series.name) \(help)\n" }
                text += "# TYPE \(series.name) \(type)\n"
                described = series.name
            }
            let braces = series.labels.isEmpty ? "" : "{\(series.labels)}"
            switch value {
            case .counter(let number), .gauge(let number):
                text += "\(series.name)\(braces) \(Self.number(number))\n"
            case .histogram(let counts, let sum, let count):
                let prefix = series.labels.isEmpty ? "" : series.labels + ","
                var running = 0
                for (bound, inBucket) in zip(Self.bounds, counts) {
                    running += inBucket
                    text += "\(series.name)_bucket{\(prefix)le=\"\(Self.number(bound))\"} \(running)\n"
                }
                text += "\(series.name)_bucket{\(prefix)le=\"+Inf\"} \(count)\n"
                text += "\(series.name)_sum\(braces) \(Self.number(sum))\n\(series.name)_count\(braces) \(count)\n"
            }
        }
        return text
    }

    private func add(_ series: Series, _ amount: Double) {
        update(series) { value in
            if case .counter(let old) = value { value = .counter(old + amount) } else { value = .counter(amount) }
        }
    }

    private func record(_ series: Series, _ number: Double) {
        update(series) { value in
            var (counts, sum, count) = ([Int](repeating: 0, count: Self.bounds.count), 0.0, 0)
            if case .histogram(let oldCounts, let oldSum, let oldCount) = value { (counts, sum, count) = (oldCounts, oldSum, oldCount) }
            if let bucket = Self.bounds.firstIndex(where: { number <= $0 }) { counts[bucket] += 1 }
            value = .histogram(counts: counts, sum: sum + number, count: count + 1)
        }
    }

    private func update(_ series: Series, _ change: (inout Value?) -> Void) {
        table.withLockedValue { table in
            if table[series] == nil, table.count >= Self.maximumSeries { return }
            change(&table[series])
        }
    }

    private static func series(_ label: String, _ dimensions: [(String, String)]) -> Series {
        let labels = dimensions.map { "\(name($0.0))=\"\(escaped($0.1))\"" }.joined(separator: ",")
        return Series(name: name(label), labels: labels)
    }

    private static func name(_ text: String) -> String {
        String(text.map { ($0.isASCII && ($0.isLetter || $0.isNumber)) || $0 == "_" ? $0 : "_" })
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            switch character {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.append(character)
            }
        }
    }

    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
    }

    private final class CounterSeries: CounterHandler {
        let metrics: Metrics
        let series: Series
        init(metrics: Metrics, series: Series) { (self.metrics, self.series) = (metrics, series) }
        func increment(by amount: Int64) { metrics.add(series, Double(amount)) }
        func reset() { metrics.update(series) { $0 = .counter(0) } }
    }

    private final class RecorderSeries: RecorderHandler {
        let metrics: Metrics
        let series: Series
        let aggregates: Bool
        init(metrics: Metrics, series: Series, aggregates: Bool) {
            (self.metrics, self.series, self.aggregates) = (metrics, series, aggregates)
        }
        func record(_ value: Int64) { record(Double(value)) }
        func record(_ value: Double) {
            if aggregates { metrics.record(series, value) } else { metrics.update(series) { $0 = .gauge(value) } }
        }
    }

    private final class MeterSeries: MeterHandler {
        let metrics: Metrics
        let series: Series
        init(metrics: Metrics, series: Series) { (self.metrics, self.series) = (metrics, series) }
        func set(_ value: Int64) { set(Double(value)) }
        func set(_ value: Double) { metrics.update(series) { $0 = .gauge(value) } }
        func increment(by amount: Double) { change(by: amount) }
        func decrement(by amount: Double) { change(by: -amount) }
        private func change(by amount: Double) {
            metrics.update(series) { value in
                if case .gauge(let old) = value { value = .gauge(old + amount) } else { value = .gauge(amount) }
            }
        }
    }

    private final class TimerSeries: TimerHandler {
        let metrics: Metrics
        let series: Series
        init(metrics: Metrics, series: Series) { (self.metrics, self.series) = (metrics, series) }
        func recordNanoseconds(_ duration: Int64) { metrics.record(series, Double(duration) / 1e9) }
    }
}

import CoreMetrics
import MusterController
import Testing

@Suite struct MetricsTests {
    @Test func theTextFormat() {
        let metrics = MusterController.Metrics()
        Counter(label: "jobs.total", dimensions: [("state", "a\"b\\c\nd")], factory: metrics).increment(by: 2)
        Gauge(label: "nodes", factory: metrics).record(3)
        metrics.observe("seconds", seconds: 0.02)
        metrics.observe("seconds", seconds: 99)
        let text = metrics.render()
        #expect(text.contains("# TYPE jobs_total counter\njobs_total{state=\"a\\\"b\\\\c\\nd\"} 2\n"))
        #expect(text.contains("# TYPE nodes gauge\nnodes 3\n"))
        #expect(text.contains("seconds_bucket{le=\"0.01\"} 0\nseconds_bucket{le=\"0.025\"} 1\n"))
        #expect(text.contains("seconds_bucket{le=\"10\"} 1\nseconds_bucket{le=\"+Inf\"} 2\nseconds_sum 99.02\nseconds_count 2\n"))
    }

    @Test func seriesAreThereFromTheStartWithTheirMeaning() {
        let text = MusterController.Metrics().render()
        #expect(text.contains("# HELP muster_nodes_quarantined_total "))
        #expect(text.contains("\nmuster_nodes_quarantined_total 0\n") && text.contains("\nmuster_agents_connected 0\n"))
    }

    @Test func seriesAreBounded() {
        let metrics = MusterController.Metrics()
        for number in 0..<10_000 { metrics.count("x", [("n", String(number))]) }
        #expect(metrics.render().split(separator: "\n").count { $0.hasPrefix("x{") } <= 4_096)
    }
}

import Metrics
import Testing

@testable import Server

@Suite struct PrometheusTests {
  @Test func pageHasEveryKindOfMetricWithItsLabels() {
    let registry = PrometheusRegistry()
    Counter(label: "made", dimensions: [("kind", "a \"b\"\n")], factory: registry).increment(by: 3)
    Meter(label: "open-now", factory: registry).set(2.5)
    let timer = Metrics.Timer(label: "took", dimensions: [], factory: registry)
    timer.recordMilliseconds(30)
    timer.recordMilliseconds(400)
    let lines = registry.page().split(separator: "\n").map(String.init)
    #expect(lines.contains("# TYPE made_total counter"))
    #expect(lines.contains(#"made_total{kind="a \"b\"\n"} 3"#))
    #expect(lines.contains("open_now 2.5"))
    #expect(lines.contains(#"took_seconds_bucket{le="0.05"} 1"#))
    #expect(lines.contains(#"took_seconds_bucket{le="0.5"} 2"#))
    #expect(lines.contains(#"took_seconds_bucket{le="+Inf"} 2"#))
    #expect(lines.contains("took_seconds_count 2"))
  }

  @Test func sameLabelsAreTheSameSeries() {
    let registry = PrometheusRegistry()
    for _ in 0..<5 { Counter(label: "made", dimensions: [("kind", "a")], factory: registry).increment() }
    #expect(registry.page().contains("made_total{kind=\"a\"} 5"))
  }
}

package import Metrics
import Synchronization

/// The back end of swift-metrics that keeps every value and writes them as Prometheus' text page.
package final class PrometheusRegistry: MetricsFactory, Sendable {
  /// Upper bounds of the buckets of times and recorded values, in seconds or in the value's own unit.
  static let bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30, 60]

  private let families = Mutex<[String: Family]>([:])

  package init() {}

  private struct Family {
    var kind: String
    /// By the labels as they are written.
    var series: [String: Series] = [:]
  }

  /// The text page (format 0.0.4).
  package func page() -> String {
    var lines: [String] = []
    let sorted = families.withLock { $0.sorted { $0.key < $1.key } }
    for (name, family) in sorted {
      lines.append("# TYPE \(name) \(family.kind)")
      for (labels, series) in family.series.sorted(by: { $0.key < $1.key }) {
        lines.append(contentsOf: series.lines(name, labels))
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private func series(_ label: String, _ kind: String, _ dimensions: [(String, String)]) -> Series {
    let name = Self.name(label)
    let labels = dimensions.map { "\(Self.name($0.0))=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
    return families.withLock { families in
      var family = families[name] ?? Family(kind: kind)
      defer { families[name] = family }
      if let known = family.series[labels] { return known }
      let new = Series(bounds: kind == "histogram" ? Self.bounds : nil)
      family.series[labels] = new
      return new
    }
  }

  /// Letters, digits and `_`, as Prometheus wants names.
  private static func name(_ label: String) -> String {
    String(label.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") ? $0 : "_" })
  }

  private static func escaped(_ value: String) -> String {
    value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
  }

  package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    series(label + "_total", "counter", dimensions)
  }

  package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    series(label, "gauge", dimensions)
  }

  package func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
    series(label, aggregate ? "histogram" : "gauge", dimensions)
  }

  package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    series(label + "_seconds", "histogram", dimensions)
  }

  // Counters go on for the life of the process.
  package func destroyCounter(_ handler: any CounterHandler) {}
  package func destroyMeter(_ handler: any MeterHandler) {}
  package func destroyRecorder(_ handler: any RecorderHandler) {}
  package func destroyTimer(_ handler: any TimerHandler) {}
}

/// One value, or one histogram, under one set of labels.
private final class Series: CounterHandler, MeterHandler, RecorderHandler, TimerHandler {
  private struct State {
    var value = 0.0
    var count: UInt64 = 0
    var buckets: [UInt64]
  }

  private let bounds: [Double]?
  private let state: Mutex<State>

  init(bounds: [Double]?) {
    self.bounds = bounds
    state = Mutex(State(buckets: Array(repeating: 0, count: bounds?.count ?? 0)))
  }

  func increment(by amount: Int64) { state.withLock { $0.value += Double(amount) } }
  func reset() { state.withLock { $0.value = 0 } }
  func set(_ value: Int64) { set(Double(value)) }
  func set(_ value: Double) { state.withLock { $0.value = value } }
  func increment(by amount: Double) { state.withLock { $0.value += amount } }
  func decrement(by amount: Double) { state.withLock { $0.value -= amount } }
  func record(_ value: Int64) { record(Double(value)) }
  func recordNanoseconds(_ duration: Int64) { record(Double(duration) * 1e-9) }

  func record(_ value: Double) {
    guard let bounds else { return set(value) }
    state.withLock {
      $0.value += value
      $0.count += 1
      for (index, bound) in bounds.enumerated() where value <= bound { $0.buckets[index] += 1 }
    }
  }

  func lines(_ name: String, _ labels: String) -> [String] {
    let state = state.withLock { $0 }
    func line(_ suffix: String, _ extra: String, _ value: String) -> String {
      let all = [labels, extra].filter { !$0.isEmpty }.joined(separator: ",")
      return all.isEmpty ? "\(name)\(suffix) \(value)" : "\(name)\(suffix){\(all)} \(value)"
    }
    guard let bounds else { return [line("", "", number(state.value))] }
    return zip(bounds, state.buckets).map { line("_bucket", "le=\"\(number($0))\"", "\($1)") } + [
      line("_bucket", "le=\"+Inf\"", "\(state.count)"), line("_sum", "", number(state.value)),
      line("_count", "", "\(state.count)"),
    ]
  }

  private func number(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
  }
}

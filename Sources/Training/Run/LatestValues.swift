/// The newest value of each number since the last line of metrics.
///
/// What moves in some steps only, such as the student, would otherwise be logged by chance or never.
struct LatestValues {
  private var values: [(name: String, value: Double)] = []

  mutating func take(_ new: [(name: String, value: Double)]) {
    for entry in new {
      if let index = values.firstIndex(where: { $0.name == entry.name }) {
        values[index] = entry
      } else {
        values.append(entry)
      }
    }
  }

  /// All of them in the order of their names' first appearance; afterwards there is none.
  mutating func drain() -> [(name: String, value: Double)] {
    defer { values = [] }
    return values
  }
}

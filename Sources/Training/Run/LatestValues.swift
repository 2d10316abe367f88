/// The newest value of each metric since the last logged step: networks that are not updated in every step are logged all the same.
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

  /// All values, by order of first appearance; afterwards there are none.
  mutating func drain() -> [(name: String, value: Double)] {
    defer { values = [] }
    return values
  }
}

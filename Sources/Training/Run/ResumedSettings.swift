import Foundation

/// The differences between a checkpoint's settings and those of the run that resumes from it.
struct ResumedSettings {
  /// Keys that change what is learnt and must be equal, with both values.
  let conflicts: [String]
  /// Keys that may change, with both values.
  let changes: [String]

  /// Paths, reports and devices may change, and a run may be made longer.
  private static let free = [
    "run.out", "run.device", "run.report.", "run.videoGuard.", "run.stopsOnBadVideo", "run.checkpointLayers",
  ]

  /// - Parameters: whole configurations, as `settingsText` writes them.
  init(_ old: String, _ new: String) {
    let (old, new) = (ResumedSettings.leaves(old), ResumedSettings.leaves(new))
    let differing = Set(old.keys).union(new.keys).filter { old[$0] != new[$0] }.sorted()
    // A decay ends at the last step: another number of steps is another schedule.
    let decays = new.contains { $0.key.hasSuffix("ptimizer.decay") && $0.value != "none" }
    func mayChange(_ key: String) -> Bool {
      if key == "run.steps" { return !decays }
      return ResumedSettings.free.contains { $0.hasSuffix(".") ? key.hasPrefix($0) : key == $0 }
    }
    func text(_ key: String) -> String { "\(key) was \(old[key] ?? "not set") and is now \(new[key] ?? "not set")" }
    conflicts = differing.filter { !mayChange($0) }.map(text)
    changes = differing.filter(mayChange).map(text)
  }

  /// Every scalar and list by its path.
  private static func leaves(_ text: String) -> [String: String] {
    var found: [String: String] = [:]
    func add(_ value: Any, _ path: String) {
      if let map = value as? [String: Any] {
        for (key, value) in map { add(value, path.isEmpty ? key : "\(path).\(key)") }
      } else if let data = try? JSONSerialization.data(
        withJSONObject: value, options: [.fragmentsAllowed, .withoutEscapingSlashes])
      {
        found[path] = (value as? String) ?? String(decoding: data, as: UTF8.self)
      }
    }
    if let tree = try? JSONSerialization.jsonObject(with: Data(text.utf8)) { add(tree, "") }
    return found
  }
}

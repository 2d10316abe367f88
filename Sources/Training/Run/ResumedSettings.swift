import Basics
import Foundation
import Generation

/// The differences between a checkpoint's run and the one that resumes from it.
struct ResumedSettings {
  /// What changes what is learnt and must be equal, with both values.
  let conflicts: [String]
  /// What may change, with both values.
  let changes: [String]

  /// Paths, reports and devices may change, and a run may be made longer.
  private static let free = [
    "run.out", "run.device", "run.report.", "run.videoGuard.", "run.stopsOnBadVideo", "run.checkpointLayers",
    "run.shardWeights",
    "run.steps",
  ]
  /// Folders that are read: the same content under another path is the same.
  private static let folders = ["run.data", "run.checkpoint", "teacher"]

  /// - Parameters:
  ///   - old: the whole configuration of the checkpoint's run, as JSON.
  ///   - new: that of the run that resumes.
  ///   - oldInputs: what `inputs` said when the checkpoint's run began; empty for a checkpoint from before it was kept.
  ///   - newInputs: what it says now.
  init(_ old: String, _ new: String, oldInputs: [String: String] = [:], newInputs: [String: String] = [:]) {
    let (old, new) = (ResumedSettings.leaves(old), ResumedSettings.leaves(new))
    var (conflicts, changes): ([String], [String]) = ([], [])
    func text(_ key: String) -> String {
      "\(key) was \(shortened(old[key] ?? "not set")) and is now \(shortened(new[key] ?? "not set"))"
    }
    for key in Set(old.keys).union(new.keys).sorted() {
      let isEqual = old[key] == new[key]
      if ResumedSettings.folders.contains(key), let before = oldInputs[key], let now = newInputs[key] {
        if before != now {
          conflicts.append(isEqual ? "what is in \(key), \(shortened(new[key] ?? "")), has changed" : text(key))
        } else if !isEqual {
          changes.append(text(key) + ", with the same content")
        }
        continue
      }
      if isEqual { continue }
      let isSameFolder =
        ResumedSettings.folders.contains(key) && ResumedSettings.place(old[key]) == ResumedSettings.place(new[key])
      guard isSameFolder || ResumedSettings.free.contains(where: { $0.hasSuffix(".") ? key.hasPrefix($0) : key == $0 })
      else {
        conflicts.append(text(key))
        continue
      }
      // A decay ends at the last step: from here on the rate follows the longer schedule.
      let decays = new.contains { $0.key.hasSuffix("ptimizer.decay") && $0.value != "none" }
      changes.append(text(key) + (key == "run.steps" && decays ? ", where the learning rate now reaches zero" : ""))
    }
    (self.conflicts, self.changes) = (conflicts, changes)
  }

  private static func place(_ path: String?) -> String? {
    path.map { URL(fileURLWithPath: $0).resolvingSymlinksInPath().standardizedFileURL.path }
  }

  // MARK: - What a run reads

  /// What tells the contents of the folders apart that a run reads, by their keys; nothing for one that is not there.
  ///
  /// - Parameter settings: the whole configuration.
  static func inputs(_ settings: String) -> [String: String] {
    let values = leaves(settings)
    return folders.reduce(into: [:]) { inputs, key in
      if let path = values[key], !path.isEmpty { inputs[key] = identity(of: URL(fileURLWithPath: path)) }
    }
  }

  /// Files of a folder whose contents are looked at; of the others only names and sizes count.
  private static let sampledFiles = 16

  /// Names and sizes of the files of tensors and settings in a folder, and fingerprints of some of them.
  private static func identity(of folder: URL) -> String? {
    let root = folder.resolvingSymlinksInPath()
    let names = FileManager.default.enumerator(atPath: root.path)?.compactMap { $0 as? String } ?? []
    let endings: Set<String> = ["safetensors", "pth", "pt", "bin", "json"]
    let files = names.filter { name in
      endings.contains((name as NSString).pathExtension.lowercased())
        && !name.split(separator: "/").contains { $0.hasPrefix(".") }
    }.sorted()
    guard !files.isEmpty else { return nil }
    var text = ""
    for (index, name) in files.enumerated() {
      let file = root.appendingPathComponent(name).resolvingSymlinksInPath()
      let size = (try? FileManager.default.attributesOfItem(atPath: file.path))?[.size] as? NSNumber
      text += "\(name) \(size?.intValue ?? -1)"
      let isSampled =
        files.count <= sampledFiles || index % (files.count / sampledFiles) == 0 || index == files.count - 1
      if isSampled, let print = try? fingerprint(of: file) { text += " \(print)" }
      text += "\n"
    }
    let hash = text.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    return "\(files.count)-\(String(hash, radix: 16))"
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

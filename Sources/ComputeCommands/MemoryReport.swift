import Basics
import Foundation
import Generation
import Models
import Torch

/// The memory of a session, by arithmetic: what `bench --dry-run` prints.
struct MemoryReport: Codable {
  /// One process, alone or in a pipeline, or one of its devices.
  struct Process: Codable {
    var name: String
    var estimate: MemoryEstimate
  }

  var name: String
  var height: Int
  var width: Int
  var dtype: String
  var float8: Bool
  var steps: Int
  var processes: [Process]

  /// - Parameter onProcessor: see `MemoryEstimate`.
  init(
    _ preset: ModelPreset, size: ReferencePicture.Size?, dtype: DType, weights: WeightOptions, options: SessionOptions,
    onProcessor: Bool
  ) throws {
    let size = size ?? preset.size
    (name, height, width, steps) = (preset.name, size.height, size.width, options.steps)
    (self.dtype, float8) = ("\(dtype)", false)
    let groups = try weights.groups(of: preset.transformer.numLayers)
    processes = try groups.map {
      Process(
        name: Self.name("one process", $0, of: groups),
        estimate: try MemoryEstimate(
          preset, size: size, dtype: dtype, options: options, layers: $0, onProcessor: onProcessor))
    }
  }

  /// Live Avatar in one process, and in a pipeline in which each does one thing.
  init(
    _ preset: LiveAvatarPreset, size: ReferencePicture.Size?, dtype: DType, weights: WeightOptions,
    options: LiveAvatarOptions, onProcessor: Bool
  ) throws {
    let size = size ?? preset.size
    (name, height, width, steps) = (preset.name, size.height, size.width, options.steps)
    (self.dtype, float8) = ("\(dtype)", weights.float8)
    let groups = try weights.groups(of: preset.transformer.numLayers)
    func devices(_ name: String, _ stage: (steps: Range<Int>, decodes: Bool)?) throws -> [Process] {
      try groups.map {
        Process(
          name: Self.name(name, $0, of: groups),
          estimate: try MemoryEstimate(
            preset, size: size, dtype: dtype, weights: weights, options: options, stage: stage, layers: $0,
            onProcessor: onProcessor))
      }
    }
    processes = try devices("one process", nil) + devices("each step's", (0..<1, false))
    // It has no layers, and one device.
    let decoder = try MemoryEstimate(preset, size: size, dtype: dtype, options: options, stage: (0..<0, true))
    processes.append(Process(name: "the decoder's", estimate: decoder))
  }

  /// What a process is called, and which of its devices is meant.
  private static func name(_ process: String, _ layers: Range<Int>, of groups: [Range<Int>]) -> String {
    groups.count == 1 ? process : "\(process), \(layers.lowerBound)-\(layers.upperBound - 1)"
  }

  /// The figures for people.
  var table: String {
    let types = float8 ? "\(dtype), most linear layers in 8 bits" : dtype
    return Self.table(
      "\(name), \(height)×\(width), \(types), \(steps) steps: memory by arithmetic, without the text encoder", processes
    )
  }

  static func table(_ title: String, _ processes: [Process]) -> String {
    let width = max(16, 2 + (processes.map(\.name.count).max() ?? 0))
    func row(_ name: String, _ values: [String]) -> String {
      "  " + name.padding(toLength: 50, withPad: " ", startingAt: 0)
        + values.map { $0.padding(toLength: width, withPad: " ", startingAt: 0) }.joined()
    }
    func rows(_ title: String, _ items: KeyPath<MemoryEstimate, [MemoryEstimate.Item]>) -> [String] {
      let all = processes.map { $0.estimate[keyPath: items] }
      // Items that differ in their count, such as of steps, are different rows.
      let names = all.joined().map(\.name).reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
      return [row(title, [])]
        + names.map { name in
          row("  \(name)", all.map { items in items.first { $0.name == name }.map { byteText($0.bytes) } ?? "–" })
        }
    }
    let hostRows = rows("in host memory beside the device", \.host)
    return
      ([title, row("", processes.map(\.name))] + rows("weights", \.weights) + rows("caches", \.caches)
      + rows("activations, one at a time", \.activations) + [
        row("in all", processes.map { byteText($0.estimate.total) })
      ] + (hostRows.count > 1 ? hostRows : [])).joined(separator: "\n")
  }
}

import Basics
import Foundation
package import Torch

// The sharded optimizer state in files: one per rank with its shard, loadable by any number of ranks.

extension ShardedOptimizer {
  /// A shard's buffers by their names in files; the EMA exists from its start on.
  private enum Buffer: String, CaseIterable {
    case master, first, second, average

    func tensor(of part: FlatParameters) -> Tensor? {
      switch self {
      case .master: part.master
      case .first: part.first
      case .second: part.second
      case .average: part.average
      }
    }

    func key(of part: FlatParameters) -> String { "\(part.dtype).\(rawValue)" }
  }

  private static let countsKey = "counts"
  private static let layoutKey = "layout"
  private static func shareKey(_ part: FlatParameters) -> String { "\(part.dtype).share" }

  /// The tensors of this rank's file: its shard of master weights, moments and EMA, and the parameters' update counts.
  package func state() -> [String: Tensor] {
    withGradients(false) {
      var tensors = [ShardedOptimizer.countsKey: counts.to(.cpu, .int64)]
      for part in parts {
        for buffer in Buffer.allCases {
          if let tensor = buffer.tensor(of: part) { tensors[buffer.key(of: part)] = tensor }
        }
      }
      return tensors
    }
  }

  /// The metadata of this rank's file: the parameters, and the range of its shard.
  package var stateMetadata: [String: String] {
    var fields = [ShardedOptimizer.layoutKey: described]
    for part in parts {
      fields[ShardedOptimizer.shareKey(part)] = "\(part.share.lowerBound) \(part.share.upperBound)"
    }
    return fields
  }

  /// One line per parameter: name, shape, type.
  private var described: String {
    let types = Dictionary(uniqueKeysWithValues: parts.flatMap { part in part.slots.map { ($0.index, part.dtype) } })
    return layout.enumerated().map { index, entry in
      "\(entry.name) \(entry.shape) \(types[index].map { "\($0)" } ?? "")"
    }.joined(separator: "\n")
  }

  /// Loads the state that any number of ranks wrote; on an error nothing has changed. Zeroes the gradients.
  ///
  /// - Parameter files: of all ranks of that run, in any order.
  /// - Throws: `LiveTalkError` for a file of other parameters or a missing shard.
  package func load(_ files: [SafetensorsFile]) throws {
    for file in files { try compareLayout(file) }
    let sources = try parts.map { part in try shares(of: part, in: files) }
    guard let updates = try files.first?.tensor(ShardedOptimizer.countsKey), updates.count == layout.count else {
      throw LiveTalkError("The optimiser's state has no count of updates for every parameter.")
    }
    try withTorchErrors {
      try withGradients(false) {
        for (part, sources) in zip(parts, sources) {
          let hasAverage = try averaging != nil && sources.allSatisfy { try $0.holds(Buffer.average.key(of: part)) }
          part.average = hasAverage ? Tensor.zeros([part.share.count], device: counts.device) : nil
          for buffer in Buffer.allCases {
            guard let destination = buffer.tensor(of: part) else { continue }
            for source in sources {
              let own = source.range.clamped(to: part.share)
              guard !own.isEmpty else { continue }
              let values = try source.file.tensor(buffer.key(of: part))
              destination.narrow(0, own.lowerBound - part.share.lowerBound, own.count)
                .copy_(values.narrow(0, own.lowerBound - source.range.lowerBound, own.count))
            }
          }
        }
        counts.copy_(updates)
        discardGradients()
        try publish()
      }
    }
  }

  private struct Source {
    let file: SafetensorsFile
    let range: Range<Int>

    func holds(_ key: String) throws -> Bool { file.entries[key] != nil }
  }

  private func compareLayout(_ file: SafetensorsFile) throws {
    guard let theirs = file.metadata[ShardedOptimizer.layoutKey] else {
      throw LiveTalkError("\(file.url.path) is not the state of an optimiser.")
    }
    guard theirs != described else { return }
    let (own, other) = (described.split(separator: "\n"), theirs.split(separator: "\n"))
    let place = zip(own, other).first { $0 != $1 }.map { "'\($0.1)' where this model has '\($0.0)'" }
    throw LiveTalkError(
      "\(file.url.path) is the state of other parameters: \(place ?? "\(other.count) in place of \(own.count)").")
  }

  /// The shards of one part in the files, verified to cover it.
  private func shares(of part: FlatParameters, in files: [SafetensorsFile]) throws -> [Source] {
    let sources = try files.map { file in
      let bounds = (file.metadata[ShardedOptimizer.shareKey(part)] ?? "").split(separator: " ").compactMap { Int($0) }
      guard bounds.count == 2, bounds[0] >= 0, bounds[0] < bounds[1] else {
        throw LiveTalkError("\(file.url.path) does not say which share of the optimiser's state it has.")
      }
      for buffer in Buffer.allCases {
        guard let entry = file.entries[buffer.key(of: part)] else {
          if buffer == .average { continue }
          throw LiveTalkError("\(file.url.path) has no '\(buffer.key(of: part))'.")
        }
        guard entry.shape == [bounds[1] - bounds[0]], entry.dtype == .float32 else {
          throw LiveTalkError("\(file.url.path) has a '\(buffer.key(of: part))' of another size than its share.")
        }
      }
      return Source(file: file, range: bounds[0]..<bounds[1])
    }.sorted { $0.range.lowerBound < $1.range.lowerBound }
    var end = 0
    for source in sources where source.range.lowerBound <= end { end = max(end, source.range.upperBound) }
    guard end >= part.usedLength else {
      throw LiveTalkError("The optimiser's state lacks the share from element \(end) of \(part.usedLength) on.")
    }
    return sources
  }
}

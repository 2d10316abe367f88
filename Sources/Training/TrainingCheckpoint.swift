import Basics
package import Foundation
package import Torch

/// One file of tensors in a checkpoint.
package struct TensorFile {
  package typealias Layout = [(name: String, dtype: DType, shape: [Int])]

  /// The file's name without its extension: `student`.
  package let name: String
  /// Whether every rank writes its own file, `optimizer.rank0of2.safetensors`, or rank 0 alone.
  package let isShard: Bool
  let layout: Layout
  let metadata: [String: String]
  let tensor: (String) throws -> Tensor

  /// Tensors that are computed one at a time, in the order of the layout.
  package init(
    _ name: String, layout: Layout, metadata: [String: String] = [:], isShard: Bool = false,
    tensor: @escaping (String) throws -> Tensor
  ) {
    self.name = name
    self.layout = layout
    self.metadata = metadata
    self.isShard = isShard
    self.tensor = tensor
  }

  package init(
    _ name: String, _ tensors: [(name: String, tensor: Tensor)], metadata: [String: String] = [:], isShard: Bool = false
  ) {
    let values = Dictionary(tensors.map { ($0.name, $0.tensor) }) { first, _ in first }
    self.init(
      name, layout: tensors.map { ($0.name, $0.tensor.dtype, $0.tensor.shape) }, metadata: metadata, isShard: isShard
    ) { name in
      guard let tensor = values[name] else { throw LiveTalkError("There is no tensor \(name).") }
      return tensor
    }
  }

  func fileName(rank: Int, ranks: Int) -> String {
    isShard ? "\(name).rank\(rank)of\(ranks).safetensors" : "\(name).safetensors"
  }
}

/// A complete checkpoint on disk, its checksums verified.
package struct TrainingCheckpoint: Sendable {
  package let step: Int
  package let folder: URL
  /// How many ranks wrote it.
  package let ranks: Int

  /// A rank's state; rank 0's where the number of ranks has changed.
  ///
  /// - Throws: `LiveTalkError` where the file does not hold such a state.
  package func state<State: Decodable>(_ type: State.Type, rank: Int = 0, of ranks: Int = 1) throws -> State {
    let name = TrainingCheckpoint.stateName(rank: ranks == self.ranks ? rank : 0, ranks: ranks)
    let url = folder.appendingPathComponent(name)
    do {
      return try JSONDecoder().decode(type, from: Data(contentsOf: url))
    } catch {
      throw LiveTalkError("\(url.path) does not hold the state of this training: \(jsonReason(error)).")
    }
  }

  /// The file of that name that rank 0 wrote.
  package func file(_ name: String) throws -> SafetensorsFile {
    try SafetensorsFile(folder.appendingPathComponent("\(name).safetensors"))
  }

  /// The shards of all ranks, in order.
  package func shards(_ name: String) throws -> [SafetensorsFile] {
    try (0..<ranks).map { rank in
      try SafetensorsFile(folder.appendingPathComponent("\(name).rank\(rank)of\(ranks).safetensors"))
    }
  }

  static func stateName(rank: Int, ranks: Int) -> String {
    rank == 0 ? "state.json" : "state.rank\(rank)of\(ranks).json"
  }
}

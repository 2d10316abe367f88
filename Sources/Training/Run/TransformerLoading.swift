import Foundation
import Generation
import Models
import NN
import Torch

/// A transformer of a checkpoint folder, to be trained or to be asked.
struct LoadedTransformer {
  let model: WanTransformer
  let store: ParameterStore
  private let file: URL

  /// - Parameters:
  ///   - run: type, device and memory of a model to train; nil settings of layers leave a frozen one.
  ///   - isTrained: whether its parameters shall have gradients.
  ///   - adaptation: what of it is trained, by factors of low rank; nil for all of it.
  /// - Throws: `FileError`, `CheckpointMismatch`, `TorchError`, or `TrainingError` for an adaptation that names no layer.
  init(
    _ folder: CheckpointFolder, _ run: RunSettings, device: Device, isTrained: Bool,
    adaptation: LowRankAdaptation? = nil
  ) throws {
    file = try folder.require(.transformer)
    if let problem = adaptation?.problem { throw TrainingError("The low-rank adaptation is impossible: \(problem).") }
    let factors = adaptation.map { ($0, RandomStreams(seed: UInt64(run.seed)).generator(.weights, 0)) }
    var (model, store) = try folder.loadTransformer {
      ParameterStore(
        weights: $0, name: $1, device: device, dtype: run.precision.dtype, isFrozen: !isTrained,
        adaptation: isTrained ? factors : nil)
    }
    model.checkpointsLayers = isTrained && run.checkpointLayers
    (self.model, self.store) = (model, store)
    if isTrained {
      guard !store.trained.isEmpty else {
        throw TrainingError("The low-rank adaptation names no layer of the transformer.")
      }
      store.requireGradients()
    }
  }

  /// Writes the transformer with the values of what was trained in their places; factors are merged into their weights.
  func write(_ values: [(name: String, tensor: Tensor)], to folder: URL) throws {
    let place = ModelFamily.liveTalk.place(of: .transformer, in: folder)
    try FileManager.default.createDirectory(at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
    guard let adaptation = store.adaptation else {
      let tensors = Dictionary(uniqueKeysWithValues: values.map { ($0.name, $0.tensor) })
      try writeSafetensors(tensors, metadata: ["format": "pt"], to: place)
      return
    }
    let merging = try LowRankAdapter.Merging(
      Dictionary(uniqueKeysWithValues: values.map { ($0.name, $0.tensor) }), into: try readWeights(file),
      alpha: adaptation.alpha)
    try writeSafetensors(merging.layout, metadata: ["format": "pt"], to: place) { try merging.tensor($0) }
    try writeAdapter(values, adaptation, to: folder.appendingPathComponent("adapter"))
  }

  /// Writes what was trained beside a base that it can be merged into again, in the layout in which OmniAvatar publishes:
  /// `<layer>.lora_A.default.weight`, whole tensors under their own keys, and the scale in `config.json`.
  private func writeAdapter(
    _ values: [(name: String, tensor: Tensor)], _ adaptation: LowRankAdaptation, to folder: URL
  ) throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try writeSafetensors(
      Dictionary(uniqueKeysWithValues: values.map { ($0.name, $0.tensor) }), metadata: ["format": "pt"],
      to: folder.appendingPathComponent("adapter.safetensors"))
    let fields: [String: Any] = [
      "lora_rank": adaptation.rank, "lora_alpha": adaptation.alpha,
      "lora_target_modules": adaptation.targets.joined(separator: ","),
    ]
    let config = try JSONSerialization.data(withJSONObject: fields, options: [.prettyPrinted, .sortedKeys])
    try writeAtomically(to: folder.appendingPathComponent("config.json")) { try $0.write(contentsOf: config) }
  }
}

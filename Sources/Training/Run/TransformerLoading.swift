import Basics
import Foundation
import Generation
import Models
import NN
import Torch

/// A transformer of a checkpoint folder, trained or frozen.
struct LoadedTransformer {
  let model: WanTransformer
  let store: ParameterStore
  private let folder: CheckpointFolder

  /// - Parameters:
  ///   - run: its precision and activation checkpointing.
  ///   - isTrained: whether its parameters require gradients.
  ///   - adaptation: LoRA; nil for full fine-tuning.
  /// - Throws: `FileError`, `CheckpointMismatch`, `TorchError`, or `LiveTalkError` for LoRA settings that match no layer.
  init(
    _ folder: CheckpointFolder, _ run: RunSettings, device: Device, isTrained: Bool,
    adaptation: LoRAConfiguration? = nil
  ) throws {
    self.folder = folder
    if let problem = adaptation?.problem { throw LiveTalkError("The LoRA settings are invalid: \(problem).") }
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
        throw LiveTalkError(
          "The LoRA settings match no layer of the transformer: see 'lowRank.targets' and 'lowRank.whole'.")
      }
      store.requireGradients()
    }
  }

  /// Writes the transformer with the trained values; LoRA is merged into the base, and also written on its own.
  func write(_ values: [(name: String, tensor: Tensor)], to folder: URL) throws {
    let place = ModelFamily.liveTalk.place(of: .transformer, in: folder)
    try FileManager.default.createDirectory(at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
    guard let adaptation = store.adaptation else {
      let tensors = Dictionary(uniqueKeysWithValues: values.map { ($0.name, $0.tensor) })
      try writeSafetensors(tensors, metadata: ["format": "pt"], to: place)
      return
    }
    let adapter = try LoRAAdapter(
      Dictionary(uniqueKeysWithValues: values.map { ($0.name, $0.tensor) }),
      file: folder.appendingPathComponent("adapter"),
      alpha: adaptation.alpha)
    let merging = try LoRAAdapter.Merging([adapter], into: try self.folder.weights(.transformer))
    try writeSafetensors(merging.layout, metadata: ["format": "pt"], to: place) { try merging.tensor($0) }
    try writeAdapter(values, adaptation, to: folder.appendingPathComponent("adapter"))
  }

  /// Writes the LoRA weights in PEFT's layout, as OmniAvatar publishes them: `<layer>.lora_A.default.weight`, fully trained tensors
  /// under their own keys, rank and alpha in `config.json`.
  private func writeAdapter(
    _ values: [(name: String, tensor: Tensor)], _ adaptation: LoRAConfiguration, to folder: URL
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
    try writeAtomically(config, to: folder.appendingPathComponent("config.json"))
  }
}

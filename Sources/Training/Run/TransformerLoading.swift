import Basics
import Foundation
import Generation
import Models
import NN
import Torch

/// A transformer of a checkpoint folder, trained or frozen.
struct LoadedTransformer {
  let model: any TrainableTransformer
  let store: ParameterStore
  private let folder: CheckpointFolder

  /// - Parameters:
  ///   - run: its precision and activation checkpointing.
  ///   - isTrained: whether its parameters require gradients.
  ///   - adaptation: LoRA; nil for full fine-tuning.
  ///   - bases: frozen weights that this network shares with others; nil for weights of its own.
  /// - Throws: `FileError`, `CheckpointMismatch`, `TorchError`, or `LiveTalkError` for LoRA settings that match no layer.
  init(
    _ folder: CheckpointFolder, _ run: RunSettings, device: Device, isTrained: Bool,
    adaptation: LoRAConfiguration? = nil, over bases: FrozenBases? = nil
  ) throws {
    self.folder = folder
    if let problem = adaptation?.problem { throw LiveTalkError("The LoRA settings are invalid: \(problem).") }
    let adaptation = isTrained ? adaptation : nil
    guard !isTrained || adaptation != nil || folder.family.kind == .liveTalk else {
      throw LiveTalkError(
        "\(folder.family.name) is trained as an adapter over its frozen base: set 'lowRank', with 'whole' for layers that are to be "
          + "trained fully.")
    }
    func store(
      _ weights: [String: Tensor], _ name: String, isFrozen: Bool = false, _ adaptation: LoRAConfiguration? = nil,
      checksValues: Bool = true
    ) -> ParameterStore {
      ParameterStore(
        weights: weights, name: name, device: device, dtype: run.precision.dtype, isFrozen: isFrozen,
        adaptation: adaptation.map { ($0, RandomStreams(seed: UInt64(run.seed)).generator(.weights, 0)) },
        checksValues: checksValues)
    }
    var loaded: (model: any TrainableTransformer, store: ParameterStore)
    // An adapter that is not trained is merged: what comes of it is no longer the base that others share.
    if let bases, isTrained || folder.file(.adapter) == nil {
      let base = try bases.base(of: folder) { try folder.loadTrainable { store($0, $1) }.store.parameters }
      let own = base.weights.filter { adaptation?.trains($0.key) ?? false }
      if base.sharded != nil, let name = own.filter({ ShardedLayers.shards($0.key, $0.value.shape) }).keys.min() {
        throw LiveTalkError(
          "'lowRank.whole' names '\(name)', which is a part of what the ranks share out: leave it out, or set 'run.shardWeights' to false."
        )
      }
      loaded = try folder.loadTrainable { _, name in
        let start = try adaptation.map { try folder.adapterToTrain($0) } ?? [:]
        // What is trained fully is this network's own.
        let weights = base.weights.merging(own.mapValues { $0.clone() }) { $1 }.merging(start) { $1 }
        return store(weights, name, adaptation, checksValues: false)
      }
      if let sharded = base.sharded { loaded.model = loaded.model.sharded(by: sharded) }
    } else if let adaptation {
      loaded = try folder.loadTrainable { weights, name in
        store(weights.merging(try folder.adapterToTrain(adaptation)) { $1 }, name, adaptation)
      }
    } else if isTrained {
      loaded = try folder.loadTrainable { store($0, $1) }
    } else {
      loaded = try folder.loadFrozen { store($0, $1, isFrozen: true) }
    }
    loaded.model.checkpointsLayers = isTrained && run.checkpointLayers
    (model, self.store) = loaded
    if isTrained {
      guard !self.store.trained.isEmpty else {
        throw LiveTalkError(
          "The LoRA settings match no layer of the transformer: see 'lowRank.targets' and 'lowRank.whole'.")
      }
      self.store.requireGradients()
    }
  }

  /// The model whose own random choices are those of a micro-batch.
  func seeded(_ samples: [Int], _ streams: RandomStreams) -> any TrainableTransformer {
    model.seeded(streams.seed(.sinkDistance, samples[0]))
  }

  // MARK: - Writing

  /// The parts of a checkpoint folder that `write` writes.
  var exported: [CheckpointFolder.Part] { folder.family.kind == .liveAvatar ? [.adapter] : [.transformer] }

  /// Writes the transformer with the trained values; LoRA is merged into the base, and also written on its own. Live Avatar's is its
  /// adapter, beside the base that it was trained over.
  func write(_ values: [(name: String, tensor: Tensor)], to folder: URL) throws {
    let family = self.folder.family
    let place = family.place(of: exported[0], in: folder)
    try FileManager.default.createDirectory(at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
    let tensors = Dictionary(uniqueKeysWithValues: values.map { ($0.name, $0.tensor) })
    guard let adaptation = store.adaptation else {
      try writeSafetensors(tensors, metadata: ["format": "pt"], to: place)
      return
    }
    if family.kind == .liveAvatar { return try writeAdapter(tensors, adaptation, to: place) }
    let adapter = try LoRAAdapter(tensors, file: folder.appendingPathComponent("adapter"), alpha: adaptation.alpha)
    let merging = try LoRAAdapter.Merging([adapter], into: try self.folder.weights(.transformer))
    try writeSafetensors(merging.layout, metadata: ["format": "pt"], to: place) { try merging.tensor($0) }
    try writeAdapter(tensors, adaptation, to: folder.appendingPathComponent("adapter/adapter.safetensors"))
  }

  /// Writes the LoRA weights as they are published: `<layer>.lora_A.default.weight`, fully trained tensors under their own keys, and rank and
  /// alpha beside them, in PEFT's words and in OmniAvatar's.
  private func writeAdapter(_ tensors: [String: Tensor], _ adaptation: LoRAConfiguration, to file: URL) throws {
    let folder = file.deletingLastPathComponent()
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try writeSafetensors(tensors, metadata: ["format": "pt"], to: file)
    let peft: [String: Any] = [
      "peft_type": "LORA", "r": adaptation.rank, "lora_alpha": adaptation.alpha, "target_modules": adaptation.targets,
      "modules_to_save": adaptation.whole,
    ]
    let omniAvatar: [String: Any] = [
      "lora_rank": adaptation.rank, "lora_alpha": adaptation.alpha,
      "lora_target_modules": adaptation.targets.joined(separator: ","),
    ]
    for (name, fields) in [("adapter_config.json", peft), ("config.json", omniAvatar)] {
      let data = try JSONSerialization.data(withJSONObject: fields, options: [.prettyPrinted, .sortedKeys])
      try writeAtomically(data, to: folder.appendingPathComponent(name))
    }
  }
}

extension CheckpointFolder {
  /// The transformer of either family over a store that the caller makes of the file's weights, without any adapter.
  func loadTrainable(
    _ makeStore: (_ weights: [String: Tensor], _ name: String) throws -> ParameterStore
  ) throws -> (model: any TrainableTransformer, store: ParameterStore) {
    switch family.kind {
    case .liveTalk: try loadTransformer(makeStore)
    case .liveAvatar: try loadS2VTransformer(makeStore)
    }
  }

  /// The same as it serves, its adapter merged into it where it has one.
  func loadFrozen(
    _ makeStore: (_ weights: [String: Tensor], _ name: String) throws -> ParameterStore
  ) throws -> (model: any TrainableTransformer, store: ParameterStore) {
    try loadTrainable { weights, name in
      guard family.kind == .liveAvatar, file(.adapter) != nil else { return try makeStore(weights, name) }
      let merging = try LoRAAdapter.Merging([try ownAdapter(of: weights)], into: weights)
      return try makeStore(
        Dictionary(uniqueKeysWithValues: try merging.layout.map { ($0.name, try merging.tensor($0.name)) }), name)
    }
  }

  /// What of the folder's adapter training begins with, by our keys; nothing where it has none.
  ///
  /// - Throws: `FileError` for an adapter of another rank or scale than is to be trained.
  func adapterToTrain(_ adaptation: LoRAConfiguration) throws -> [String: Tensor] {
    guard family.kind == .liveAvatar, file(.adapter) != nil else { return [:] }
    return try ownAdapter().trainable(rank: adaptation.rank, alpha: adaptation.alpha)
  }
}

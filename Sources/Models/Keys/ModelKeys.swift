import Basics
package import Foundation
package import Torch

/// The keys of a kind of model in the files that people have: the published one, copies by other libraries, checkpoints of training.
///
/// This is the only place that knows other spellings. Everything that reads weights reads them by `readWeights(_:of:)`, under our keys.
package enum ModelKeys: Sendable {
  case transformer, vae, textEncoder, audioEncoder
  /// Of a model that only we write.
  case own

  /// Keys of which every such file has one: each spelling's. What stands before it stands before every key.
  private var anchors: [String] {
    switch self {
    case .transformer: ["patch_embedding.weight"]
    case .vae: ["encoder.conv1.weight", "encoder.conv_in.weight"]
    case .textEncoder: ["token_embedding.weight", "shared.weight"]
    case .audioEncoder: ["feature_projection.projection.weight"]
    case .own: []
    }
  }

  /// How messages call the model.
  private var title: String {
    switch self {
    case .transformer: "Wan transformer"
    case .vae: "Wan autoencoder"
    case .textEncoder: "umT5 text encoder"
    case .audioEncoder: "wav2vec2 encoder"
    case .own: "model"
    }
  }

  /// Weights under our keys.
  ///
  /// - Parameter url: what errors call them.
  /// - Throws: `FileError` where two keys mean one parameter, or that says what was found instead of such a model.
  package func ours(_ weights: [String: Tensor], _ url: URL) throws -> [String: Tensor] {
    if self == .own { return weights }
    var named = try renaming(try unscaled(weights, url), url) { ModelKeys.unwrapped($0) }
    let prefix = try prefix(named.keys, url)
    named = try renaming(named, url) { key in
      // What stands elsewhere is another model of the file, or the speech encoder's head, which is beside it.
      if key.hasPrefix(prefix) { return String(key.dropFirst(prefix.count)) }
      return ModelKeys.others.contains { key.hasPrefix($0) } ? nil : key
    }
    return try renaming(named, url, spelling(named.keys))
  }

  private func spelling(_ keys: some Sequence<String>) -> (String) -> String? {
    switch self {
    case .transformer where WanDiffusersKeys.isTransformer(keys): return WanDiffusersKeys.ours(ofTransformer:)
    case .vae where WanDiffusersKeys.isVAE(keys): return WanDiffusersKeys.VAE(keys).ours
    case .textEncoder where UMT5Keys.isTheirs(keys): return UMT5Keys.ours
    case .audioEncoder: return Wav2Vec2Keys.ours
    default: return { $0 }
    }
  }

  private func renaming(_ weights: [String: Tensor], _ url: URL, _ name: (String) -> String?) throws -> [String: Tensor]
  {
    var result: [String: Tensor] = [:]
    for (key, tensor) in weights {
      guard let name = name(key) else { continue }
      guard result.updateValue(tensor, forKey: name) == nil else {
        throw FileError(url, "two of its keys mean the parameter '\(name)', one of them is '\(key)'")
      }
    }
    return result
  }

  // MARK: Wrappers

  /// What FSDP, torch.compile, activation checkpointing and data parallelism leave in keys.
  private static let wrappers: Set<Substring> = ["_fsdp_wrapped_module", "_orig_mod", "_checkpoint_wrapped_module"]

  package static func unwrapped(_ key: String) -> String {
    guard key.contains("_") else { return key }
    return key.split(separator: ".", omittingEmptySubsequences: false).filter { !wrappers.contains($0) }
      .joined(separator: ".")
  }

  /// Which of several copies of a model in one file is meant: the average that serves before what was trained.
  private static let preferred = ["generator_ema", "ema", "generator", "student", "model"]
  /// Before the keys of what else a file may hold: ComfyUI's whole checkpoints, the other networks of distillation.
  private static let others = [
    "first_stage_model.", "cond_stage_model.", "conditioner.", "text_encoders.", "vae.", "critic.", "generator.",
    "generator_ema.", "ema.", "student.", "teacher.", "real_score.", "fake_score.", "model_ema.",
  ]

  /// What stands before every key of the model.
  private func prefix(_ keys: some Collection<String>, _ url: URL) throws -> String {
    var prefixes: Set<String> = []
    for anchor in anchors {
      for key in keys where key == anchor || key.hasSuffix(".\(anchor)") {
        prefixes.insert(String(key.dropLast(anchor.count)))
      }
    }
    if prefixes.contains("") { return "" }
    if prefixes.count <= 1, let only = prefixes.first { return only }
    for name in ModelKeys.preferred {
      let matching = prefixes.filter { $0.split(separator: ".").first.map(String.init) == name }
      if matching.count == 1, let prefix = matching.first { return prefix }
    }
    guard prefixes.isEmpty else {
      throw FileError(
        url,
        "it holds several models (\(prefixes.sorted().prefix(5).joined(separator: ", "))); save the one that is meant alone"
      )
    }
    throw FileError(url, foreign(keys))
  }

  /// What a file is that holds no such model, and what to do.
  private func foreign(_ keys: some Collection<String>) -> String {
    if keys.contains(where: { $0.contains("lora_") || $0.hasSuffix(".lora.down.weight") }) {
      return
        "it holds the factors of a LoRA adapter and no \(title); merge it into its base ('livetalk checkpoint merge') "
        + "or give it beside its base (--lora)"
    }
    let sample = keys.sorted().prefix(3).map { "'\(shortened($0))'" }.joined(separator: ", ")
    return "it holds no \(title): of its \(keys.count) tensors (\(sample)) none is '\(anchors[0])'; take the file of "
      + "another name or another repository"
  }

  // MARK: Numbers of 8 bits

  /// The weights of ComfyUI's scaled fp8 files, `X.weight` in 8 bits and `X.scale_weight`, as bf16; of other files as they are.
  ///
  /// Kept in 8 bits by the file is its size on disk alone: which layers compute in 8 bits here is another matter.
  private func unscaled(_ weights: [String: Tensor], _ url: URL) throws -> [String: Tensor] {
    let quantised = weights.keys.first {
      $0.hasSuffix(".absmax") || $0.contains(".quant_state.") || $0.hasSuffix(".qweight")
    }
    if let quantised {
      throw FileError(
        url,
        "it is quantised ('\(shortened(quantised))') in a way that is not read; take the weights in bf16, fp16, fp32 or scaled fp8"
      )
    }
    let endings = ["scale_weight", "weight_scale"]
    guard weights.keys.contains(where: { key in endings.contains { key.hasSuffix(".\($0)") } || key == "scaled_fp8" })
    else { return weights }
    var result: [String: Tensor] = [:]
    for (key, tensor) in weights {
      let parts = key.split(separator: ".")
      if let last = parts.last.map(String.init),
        ["scaled_fp8", "scale_input", "input_scale", "comfy_quant"].contains(last) || endings.contains(last)
      {
        continue
      }
      guard tensor.dtype == .float8E4M3 || tensor.dtype == .float8E5M2 else {
        result[key] = tensor
        continue
      }
      let layer = key.hasSuffix(".weight") ? String(key.dropLast("weight".count)) : "\(key)."
      let scale = endings.lazy.compactMap { weights[layer + $0] }.first
      guard scale?.dtype.isFloatingPoint ?? true, scale.map({ $0.count == 1 || $0.count == tensor.shape.first }) ?? true
      else {
        throw FileError(
          url,
          "the scale of '\(shortened(key))' has the shape \(scale?.shape ?? []), and is no number for the tensor or each row"
        )
      }
      let values = tensor.to(.float32)
      let factor = scale.map {
        $0.to(.float32).reshape([$0.count] + Array(repeating: 1, count: $0.count == 1 ? 0 : tensor.rank - 1))
      }
      result[key] = (factor.map { values * $0 } ?? values).to(.bfloat16)
    }
    return result
  }
}

/// Reads the weights of a model under our keys, whatever file they are in; see `Torch.readWeights` and `ModelKeys`.
///
/// - Throws: `FileError` with one sentence.
package func readWeights(_ url: URL, of keys: ModelKeys) throws -> [String: Tensor] {
  try keys.ours(try readWeights(url), url)
}

import Basics
package import Foundation
package import Torch

/// A LoRA adapter (Hu et al. 2021) in any of the namings that are in use.
///
/// For a layer it holds A `[rank, in]` and B `[out, rank]`, whose product is added to the layer's weight:
/// `W + strength · alpha / rank · B·A`. The names of both are PEFT's (`lora_A.weight`, `lora_A.default.weight`) or kohya's
/// (`lora_down.weight`), the layers' those of Wan or of diffusers, with dots or with underscores (`lora_unet_blocks_0_self_attn_q`), behind
/// any of the usual prefixes. Alpha is each layer's own (`.alpha`), or what the settings say; where there is neither it is the rank, as in
/// diffusers. Besides, a file may hold what is added to weights and biases as a whole (`.diff`, `.diff_b`), and tensors that replace or
/// extend the base's: OmniAvatar's wider patch embedding and its audio layers.
package struct LoRAAdapter: Sendable {
  /// The scale of OmniAvatar's adapters and of Live Avatar's, whose file does not tell it; their rank is 128.
  package static let publishedAlpha = 64.0

  /// Factors of one layer.
  struct Factors: Sendable {
    var a: Tensor?
    var b: Tensor?
    /// Of B's product: what is added to the bias, scaled as B·A.
    var bias: Tensor?
    var alpha: Double?
  }

  package let url: URL
  /// By the layer's key as the file has it, without its prefix.
  private(set) var layers: [String: Factors] = [:]
  /// What is added as a whole, by our ending of the key.
  private(set) var differences: [String: Tensor] = [:]
  /// What replaces or extends the base.
  private(set) var whole: [String: Tensor] = [:]
  let settings: LoRASettings
  /// Whether settings say the scale of every layer, which is then not the layer's own.
  private let overridesAlpha: Bool
  /// What the changes are multiplied with besides.
  package let strength: Double

  /// - Parameters:
  ///   - file: what errors call it.
  ///   - settings: nil where nothing is known of its scale.
  ///   - alpha: the scale of every layer, whatever the file and the settings say.
  /// - Throws: `FileError` for anything but plain LoRA, values that are not finite, and a scale that is not known.
  package init(
    _ tensors: [String: Tensor], file: URL, settings: LoRASettings? = nil, alpha: Double? = nil, strength: Double = 1
  ) throws {
    url = file
    overridesAlpha = alpha != nil
    self.strength = strength
    self.settings = alpha.map { LoRASettings(alpha: $0) } ?? settings ?? LoRASettings()
    guard (alpha ?? 1).isFinite, strength.isFinite else { throw FileError(file, "its scale is not a finite number") }
    if let key = tensors.keys.sorted().first(where: { tensors[$0]?.isAllFinite == false }) {
      throw FileError(
        file, "its tensor '\(shortened(key))' holds values that are not finite; make or download it again")
    }
    var isScaled = true
    for (key, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
      let (name, role) = Self.role(of: ModelKeys.unwrapped(key))
      let layer = Self.withoutPrefix(name)
      switch role {
      case .a, .b, .bias:
        var factors = layers[layer] ?? Factors()
        let place: WritableKeyPath<Factors, Tensor?> = role == .a ? \.a : role == .b ? \.b : \.bias
        guard factors[keyPath: place] == nil else {
          throw FileError(file, "it holds factors of '\(shortened(layer))' twice; keep one adapter in a file")
        }
        factors[keyPath: place] = tensor
        layers[layer] = factors
        // PEFT leaves alpha to its settings; in memory its keys have the adapter's name behind the factor's.
        let isNamed = key.contains(/\.lora_[AB]\.[^.]+\.(weight|bias)$/)
        if name.hasPrefix("base_model.") || isNamed { isScaled = false }
      case .alpha:
        guard tensor.count == 1, tensor.dtype.isFloatingPoint || tensor.dtype == .int64 else {
          throw FileError(file, "its '\(shortened(key))' is not one number")
        }
        layers[layer, default: Factors()].alpha = tensor.to(.cpu, .float64).array(Double.self)[0]
      case .difference: differences["\(layer).weight"] = tensor
      case .biasDifference: differences["\(layer).bias"] = tensor
      case .refused(let kind):
        throw FileError(file, "it is an adapter of the kind \(kind) ('\(shortened(key))'), and only LoRA is supported")
      case .whole: whole[layer] = tensor
      }
    }
    let alone = layers.filter { $0.value.a == nil && $0.value.b == nil && $0.value.bias == nil }.keys.sorted()
    if let layer = alone.first {
      throw FileError(file, "it holds the alpha of '\(shortened(layer))' and no factors of it")
    }
    guard isScaled || self.settings.alpha != nil || layers.values.allSatisfy({ $0.alpha != nil }) else {
      throw FileError(
        file,
        "its scale is not known: put its adapter_config.json, or config.json with 'lora_alpha', beside it, or give --alpha to 'merge'"
      )
    }
  }

  /// Reads an adapter's file, with the settings beside it.
  ///
  /// - Parameter url: the file, or a folder with one of the usual names in it.
  /// - Throws: `FileError`.
  package init(contentsOf url: URL, alpha: Double? = nil, strength: Double = 1) throws {
    let file = try Self.file(url)
    try self.init(
      try readWeights(file), file: file, settings: alpha == nil ? try LoRASettings(of: file) : nil, alpha: alpha,
      strength: strength)
  }

  private static func file(_ url: URL) throws -> URL {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
      throw FileError(url, "there is no such adapter")
    }
    guard isFolder.boolValue else { return url }
    let names = [
      "adapter_model.safetensors", "pytorch_lora_weights.safetensors", "adapter.safetensors", "adapter_model.bin",
    ]
    let files = names.map { url.appendingPathComponent($0) }
    guard let file = files.first(where: { FileManager.default.fileExists(atPath: $0.path) }) else {
      throw FileError(url, "the folder holds no adapter (\(names.joined(separator: ", ")))")
    }
    return file
  }

  /// Whether it holds anything but tensors that replace those of the base.
  package var hasFactors: Bool { !layers.isEmpty || !differences.isEmpty }

  /// Whether applying it changes nothing.
  package var changesNothing: Bool {
    strength == 0
      || whole.isEmpty
        && (Array(differences.values) + layers.values.compactMap(\.b)).allSatisfy {
          Tensor.sumOfSquares([$0]).array(Double.self) == [0]
        }
  }

  /// Its tensors under the keys that training gives them, to go on with.
  ///
  /// - Throws: `FileError` for factors of another rank or scale, or what is not plain LoRA of linear layers.
  package func trainable(rank: Int, alpha: Double) throws -> [String: Tensor] {
    guard differences.isEmpty, layers.values.allSatisfy({ $0.bias == nil && $0.a?.rank == 2 && $0.b?.rank == 2 }) else {
      throw FileError(url, "it holds more than factors of linear layers, and cannot be trained on")
    }
    var tensors = whole
    for (layer, factors) in layers {
      guard let a = factors.a, let b = factors.b else { continue }
      let own: Double
      do { own = try scale(of: layer, factors, rank: a.size(0)) } catch let error as LiveTalkError {
        throw FileError(url, error.description)
      }
      guard a.size(0) == rank, abs(own - alpha / Double(rank)) < 1e-9 else {
        throw FileError(
          url,
          "its rank is \(a.size(0)) and its alpha \(own * Double(a.size(0))), and the training's 'lowRank' has \(rank) and \(alpha): "
            + "set these, or merge it into the base first")
      }
      tensors["\(layer).lora_A.default.weight"] = a
      tensors["\(layer).lora_B.default.weight"] = b
    }
    return tensors
  }

  // MARK: Names

  enum Role: Equatable { case a, b, bias, alpha, difference, biasDifference, whole, refused(String) }

  /// What other kinds of adapters call their tensors.
  private static let others = [
    ("dora_scale", "DoRA"), ("lora_magnitude_vector", "DoRA"), ("hada_", "LoHa"), ("lokr_", "LoKr"), ("oft_", "OFT"),
    ("lora_mid", "LoCon with a middle factor"), ("lora_embedding_", "LoRA of an embedding"), ("ia3_", "IA3"),
    ("vera_", "VeRA"), ("boft_", "BOFT"),
  ]

  /// The layer, or tensor, of a key and what it is to it.
  static func role(of key: String) -> (name: String, Role) {
    let parts = key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    if let other = others.first(where: { other in parts.contains { $0.hasPrefix(other.0) } }) {
      return (key, .refused(other.1))
    }
    func name(_ count: Int) -> String { parts.dropLast(count).joined(separator: ".") }
    let factors = ["lora_A": Role.a, "lora_down": .a, "lora_B": .b, "lora_up": .b]
    switch parts.last {
    case "alpha": return (name(1), .alpha)
    case "diff": return (name(1), .difference)
    case "diff_b": return (name(1), .biasDifference)
    case "weight", "bias":
      for length in [2, 3] where parts.count > length {
        let factor = parts[parts.count - length]
        // PEFT puts the adapter's name behind the factor's.
        if let role = factors[factor], length == 2 || factor == "lora_A" || factor == "lora_B" {
          guard parts.last == "bias" else { return (name(length), role) }
          return role == .b ? (name(length), .bias) : (key, .refused("LoRA with a bias of its first factor"))
        }
        if length == 3, factor == "lora", let role = ["down": Role.a, "up": .b][parts[parts.count - 2]] {
          return (name(length), role)
        }
      }
      if parts.count > 3, parts[parts.count - 3] == "modules_to_save" {
        return ("\(name(3)).\(parts[parts.count - 1])", .whole)
      }
    case let last?: if let role = factors[last] { return (name(1), role) }
    case nil: break
    }
    return (key, .whole)
  }

  /// What libraries put before the keys of a whole model.
  private static let prefixes = [
    "base_model.model.", "base_model.", "diffusion_model.", "transformer.", "model.", "module.", "unet.", "pipe.dit.",
    "dit.", "generator.", "lora_unet_", "lora_transformer_", "lycoris_",
  ]

  static func withoutPrefix(_ key: String) -> String {
    var key = key
    while let prefix = prefixes.first(where: { key.hasPrefix($0) && $0.count < key.count }) {
      key = String(key.dropFirst(prefix.count))
    }
    return key
  }
}

extension LoRAAdapter {
  /// The factor of B·A for a layer.
  func scale(of layer: String, _ factors: Factors, rank: Int) throws -> Double {
    let own = overridesAlpha ? nil : factors.alpha.map { $0 / Double(rank) }
    return try strength * (own ?? settings.scale(of: layer, rank: rank) ?? 1)
  }
}

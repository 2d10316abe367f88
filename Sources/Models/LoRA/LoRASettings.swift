import Basics
package import Foundation
import Torch

/// What the settings beside an adapter say of the scale of its factors.
///
/// Sources: PEFT's `adapter_config.json`; the same in the metadata of diffusers' files (`lora_adapter_metadata`); OmniAvatar's `config.json`.
package struct LoRASettings: Sendable {
  package var alpha: Double?
  /// PEFT's `alpha_pattern` and `rank_pattern`: of layers whose key ends as a regular expression says.
  package var alphaPattern: [String: Double] = [:]
  package var rank: Int?
  package var rankPattern: [String: Int] = [:]
  /// Whether factors are divided by the root of their rank (rsLoRA).
  package var isRankStabilised = false

  package init(alpha: Double? = nil) { self.alpha = alpha }

  /// The settings of an adapter's file: beside it, or within.
  ///
  /// - Returns: nil where nothing says the scale.
  /// - Throws: `FileError` for settings that are none, or ask for what is not plain LoRA.
  package init?(of adapter: URL) throws {
    let folder = adapter.deletingLastPathComponent()
    let peft = folder.appendingPathComponent("adapter_config.json")
    if FileManager.default.fileExists(atPath: peft.path) {
      try self.init(try Self.object(try? Data(contentsOf: peft), peft), peft)
      return
    }
    if adapter.pathExtension == "safetensors",
      let text = try SafetensorsFile(adapter).metadata["lora_adapter_metadata"]
    {
      // Diffusers puts the adapters of all models of a pipeline into one object.
      let fields = try Self.object(Data(text.utf8), adapter)
      let prefix = "transformer."
      let own = fields.filter { $0.key.hasPrefix(prefix) }
      try self.init(
        own.isEmpty
          ? fields : Dictionary(uniqueKeysWithValues: own.map { (String($0.key.dropFirst(prefix.count)), $0.value) }),
        adapter)
      return
    }
    let config = folder.appendingPathComponent("config.json")
    guard let data = try? Data(contentsOf: config), let fields = try? Self.object(data, config),
      let alpha = fields["lora_alpha"]
    else { return nil }
    self.init(alpha: try Self.number(alpha, "lora_alpha", config))
  }

  private static func object(_ data: Data?, _ url: URL) throws -> [String: Any] {
    guard let data, let object = (try? JSONSerialization.jsonObject(with: data)) as? [String: Any] else {
      throw FileError(url, "it holds no settings of an adapter (JSON)")
    }
    return object
  }

  private static func number(_ value: Any, _ key: String, _ url: URL) throws -> Double {
    // JSON's true is an NSNumber too, told by its type alone.
    let number = value as? NSNumber
    let isBool = number.map { ["c", "B"].contains(String(cString: $0.objCType)) } ?? false
    guard !isBool, let number = number?.doubleValue, number.isFinite, abs(number) <= 1e6 else {
      throw FileError(url, "its '\(key)' is not a finite number up to a million")
    }
    return number
  }

  private static func rank(_ value: Any, _ key: String, _ url: URL) throws -> Int {
    let number = try number(value, key, url)
    guard number.rounded() == number, (1...65_536).contains(number) else {
      throw FileError(url, "its '\(key)' is not a rank from 1 to 65536")
    }
    return Int(number)
  }

  private init(_ fields: [String: Any], _ url: URL) throws {
    if let kind = fields["peft_type"] as? String, kind != "LORA" {
      throw FileError(url, "it is an adapter of the kind \(shortened(kind)), and only LORA is supported")
    }
    for (key, name) in [("use_dora", "DoRA"), ("fan_in_fan_out", "transposed factors")]
    where fields[key] as? Bool == true {
      throw FileError(url, "it asks for \(name) ('\(key)'), which is not supported")
    }
    if let start = fields["init_lora_weights"] as? String,
      ["pissa", "olora", "corda", "loftq"].contains(where: { start.lowercased().hasPrefix($0) })
    {
      throw FileError(
        url,
        "its training changed the base too ('init_lora_weights' is \(shortened(start))); convert it to plain LoRA with PEFT"
      )
    }
    if let alpha = fields["lora_alpha"], !(alpha is NSNull) { self.alpha = try Self.number(alpha, "lora_alpha", url) }
    if let rank = fields["r"], !(rank is NSNull) { self.rank = try Self.rank(rank, "r", url) }
    for (key, value) in fields["alpha_pattern"] as? [String: Any] ?? [:] {
      alphaPattern[key] = try Self.number(value, "alpha_pattern", url)
    }
    for (key, value) in fields["rank_pattern"] as? [String: Any] ?? [:] {
      rankPattern[key] = try Self.rank(value, "rank_pattern", url)
    }
    isRankStabilised = fields["use_rslora"] as? Bool ?? false
    for pattern in Array(alphaPattern.keys) + rankPattern.keys where (try? Regex(pattern)) == nil {
      throw FileError(url, "its pattern '\(shortened(pattern))' is no regular expression")
    }
  }

  /// What a pattern says of a layer: the value of the first one, by name, that its key ends with.
  private static func value<Value>(_ patterns: [String: Value], of layer: String) -> Value? {
    patterns.sorted { $0.key < $1.key }.first { pattern, _ in
      guard let expression = try? Regex("(.*\\.)?(\(pattern))") else { return false }
      return layer.wholeMatch(of: expression) != nil
    }?.value
  }

  /// The factor of a layer's product, whose factors have a rank.
  ///
  /// - Throws: `LiveTalkError` where the settings say another rank.
  func scale(of layer: String, rank: Int) throws -> Double? {
    if let stated = Self.value(rankPattern, of: layer) ?? self.rank, stated != rank {
      throw LiveTalkError("'\(shortened(layer))' has rank \(rank), and the settings say \(stated)")
    }
    guard let alpha = Self.value(alphaPattern, of: layer) ?? alpha else { return nil }
    return alpha / (isRankStabilised ? Double(rank).squareRoot() : Double(rank))
  }
}

import Basics
package import Foundation
package import Torch

extension LoRAAdapter {
  /// Merges factors into a base: all of their layers have one alpha.
  ///
  /// - Throws: `FileError` that lists what does not fit.
  package static func merge(_ adapter: [String: Tensor], into base: [String: Tensor], alpha: Double) throws -> [String:
    Tensor]
  {
    let adapter = try LoRAAdapter(adapter, file: URL(fileURLWithPath: "the adapter"), alpha: alpha)
    let merging = try Merging([adapter], into: base)
    return try Dictionary(uniqueKeysWithValues: merging.layout.map { ($0.name, try merging.tensor($0.name)) })
  }

  /// Adapters merged into a base whose tensors are made one at a time, so that a large model need not fit into memory.
  ///
  /// A tensor is `W + Σ strength · alpha / rank · B·A`, products and sum in fp32, rounded once to the base's type.
  package struct Merging {
    /// Every tensor of the result, by name.
    package let layout: [(name: String, dtype: DType, shape: [Int])]
    private let whole: [String: Tensor]
    private let replaced: Set<String>
    private let changes: [String: [Change]]

    private enum Change {
      case product(a: Tensor, b: Tensor, scale: Double)
      case sum(Tensor, scale: Double)
    }

    /// Tensors that are changed.
    package var count: Int { changes.count + replaced.count }
    /// Layers with factors.
    package let layers: Int

    /// - Throws: `FileError` for an adapter that does not fit: at most five of its keys, and how many more.
    package init(_ adapters: [LoRAAdapter], into base: [String: Tensor]) throws {
      let names = LayerNames(base)
      var (whole, replaced, layers) = (base, Set<String>(), Set<String>())
      var changes: [String: [Change]] = [:]
      for adapter in adapters {
        var problems: [String] = []
        var unknown: [String] = []
        var known = 0
        for (name, tensor) in adapter.whole {
          let key = names.key(name) ?? name
          whole[key] = tensor
          replaced.insert(key)
        }
        for (name, tensor) in adapter.differences.sorted(by: { $0.key < $1.key }) {
          guard let key = names.key(name), let target = whole[key] else {
            unknown.append(name)
            continue
          }
          if target.shape == tensor.shape {
            changes[key, default: []].append(.sum(tensor, scale: adapter.strength))
          } else {
            problems.append("a change of \(tensor.shape) does not fit '\(key)' \(target.shape)")
          }
        }
        for (name, factors) in adapter.layers.sorted(by: { $0.key < $1.key }) {
          guard let layer = names.layer(name), let weight = whole["\(layer).weight"] else {
            unknown.append(name)
            continue
          }
          do {
            for (key, change) in try Self.changes(factors, of: adapter, name, to: layer, weight, whole["\(layer).bias"])
            {
              changes[key, default: []].append(change)
            }
            layers.insert(layer)
            known += 1
          } catch let error as LiveTalkError { problems.append(error.description) }
        }
        problems += unknown.map { "the base has no '\(shortened($0))'" }
        guard problems.isEmpty else {
          throw adapter.misfit(problems, isForeign: !adapter.layers.isEmpty && known == 0)
        }
      }
      (self.whole, self.replaced, self.changes, self.layers) = (whole, replaced, changes, layers.count)
      layout = whole.sorted { $0.key < $1.key }.map { ($0.key, $0.value.dtype, $0.value.shape) }
    }

    /// What a layer's factors change, by key.
    private static func changes(
      _ factors: Factors, of adapter: LoRAAdapter, _ name: String, to layer: String, _ weight: Tensor, _ bias: Tensor?
    ) throws -> [(key: String, Change)] {
      guard let a = factors.a, let b = factors.b else {
        throw LiveTalkError("'\(shortened(name))' has only one of its two factors")
      }
      // Factors of convolutions keep the kernel's dimensions: [rank, in, k…] and [out, rank, 1…].
      guard a.rank >= 2, b.rank >= 2, weight.rank >= 2, a.size(0) > 0, a.size(0) == b.size(1),
        b.count == b.size(0) * b.size(1),
        b.size(0) == weight.size(0), a.count / a.size(0) == weight.count / max(1, weight.size(0)),
        a.rank == 2 || Array(a.shape.dropFirst()) == Array(weight.shape.dropFirst())
      else { throw LiveTalkError("factors \(b.shape)·\(a.shape) do not fit '\(layer).weight' \(weight.shape)") }
      let scale = try adapter.scale(of: name, factors, rank: a.size(0))
      guard scale.isFinite else { throw LiveTalkError("the scale of '\(shortened(name))' is not finite") }
      let product = (key: "\(layer).weight", Change.product(a: a, b: b, scale: scale))
      guard let change = factors.bias else { return [product] }
      guard let bias, bias.shape == change.shape else {
        throw LiveTalkError("a bias of \(change.shape) does not fit '\(layer).bias' \(bias?.shape ?? [])")
      }
      return [product, ("\(layer).bias", .sum(change, scale: scale))]
    }

    /// The merged tensor of a name in `layout`.
    ///
    /// - Throws: `TorchError` for another name.
    package func tensor(_ name: String) throws -> Tensor {
      guard let weight = whole[name] else { throw TorchError("The merged model has no '\(name)'.") }
      return try tensor(name, on: weight.device) ?? weight
    }

    /// The same on a device, computed there; nil for a tensor that stays as the base has it.
    ///
    /// - Throws: as `tensor`.
    package func tensor(_ name: String, on device: Device) throws -> Tensor? {
      guard let weight = whole[name] else { throw TorchError("The merged model has no '\(name)'.") }
      guard let changes = changes[name] else { return replaced.contains(name) ? weight.to(device, weight.dtype) : nil }
      let sum = changes.reduce(weight.to(device, .float32)) { sum, change in
        switch change {
        case .product(let a, let b, let scale):
          let product = b.to(device, .float32).flatten(1).matmul(a.to(device, .float32).flatten(1)) * scale
          return sum + (product.shape == weight.shape ? product : product.reshape(weight.shape))
        case .sum(let change, let scale): return sum + change.to(device, .float32) * scale
        }
      }
      return sum.to(weight.dtype)
    }

    /// Checks that the result has the tensors of the base, so that a model of the base takes it.
    ///
    /// - Throws: `FileError` that names what is new.
    package func requireLayout(of base: [String: Tensor], _ adapter: URL) throws {
      let new = layout.filter { base[$0.name]?.shape != $0.shape }.map(\.name)
      guard let first = new.first else { return }
      throw FileError(
        adapter,
        "it holds \(new.count) tensors that the base has not, or not in this shape ('\(shortened(first))'); merge it "
          + "into the base it was made for with 'livetalk checkpoint merge'")
    }
  }

  fileprivate func misfit(_ problems: [String], isForeign: Bool) -> FileError {
    let more = problems.count > 5 ? " and \(problems.count - 5) more" : ""
    let what = isForeign ? "it is an adapter of another model than this base" : "it does not fit its base"
    return FileError(url, "\(what): \(problems.prefix(5).joined(separator: "; "))\(more)")
  }
}

/// The layers of a base by every name that adapters have for them.
private struct LayerNames {
  private let base: [String: Tensor]
  /// Keys with underscores for dots, as kohya's files have them, in our naming and diffusers'.
  private var flat: [String: String] = [:]

  init(_ base: [String: Tensor]) {
    self.base = base
    for key in base.keys where key.hasSuffix(".weight") {
      let layer = String(key.dropLast(".weight".count))
      for name in [layer, WanDiffusersKeys.theirs(ofTransformer: layer)] {
        flat[name.replacing(".", with: "_")] = layer
      }
    }
  }

  /// The key of a layer, without an ending.
  func layer(_ name: String) -> String? {
    if base["\(name).weight"] != nil { return name }
    let ours = WanDiffusersKeys.ours(ofTransformer: name)
    return base["\(ours).weight"] != nil ? ours : flat[name]
  }

  /// The key of a parameter.
  func key(_ name: String) -> String? {
    // A change of a modulation is one of a parameter without an ending.
    let stem = name.hasSuffix(".weight") ? String(name.dropLast(".weight".count)) : name
    let names = [name, stem].flatMap { [$0, WanDiffusersKeys.ours(ofTransformer: $0)] }
    if let key = names.first(where: { base[$0] != nil }) { return key }
    let ending = name.split(separator: ".").last.map { ".\($0)" } ?? ""
    return flat[String(name.dropLast(ending.count))].map { $0 + ending }.flatMap { base[$0] == nil ? nil : $0 }
  }
}

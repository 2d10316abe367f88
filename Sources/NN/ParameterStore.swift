import Basics
import Foundation
package import Torch

/// Where layers get their parameters from: a checkpoint, or random numbers. Layers ask by path and declare the shape.
///
/// A store collects every missing, unused and misshaped key while a model is built; `finish` throws them all at once.
package final class ParameterStore {
  /// How a parameter starts where no checkpoint gives it.
  package enum Initial: Sendable {
    case zeros
    case ones
    /// Uniform in ±1/√fanIn, PyTorch's default for linear and convolution layers.
    case uniform(fanIn: Int)
    case normal(deviation: Double)

    /// New values of these: random ones from the generator, on its device.
    package func tensor(_ shape: [Int], _ dtype: DType, _ generator: RandomGenerator) -> Tensor {
      let tensor = Tensor.empty(shape, dtype, device: generator.device)
      switch self {
      case .zeros: tensor.fill_(0)
      case .ones: tensor.fill_(1)
      case .uniform(let fanIn):
        let bound = 1 / Double(max(fanIn, 1)).squareRoot()
        tensor.uniform_(-bound, bound, generator)
      case .normal(let deviation): tensor.normal_(deviation: deviation, generator)
      }
      return tensor
    }
  }

  private enum Source {
    case weights([String: Tensor], name: String)
    case random(RandomGenerator)
    case shapes
  }

  private let source: Source
  package let device: Device
  /// Where a transformer's layers lie, if not all on `device`, which has the first of them and everything else.
  package let layerDevices: LayerDevices?
  /// The type parameters are converted to; nil keeps each as the checkpoint has it.
  package let dtype: DType?
  /// Whether the model is for inference only: layers may then keep weights in an order of their own, and `parameters` stays
  /// empty, so that no weight is held twice.
  package let isFrozen: Bool
  /// Every parameter by key, in the order in which layers asked.
  package private(set) var parameters: [(name: String, tensor: Tensor)] = []
  /// Those of them that are trained: all, or what the adaptation names.
  package private(set) var trained: [(name: String, tensor: Tensor)] = []
  /// How a frozen base is adapted; nil where all parameters are trained.
  package let adaptation: LoRAConfiguration?
  private let factorSource: RandomGenerator?
  /// Which linear layers are kept in 8 bits; nil for none.
  package let float8: Float8Layers?
  /// Whether the layers of a frozen transformer stay in host memory and come to the device one by one.
  package let offloadsLayers: Bool
  private let transform: ((String, Tensor, Device) throws -> Tensor)?
  /// What the transform threw first.
  private var failure: (any Error)?
  /// Every key with its shape, how it starts, and the type and the device in which it is kept, in the same order.
  package private(set) var layout: [(name: String, shape: [Int], initial: Initial, kept: DType, device: Device)] = []
  private var missing: [String] = []
  private var misshaped: [String] = []
  private var notFinite: [String] = []
  private var used: Set<String> = []
  private let checksValues: Bool

  /// Parameters from a checkpoint; `name` (a file) is what errors call it.
  ///
  /// - Parameters:
  ///   - adaptation: which layers get factors to train, and what draws those that the checkpoint lacks.
  ///   - float8: which linear layers of a frozen model are kept in 8 bits.
  ///   - offloadsLayers, layerDevices: see the properties.
  ///   - transform: what a tensor of the checkpoint becomes on a device, of its own type: so that a large model can be changed while it is
  ///     read, one tensor at a time. What it throws, `finish` throws.
  ///   - checksValues: whether `finish` throws where a value is not finite. It reads every page of a mapped file, which shapes alone do not.
  package init(
    weights: [String: Tensor], name: String, device: Device = .cpu, dtype: DType? = nil, isFrozen: Bool = false,
    adaptation: (LoRAConfiguration, RandomGenerator)? = nil, float8: Float8Layers? = nil, offloadsLayers: Bool = false,
    layerDevices: LayerDevices? = nil, transform: ((String, Tensor, Device) throws -> Tensor)? = nil,
    checksValues: Bool = true
  ) {
    precondition(layerDevices == nil || layerDevices?.first == device, "the first layers are where the model begins")
    self.checksValues = checksValues
    self.float8 = float8
    self.offloadsLayers = offloadsLayers
    self.layerDevices = layerDevices
    self.transform = transform
    self.adaptation = adaptation?.0
    factorSource = adaptation?.1
    source = .weights(weights, name: name)
    self.device = device
    self.dtype = dtype
    self.isFrozen = isFrozen
  }

  /// Random parameters from a generator.
  package init(
    random generator: RandomGenerator, dtype: DType = .float32, isFrozen: Bool = false, float8: Float8Layers? = nil,
    offloadsLayers: Bool = false, layerDevices: LayerDevices? = nil
  ) {
    precondition(
      layerDevices == nil || layerDevices?.first == generator.device, "the first layers are where the model begins")
    source = .random(generator)
    checksValues = false
    self.float8 = float8
    self.offloadsLayers = offloadsLayers
    self.layerDevices = layerDevices
    transform = nil
    adaptation = nil
    factorSource = nil
    device = generator.device
    self.dtype = dtype
    self.isFrozen = isFrozen
  }

  /// Shapes without values, to list what a checkpoint of a configuration holds; a model built on it cannot run.
  package static func shapes(
    dtype: DType? = nil, float8: Float8Layers? = nil, layerDevices: LayerDevices? = nil
  ) -> ParameterStore {
    ParameterStore(dtype: dtype, float8: float8, layerDevices: layerDevices)
  }

  private init(dtype: DType?, float8: Float8Layers?, layerDevices: LayerDevices?) {
    source = .shapes
    checksValues = false
    (self.float8, transform, offloadsLayers, self.layerDevices) = (float8, nil, false, layerDevices)
    adaptation = nil
    factorSource = nil
    device = layerDevices?.first ?? .cpu
    self.dtype = dtype
    isFrozen = true
  }

  /// Bytes of all parameters in the types in which they are kept, fp32 where none is stated; in 8 bits with their factors.
  package var byteCount: Int { byteCount(where: { _, _ in true }) }

  /// Those of the parameters whose key and device fulfil a condition.
  package func byteCount(where isCounted: (String, Device) -> Bool) -> Int {
    layout.filter { isCounted($0.name, $0.device) }.map {
      $0.shape.reduce($0.kept.size, *) + ($0.kept == .float8E4M3 ? DType.float32.size : 0)
    }.reduce(0, +)
  }

  /// Whether layers may copy weights into an order that is faster to read: for models that are not trained, where the weights
  /// are not pages of a file that the copy would double.
  package var mayRearrange: Bool {
    if case .shapes = source { return false }
    return isFrozen && !offloadsLayers && missing.isEmpty && misshaped.isEmpty && (!device.isCPU || dtype == .bfloat16)
  }

  package var root: ParameterPath { ParameterPath(store: self, key: "", device: device) }

  /// Whether a checkpoint holds this key; false for random parameters.
  func contains(_ key: String) -> Bool {
    if case .weights(let weights, _) = source { weights[key] != nil } else { false }
  }

  func parameter(
    _ key: String, _ shape: [Int], _ initial: Initial, dtype override: DType?, kept: DType?, device: Device,
    channelsLast: Bool
  ) -> Tensor {
    var tensor = make(key, shape, initial, dtype: override ?? dtype, on: device)
    if channelsLast {
      if tensor.rank == 5 { tensor = tensor.channelsLast3D() }
      if tensor.rank == 4 { tensor = tensor.unsqueeze(2).channelsLast3D().squeeze(2) }
    }
    used.insert(key)
    layout.append((key, shape, initial, kept ?? override ?? dtype ?? .float32, device))
    if !isFrozen {
      parameters.append((key, tensor))
      if adaptation?.trains(key) ?? true { trained.append((key, tensor)) }
    }
    return tensor
  }

  /// The factors of a layer that the adaptation names: those of the checkpoint, or new ones.
  func loraFactors(_ layer: String, _ inputs: Int, _ outputs: Int) -> LoRAFactors? {
    guard let adaptation, adaptation.adapts(layer), let factorSource else { return nil }
    func factor(_ name: String, _ shape: [Int], _ initial: Initial) -> Tensor {
      let key = "\(layer).\(name).default.weight"
      let tensor =
        contains(key)
        ? make(key, shape, initial, dtype: dtype, on: device)
        : initial.tensor(shape, dtype ?? .float32, factorSource).to(device)
      used.insert(key)
      layout.append((key, shape, initial, tensor.dtype, device))
      parameters.append((key, tensor))
      trained.append((key, tensor))
      return tensor
    }
    return LoRAFactors(
      a: factor("lora_A", [adaptation.rank, inputs], .uniform(fanIn: inputs)),
      b: factor("lora_B", [outputs, adaptation.rank], .zeros), scale: adaptation.alpha / Double(adaptation.rank))
  }

  /// Lets the trained parameters take part in gradients.
  package func requireGradients() {
    for (_, tensor) in trained { tensor.requiresGrad = true }
  }

  private func make(_ key: String, _ shape: [Int], _ initial: Initial, dtype: DType?, on device: Device) -> Tensor {
    switch source {
    case .shapes: return Tensor.empty([0])
    case .weights(let weights, _):
      guard let found = weights[key] else {
        missing.append(key)
        return Tensor.empty([0])
      }
      guard found.shape == shape else {
        misshaped.append("\(key) is \(found.shape), expected \(shape)")
        return Tensor.empty([0])
      }
      do {
        let values = try transform?(key, found, device) ?? found
        let tensor = values.to(device, dtype ?? found.dtype)
        if checksValues, !tensor.isAllFinite {
          notFinite.append("\(key)\(values.isAllFinite ? " in \(tensor.dtype)" : "")")
        }
        return tensor
      } catch {
        failure = failure ?? error
        return Tensor.empty([0])
      }
    case .random(let generator): return initial.tensor(shape, dtype ?? .float32, generator).to(device)
    }
  }

  /// Ends the loading: throws one error that lists every missing, misshaped and unused key.
  ///
  /// - Parameter ignoring: prefixes of keys that a published file holds and this model does not use.
  package func finish(ignoring: [String] = []) throws {
    guard case .weights(let weights, let name) = source else { return }
    if let failure { throw failure }
    if let first = notFinite.first {
      let more = notFinite.count > 1 ? " and those of \(notFinite.count - 1) more" : ""
      throw NonFiniteWeights(
        "\(name): the values of '\(first)'\(more) are not finite numbers; the file is damaged, or its training had failed: take another one."
      )
    }
    let unused = weights.keys.filter { key in !used.contains(key) && !ignoring.contains { key.hasPrefix($0) } }.sorted()
    if !missing.isEmpty || !misshaped.isEmpty || !unused.isEmpty {
      throw CheckpointMismatch(name: name, missing: missing, misshaped: misshaped, unused: unused)
    }
  }
}

/// Weights that hold infinities or what is no number.
package struct NonFiniteWeights: SentenceError, LocalizedError, Sendable {
  package let description: String
  package var errorDescription: String? { description }
  init(_ description: String) { self.description = description }
}

/// A checkpoint that does not hold what the model needs.
package struct CheckpointMismatch: SentenceError, LocalizedError, Sendable {
  package let name: String
  package let missing: [String]
  package let misshaped: [String]
  package let unused: [String]

  package init(name: String, missing: [String] = [], misshaped: [String] = [], unused: [String] = []) {
    self.name = name
    self.missing = missing
    self.misshaped = misshaped
    self.unused = unused
  }

  package var errorDescription: String? { description }
  package var description: String {
    let parts = [("missing", missing), ("wrong shape", misshaped), ("unused", unused)].compactMap { label, keys in
      keys.isEmpty ? nil : "\(keys.count) \(label) (\(shortList(keys)))"
    }
    return "\(name) does not fit the model: \(parts.joined(separator: "; "))."
  }
}

/// A place in a store's tree of keys: `path / "blocks" / 3 / "self_attn" / "q"`.
package struct ParameterPath {
  package let store: ParameterStore
  package let key: String
  /// Where the parameters lie.
  let device: Device

  fileprivate init(store: ParameterStore, key: String, device: Device) {
    (self.store, self.key, self.device) = (store, key, device)
  }

  package static func / (path: ParameterPath, name: String) -> ParameterPath {
    ParameterPath(store: path.store, key: path.key.isEmpty ? name : "\(path.key).\(name)", device: path.device)
  }
  package static func / (path: ParameterPath, index: Int) -> ParameterPath { path / "\(index)" }

  /// The same place, for parameters that lie where a layer of the transformer does.
  package func beside(layer: Int) -> ParameterPath {
    ParameterPath(store: store, key: key, device: store.layerDevices?[layer] ?? device)
  }

  /// The same place, for parameters that lie where the transformer's last layers do.
  package var besideLastLayer: ParameterPath {
    ParameterPath(store: store, key: key, device: store.layerDevices?.last ?? device)
  }

  /// The parameter `name` here. A wrong or missing one is reported by the store's `finish`.
  ///
  /// - Parameters:
  ///   - dtype: nil for that of the store.
  ///   - kept: the type in which the layer keeps it, where that is another.
  ///   - channelsLast: whether the weight of a convolution is laid out in memory with its input channels innermost.
  package func parameter(
    _ name: String, _ shape: [Int], _ initial: ParameterStore.Initial = .zeros, dtype: DType? = nil,
    kept: DType? = nil, channelsLast: Bool = false
  ) -> Tensor {
    store.parameter(
      (self / name).key, shape, initial, dtype: dtype, kept: kept, device: device, channelsLast: channelsLast)
  }

  /// Whether a linear layer here is kept in 8 bits.
  var quantizes: Bool { store.isFrozen && (store.float8?.contains(key) ?? false) }

  func loraFactors(_ inputs: Int, _ outputs: Int) -> LoRAFactors? { store.loraFactors(key, inputs, outputs) }

  /// Whether the checkpoint holds `name` here.
  package func contains(_ name: String) -> Bool { store.contains((self / name).key) }
}

import Basics
import Foundation
import Generation
import Models
import NN
import Torch
import Training

/// What the goldens of training have in common: latents `[B, F, C, H, W]`, limits relative to the largest value, gradients.
struct DistillCase {
  let golden: ParityCase
  let recorder: ParityRecorder
  let inputs, outputs: [String: Tensor]

  init(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    self.golden = golden
    self.recorder = recorder
    inputs = try golden.inputs()
    outputs = try golden.outputs()
  }

  var config: JSON { golden.config }
  var shift: Double { get throws { try config["timestep_shift"].double() } }

  func input(_ name: String) throws -> Tensor {
    guard let tensor = inputs[name] else { throw LiveTalkError("the case has no input '\(name)'") }
    return tensor
  }
  /// Latents of an input as models take them, `[B, C, F, H, W]`.
  func latents(_ name: String) throws -> Tensor { try input(name).transpose(1, 2) }

  func conditions(_ prefix: String = "") throws -> Conditions {
    let picture = try input("\(prefix)ref_image")
    let channels = picture.size(2) - 1
    return Conditions(
      text: try input("\(prefix)prompt_embeds"), audioFeatures: try input("\(prefix)audio_emb"),
      referenceLatent: picture.narrow(1, 0, 1).narrow(2, 0, channels).transpose(1, 2).contiguous())
  }

  // MARK: Models

  /// A model whose weights are a file of `folder` (the case's own by default), and its trained parameters.
  func model(_ name: String, in folder: URL? = nil) throws -> (model: WanTransformer, store: ParameterStore) {
    let file = "weights_\(name).safetensors"
    let folder = folder ?? golden.directory
    let json = try JSON(contentsOf: folder.appendingPathComponent("case.json"))["config"]["models"][name]
    let config = WanTransformerConfiguration(
      trunk: try WanTrunkConfiguration(json), audioInputDim: try json["audio_in_dim"].int(),
      audioHiddenSize: try json["audio_hidden_size"].int())
    let weights = try readWeights(folder.appendingPathComponent(file))
    // Copies: the steps of an optimiser must not reach the mapped file.
    let store = ParameterStore(weights: weights.mapValues { $0.clone() }, name: file, device: golden.device)
    let model = try WanTransformer(config, store.root)
    try store.finish()
    store.requireGradients()
    return (model, store)
  }

  /// The block-causal mask over the whole clip.
  func mask() throws -> BlockMask { BlockMask(framesPerBlock: try config["num_frame_per_block"].int()) }

  // MARK: Comparisons

  enum Kind: String { case values, losses, gradients }

  /// The largest difference relative to the largest value of the reference.
  func compare(_ name: String, _ actual: Tensor, _ kind: Kind = .values, factor: Double = 1) throws {
    try compare(name, actual, outputs[name], kind, factor: factor)
  }

  func compare(_ name: String, _ actual: Tensor, _ expected: Tensor?, _ kind: Kind, factor: Double = 1) throws {
    let largest = expected.map { $0.count > 0 ? $0.to(.float64).abs().max().item : 0 } ?? 0
    try recorder.compare(
      name, actual.detach(), expected, Tolerance(rtol: 0, atol: try limit(kind) * factor * largest))
  }

  /// Latents of models, `[B, C, F, H, W]`.
  func compareLatents(_ name: String, _ actual: Tensor, _ kind: Kind = .values, factor: Double = 1) throws {
    try compare(name, actual.transpose(1, 2), kind, factor: factor)
  }

  func compareExactly(_ name: String, _ actual: Tensor) throws {
    try recorder.compare(name, actual, outputs[name], .exact)
  }

  private func limit(_ kind: Kind) throws -> Double {
    try golden.json["tolerances"][kind.rawValue].double() * (golden.device.isCPU ? 1 : 10)
  }

  /// The gradients that a backward pass left in the store's parameters; clears them.
  func takeGradients(_ store: ParameterStore) -> [String: Tensor] {
    defer { for (_, tensor) in store.trained { tensor.grad = nil } }
    return gradients(store)
  }

  func gradients(_ store: ParameterStore) -> [String: Tensor] {
    var gradients: [String: Tensor] = [:]
    for (name, tensor) in store.trained { gradients[name] = tensor.grad }
    return gradients
  }

  /// Compares gradients with those stored under a prefix: some in full, of all of them the norm and the sum.
  func compareGradients(_ prefix: String, _ gradients: [String: Tensor], factor: Double = 1) throws {
    guard
      let entry = try golden.json["tensors"]["gradients"].list.first(where: { try $0["prefix"].string() == prefix })
    else { throw LiveTalkError("the case has no gradients '\(prefix)'") }
    let order = try golden.json["parameter_order"][try entry["parameter_order"].string()].list.map { try $0.string() }
    let absent = try entry["parameters_without_gradient"].list.map { try $0.string() }
    recorder.expect(
      "\(prefix)names",
      Set(gradients.keys) == Set(order).subtracting(absent) && absent.allSatisfy { gradients[$0] == nil })
    let found = order.filter { !absent.contains($0) }.compactMap { gradients[$0] }
    guard !found.isEmpty else { throw LiveTalkError("there is no gradient for '\(prefix)'") }
    let norms = Tensor.stack(found.map { $0.to(.float64).norm() }, 0)
    try compare("\(prefix)all_norms", norms, .gradients, factor: factor)
    try compare("\(prefix)global_norm", norms.norm(), .gradients, factor: factor)
    guard let expected = outputs["\(prefix)all_sums"], let expectedNorms = outputs["\(prefix)all_norms"] else {
      throw LiveTalkError("the case has no output '\(prefix)all_sums'")
    }
    // A sum is judged by the norm of its own gradient.
    let unit = expectedNorms.clamp(1e-30, .infinity)
    let sums = Tensor.stack(found.map { $0.to(.float64).sum() }, 0)
    try recorder.compare(
      "\(prefix)all_sums", sums / unit, expected / unit, Tolerance(rtol: 0, atol: try limit(.gradients) * factor))
    for name in try entry["stored_in_full"].list.map({ try $0.string() }) {
      guard let gradient = gradients[name] else { throw LiveTalkError("'\(name)' has no gradient") }
      try compare(prefix + name, gradient, .gradients, factor: factor)
    }
  }

  /// Compares the gradients and their norm, takes a step of the optimiser, and compares where the parameters go.
  ///
  /// - Parameters:
  ///   - group: the prefix of the step's outputs.
  ///   - before: the parameters before the step, own and the reference's; becomes those after it.
  func step(
    _ group: String, _ optimizer: ShardedOptimizer, _ store: ParameterStore, learningRate: Double, clip: Double,
    before: inout (own: [String: Tensor], reference: [String: Tensor]), factor: Double = 1
  ) throws {
    try compareGradients("\(group).grad.", gradients(store), factor: factor)
    optimizer.accumulate()
    let norm = try optimizer.step(learningRate: learningRate, clippingTo: clip)
    try compare("\(group).grad_norm", Tensor([norm]).squeeze(0), .gradients, factor: factor)
    let after = DistillCase.copies(store)
    // Not every step's parameters are stored.
    guard outputs.keys.contains(where: { $0.hasPrefix("\(group).param.") }) else { return }
    try compareMoves("\(group).param.", after, from: before, learningRate: learningRate)
    // Nor all parameters of a step: the others' moves are counted from where they were last stored.
    for (key, tensor) in outputs where key.hasPrefix("\(group).param.") {
      let name = String(key.dropFirst("\(group).param.".count))
      (before.own[name], before.reference[name]) = (after[name], tensor)
    }
  }

  /// Compares the moves of parameters in units of the learning rate: at most 1 % of a tensor's elements may be off by 0.05.
  ///
  /// - Parameters:
  ///   - before: where each parameter started, and where the reference says that it started.
  func compareMoves(
    _ prefix: String, _ after: [String: Tensor], from before: (own: [String: Tensor], reference: [String: Tensor]),
    learningRate: Double
  ) throws {
    let names = outputs.keys.filter { $0.hasPrefix(prefix) }.sorted()
    guard !names.isEmpty else { throw LiveTalkError("the case has no parameters '\(prefix)'") }
    for key in names {
      let name = String(key.dropFirst(prefix.count))
      guard let own = after[name], let start = before.own[name], let reference = before.reference[name],
        let expected = outputs[key]
      else { throw LiveTalkError("there is no parameter '\(name)'") }
      let moves = ((own.to(.float64) - start.to(.float64)) / learningRate)
      let expectedMoves = (expected.to(.float64) - reference.to(.float64)) / learningRate
      let off = ((moves - expectedMoves).abs() .> 0.05).to(.float64).mean()
      try recorder.compare("\(key), share off", off, Tensor([0.0]).squeeze(0), Tolerance(rtol: 0, atol: 0.01))
    }
  }

  /// Parameters by name, as copies.
  static func copies(_ store: ParameterStore) -> [String: Tensor] {
    Dictionary(uniqueKeysWithValues: store.parameters.map { ($0.name, $0.tensor.detach().clone()) })
  }
}

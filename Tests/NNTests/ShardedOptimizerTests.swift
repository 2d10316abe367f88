import Basics
import Foundation
import NN
import Testing
import Torch

/// The values of every element, in the order of the parameters.
private func flat(_ parameters: [(name: String, tensor: Tensor)]) -> [Double] {
  parameters.flatMap { $0.tensor.array(Double.self) }
}

private func expectClose(
  _ actual: [Double], _ expected: [Double], _ tolerance: Double, sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(actual.count == expected.count, sourceLocation: sourceLocation)
  for (one, other) in zip(actual, expected) {
    #expect(abs(one - other) <= tolerance, "\(actual) is not \(expected)", sourceLocation: sourceLocation)
  }
}

/// Two small parameters, `a` [5] and `b` [2, 3], with the gradients of the reference run below.
private struct Model {
  let a = Tensor((0..<5).map { Float(sin(Double($0))) })
  let b = Tensor((0..<6).map { Float(cos(Double($0))) }, [2, 3])
  var parameters: [(name: String, tensor: Tensor)] { [("a", a), ("b", b)] }

  func setGradients(_ step: Int, withB: Bool = true, scale: Double = 1) {
    let (ofA, ofB) = Model.gradients(step)
    a.grad = ofA * scale
    b.grad = withB ? ofB * scale : nil
  }

  static func gradients(_ step: Int) -> (Tensor, Tensor) {
    (
      Tensor((0..<5).map { Float(sin(Double(3 * $0 + step))) }),
      Tensor((0..<6).map { Float(2 * cos(Double(2 * $0 - step))) }, [2, 3])
    )
  }
}

/// Every expected number is of `torch.optim.AdamW` (rate 0.01, weight decay 0.1) after five steps with these gradients.
@Suite struct ShardedOptimizerTests {
  private func run(
    clip: Double?, without: Set<Int>, from start: Int = 0, _ optimizer: ShardedOptimizer, _ model: Model
  ) throws -> [Double] {
    try (start..<5).map { step in
      model.setGradients(step, withB: !without.contains(step))
      optimizer.accumulate()
      #expect(model.a.grad == nil && model.b.grad == nil)
      return try optimizer.step(learningRate: 0.01, clippingTo: clip)
    }
  }

  @Test func `steps are PyTorch's`() throws {
    let model = Model()
    let optimizer = try ShardedOptimizer(model.parameters, settings: AdamW(weightDecay: 0.1))
    let norms = try run(clip: 100, without: [], optimizer, model)
    expectClose(norms, [3.6804898, 3.7890198, 3.9463003, 3.7081046, 3.7484531], 1e-6)
    let expected = [
      -0.026339203, 0.852094471, 0.892461658, 0.14926818, -0.75779295, 0.974420905, 0.52887392, -0.380190194,
      -0.999721825, -0.66514039, 0.312545896,
    ]
    expectClose(flat(model.parameters), expected, 1e-6)
    expectClose(flat(try optimizer.values()), expected, 1e-6)
  }

  @Test func `a parameter without a gradient is left out, decay and count included`() throws {
    let model = Model()
    let optimizer = try ShardedOptimizer(model.parameters, settings: AdamW(weightDecay: 0.1))
    let norms = try run(clip: 1, without: [1, 2], optimizer, model)
    expectClose(norms, [3.6804898, 1.4781591, 2.1694403, 3.7081046, 3.7484531], 1e-6)
    expectClose(
      flat(model.parameters),
      [
        -0.027368724, 0.854392409, 0.888353765, 0.155462459, -0.765697122, 0.990430176, 0.549013197, -0.409073919,
        -0.994066536, -0.640718937, 0.28875798,
      ], 1e-6)
  }

  @Test func `without a first moment the newest gradient alone counts`() throws {
    let model = Model()
    let optimizer = try ShardedOptimizer(model.parameters, settings: AdamW(beta1: 0, weightDecay: 0.1))
    let norms = try run(clip: 1, without: [0], optimizer, model)
    expectClose(norms, [0.7454798, 3.7890198, 3.9463003, 3.7081046, 3.7484531], 1e-6)
    expectClose(
      flat(model.parameters),
      [
        -0.017028548, 0.845327854, 0.898797274, 0.144614592, -0.755989492, 1.018394232, 0.514585674, -0.420054287,
        -0.962350726, -0.666529179, 0.270974219,
      ], 1e-6)
  }

  @Test func `micro-batches add up to the whole batch`() throws {
    let (whole, halves) = (Model(), Model())
    let one = try ShardedOptimizer(whole.parameters)
    let two = try ShardedOptimizer(halves.parameters)
    for step in 0..<3 {
      whole.setGradients(step)
      one.accumulate()
      for _ in 0..<2 {
        halves.setGradients(step, scale: 2)
        two.accumulate(scale: 0.25)
      }
      #expect(try one.step(learningRate: 0.1) == two.step(learningRate: 0.1))
    }
    #expect(flat(whole.parameters) == flat(halves.parameters))
  }

  @Test func `gradients that are not finite change nothing and are forgotten`() throws {
    let (model, other) = (Model(), Model())
    let optimizer = try ShardedOptimizer(model.parameters)
    let sane = try ShardedOptimizer(other.parameters)
    let before = flat(model.parameters)
    for bad in [Float.nan, .infinity] {
      model.setGradients(0)
      model.b.grad = Tensor([Float](repeating: bad, count: 6), [2, 3])
      optimizer.accumulate()
      #expect(try !optimizer.step(learningRate: 0.1, clippingTo: 1).isFinite)
      #expect(flat(model.parameters) == before)
    }
    for (model, optimizer) in [(model, optimizer), (other, sane)] {
      model.setGradients(0)
      optimizer.accumulate()
      _ = try optimizer.step(learningRate: 0.1)
    }
    #expect(flat(model.parameters) == flat(other.parameters))
  }

  @Test func `bf16 parameters are the fp32 values rounded once`() throws {
    let model = Model()
    let parameters = model.parameters.map { (name: $0.name, tensor: $0.tensor.to(.bfloat16)) }
    let start = parameters.map { (name: $0.name, tensor: $0.tensor.to(.float32)) }
    let (narrow, wide) = (try ShardedOptimizer(parameters), try ShardedOptimizer(start))
    for step in 0..<40 {
      let (a, b) = Model.gradients(step)
      for (list, optimizer) in [(parameters, narrow), (start, wide)] {
        for (entry, gradient) in zip(list, [a, b]) {
          // The same numbers for both: those that bf16 has.
          entry.tensor.grad = gradient.to(.bfloat16).to(entry.tensor.dtype)
        }
        optimizer.accumulate()
        // A step is far below the distance of two numbers of bf16.
        _ = try optimizer.step(learningRate: 1e-4)
      }
    }
    #expect(flat(try narrow.values()) == flat(start))
    #expect(flat(parameters) == start.flatMap { $0.tensor.to(.bfloat16).array(Double.self) })
    #expect(flat(parameters) != model.parameters.flatMap { $0.tensor.to(.bfloat16).array(Double.self) })
  }

  @Test func `parameters of both types and any layout are trained together`() throws {
    let generator = RandomGenerator(seed: 3)
    let convolution = generator.normal([2, 3, 1, 2, 2]).channelsLast3D()
    let norm = generator.normal([4])
    let weight = generator.normal([3, 5]).to(.bfloat16)
    let before = convolution.clone()
    let parameters = [("conv", convolution), ("weight", weight), ("norm", norm)].map { (name: $0, tensor: $1) }
    let optimizer = try ShardedOptimizer(parameters)
    #expect(!convolution.isContiguous && convolution.equals(before) && convolution.requiresGrad)
    for (_, tensor) in parameters { (tensor * tensor).sum().backward() }
    optimizer.accumulate()
    _ = try optimizer.step(learningRate: 0.5)
    let values = try optimizer.values()
    #expect(values.map(\.name) == ["conv", "weight", "norm"])
    for (value, parameter) in zip(values, parameters) {
      #expect(value.tensor.to(parameter.tensor.dtype).equals(parameter.tensor))
    }
    // The first step of Adam is the rate in the gradient's direction, and the decay.
    let signs = before / before.abs()
    let expected = before * (1 - 0.5 * 0.01) - signs * 0.5
    #expect(convolution.maxAbsDifference(expected) < 1e-5)
  }

  @Test func `the moving average begins as a copy at its start and follows updates`() throws {
    let model = Model()
    let optimizer = try ShardedOptimizer(model.parameters, averaging: MovingAverage(weight: 0.9, start: 2))
    var expected: [Double] = []
    for step in 0..<5 {
      model.setGradients(step)
      optimizer.accumulate()
      _ = try optimizer.step(learningRate: 0.1)
      let values = flat(model.parameters)
      if optimizer.hasAverage { expected = zip(expected, values).map { 0.9 * $0 + 0.1 * $1 } }
      optimizer.startAverage(counter: step)
      if step == 2 { expected = values }
      #expect(optimizer.hasAverage == (step >= 2))
      let averages = try optimizer.averages().map(flat)
      if step >= 2 { expectClose(try #require(averages), expected, 1e-6) } else { #expect(averages == nil) }
    }
    #expect(flat(model.parameters) != expected)
  }

  @Test func `a saved state goes on to the last bit`() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("optimizer-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("optimizer.safetensors")
    let averaging = MovingAverage(weight: 0.9)
    let (model, other) = (Model(), Model())
    let optimizer = try ShardedOptimizer(model.parameters, averaging: averaging)
    for step in 0..<2 {
      model.setGradients(step, withB: step == 0)
      optimizer.accumulate()
      _ = try optimizer.step(learningRate: 0.01)
      optimizer.startAverage(counter: step)
    }
    try writeSafetensors(optimizer.state(), metadata: optimizer.stateMetadata, to: file)
    let resumed = try ShardedOptimizer(other.parameters, averaging: averaging)
    other.setGradients(7)
    resumed.accumulate()
    try resumed.load([SafetensorsFile(file)])
    #expect(flat(other.parameters) == flat(model.parameters))
    for (model, optimizer) in [(model, optimizer), (other, resumed)] {
      _ = try run(clip: 1, without: [3], from: 2, optimizer, model)
    }
    #expect(flat(other.parameters) == flat(model.parameters))
    let averages = (try resumed.averages(), try optimizer.averages())
    #expect(flat(try #require(averages.0)) == flat(try #require(averages.1)))
  }

  @Test func `the state of other parameters is refused by name`() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("optimizer-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("optimizer.safetensors")
    let optimizer = try ShardedOptimizer([("a", Tensor.ones([3])), ("c", Tensor.ones([2]))])
    try writeSafetensors(optimizer.state(), metadata: optimizer.stateMetadata, to: file)
    let other = try ShardedOptimizer(Model().parameters)
    let error = #expect(throws: LiveTalkError.self) { try other.load([SafetensorsFile(file)]) }
    #expect(
      error?.description
        == "\(file.path) is the state of other parameters: 'a [3] float32' where this model has 'a [5] float32'.")
    let empty = #expect(throws: LiveTalkError.self) { try other.load([]) }
    #expect(empty?.description.contains("lacks the share from element 0") == true)
  }

  @Test func `what cannot be trained is refused with its name`() {
    func refusal(_ parameters: [(name: String, tensor: Tensor)], _ settings: AdamW = AdamW()) -> String? {
      do {
        _ = try ShardedOptimizer(parameters, settings: settings)
        return nil
      } catch { return "\(error)" }
    }
    let fine = Tensor.ones([2])
    #expect(refusal([]) == "There is no parameter to train.")
    #expect(refusal([("a", fine), ("a", fine)]) == "The parameter a is there twice.")
    #expect(
      refusal([("a", Tensor.ones([2], .int64))])
        == "The parameter a has the type int64; only float32 and bfloat16 are trained.")
    #expect(refusal([("a", fine)], AdamW(beta1: 1))?.hasPrefix("AdamW needs betas") == true)
  }
}

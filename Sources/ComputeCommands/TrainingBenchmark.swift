import Foundation
import Generation
import Models
import NN
import Torch
import Training

/// Which activations of a student's step are kept for the backward pass.
enum ActivationPlan: String, Codable, CaseIterable {
  /// All of them.
  case plain
  /// Activation checkpointing: the inputs of the layers.
  case checkpointed
  /// Those of one block at a time.
  case blockwise
  /// The inputs of one block's layers at a time.
  case both

  var checkpointsLayers: Bool { self == .checkpointed || self == .both }
  var isBlockwise: Bool { self == .blockwise || self == .both }

  init(checkpointsLayers: Bool, isBlockwise: Bool) {
    self = checkpointsLayers ? (isBlockwise ? .both : .checkpointed) : isBlockwise ? .blockwise : .plain
  }
}

/// What a benchmark of distillation measures and how.
struct TrainingBenchmarkPlan {
  var name: String
  var transformer: WanTransformerConfiguration
  /// Pixels along one side of a latent pixel.
  var latentStride: Int
  var size: ReferencePicture.Size
  var device: Device
  var dtype: DType
  var latentFrames: Int
  var textTokens: Int
  /// The student's step that has the gradient, from 0.
  var exitStep: Int
  /// Measured steps, after one that warms up.
  var steps: Int
}

/// The figures of one way to keep activations.
struct TrainingTimings: Codable {
  var activations: ActivationPlan
  /// Milliseconds.
  var studentStep: Timings
  var criticStep: Timings
  /// Milliseconds of the processor's time, over all threads: on one thread the fairer figure where others use the machine too.
  var studentStepProcessor: Timings
  var criticStepProcessor: Timings
  /// Memory of the weights and of the optimisers' state, before the first step.
  var memoryBeforeBytes: Int
  /// The most memory in use up to the end of the student's steps, and up to the end of the critic's.
  var studentPeakBytes: Int
  var peakBytes: Int
}

/// The figures of a benchmark of distillation: the last line of its output, as JSON.
struct TrainingBenchmarkReport: Codable {
  var benchmark = "training"
  var name: String
  var device: String
  var dtype: String
  var torch: String
  var threads: Int
  var height: Int
  var width: Int
  var latentFrames: Int
  var tokensPerFrame: Int
  var textTokens: Int
  var exitStep: Int
  var parameters: Int
  var variants: [TrainingTimings]
}

/// Steps of distribution matching distillation as the trainer makes them, on random weights and conditions.
enum TrainingBenchmark {
  static func run(_ plan: TrainingBenchmarkPlan, _ activations: ActivationPlan) throws -> TrainingBenchmarkReport {
    let device = plan.device
    device.resetPeakMemory()
    var settings = DMDConfiguration.standard
    (settings.run.accumulation, settings.run.precision) = (1, plan.dtype == .float32 ? .float32 : .bfloat16)
    settings.blockwise = activations.isBlockwise
    func transformer(seed: UInt64, isTrained: Bool) throws -> (model: WanTransformer, store: ParameterStore) {
      let store = ParameterStore(
        random: RandomGenerator(seed: seed, device: device), dtype: plan.dtype, isFrozen: !isTrained)
      var model = try WanTransformer(plan.transformer, store.root)
      model.checkpointsLayers = isTrained && activations.checkpointsLayers
      if isTrained { store.requireGradients() }
      return (model, store)
    }
    let student = try transformer(seed: 1, isTrained: true)
    let critic = try transformer(seed: 2, isTrained: true)
    let teacher = try transformer(seed: 2, isTrained: false)
    let networks = (
      student: try TrainedNetwork(
        "student", student.store.trained, settings.optimizer, ema: settings.average, settings.run, clips: 1),
      critic: try TrainedNetwork(
        "critic", critic.store.trained, settings.criticOptimizer, ema: nil, settings.run, clips: 1)
    )
    let losses = DMDLosses(settings, student: student.model, critic: critic.model, teacher: teacher.model)
    // The EMA has begun.
    let step = settings.average.startStep
    let inputs = Inputs(plan)
    let before = device.memory.current

    func timed(_ step: () throws -> Void) throws -> (wall: Timings, processor: Timings) {
      try step()
      var (wall, processor): ([Double], [Double]) = ([], [])
      for _ in 0..<plan.steps {
        let start = clock()
        wall.append(try milliseconds(device, step))
        processor.append(Double(clock() - start) / Double(CLOCKS_PER_SEC) * 1000)
      }
      return (Timings(wall), Timings(processor))
    }
    let studentTimes = try timed {
      let values = try networks.student.step(step) { _ in
        try losses.student(inputs.conditions, negativeText: inputs.negativeText, inputs.draw())
      }
      guard values.allSatisfy(\.value.isFinite) else { throw TorchError("The student's loss is NaN.") }
    }
    let studentPeak = device.memory.peak
    let criticTimes = try timed {
      _ = try networks.critic.step(step) { _ in try losses.critic(inputs.conditions, inputs.draw()) }
    }
    return TrainingBenchmarkReport(
      name: plan.name, device: "\(device)", dtype: plan.dtype.shortName, torch: Torch.version, threads: Torch.threads,
      height: plan.size.height, width: plan.size.width, latentFrames: plan.latentFrames,
      tokensPerFrame: inputs.tokensPerFrame(plan.transformer), textTokens: plan.textTokens, exitStep: plan.exitStep,
      parameters: student.store.trained.map(\.tensor.count).reduce(0, +),
      variants: [
        TrainingTimings(
          activations: activations, studentStep: studentTimes.wall, criticStep: criticTimes.wall,
          studentStepProcessor: studentTimes.processor, criticStepProcessor: criticTimes.processor,
          memoryBeforeBytes: before,
          studentPeakBytes: studentPeak, peakBytes: device.memory.peak)
      ])
  }

  /// Conditions of one clip, and draws of the sizes that training has.
  private struct Inputs {
    let conditions: Conditions
    let negativeText: Tensor
    private let plan: TrainingBenchmarkPlan
    private let generator: RandomGenerator

    init(_ plan: TrainingBenchmarkPlan) {
      self.plan = plan
      generator = RandomGenerator(seed: 4)
      let (config, device) = (plan.transformer, plan.device)
      func noise(_ shape: [Int], _ generator: RandomGenerator) -> Tensor { generator.normal(shape).to(device) }
      conditions = Conditions(
        text: noise([1, plan.textTokens, config.textDim], generator),
        audioFeatures: noise(
          [1, LatentGeometry.livetalk.videoFrames(latentFrames: plan.latentFrames), config.audioInputDim], generator),
        referenceLatent: noise(
          [1, config.outDim, 1, plan.size.height / plan.latentStride, plan.size.width / plan.latentStride], generator))
      negativeText = noise([1, plan.textTokens, config.textDim], generator)
    }

    func tokensPerFrame(_ config: WanTransformerConfiguration) -> Int {
      config.tokensPerFrame(height: conditions.referenceLatent.size(3), width: conditions.referenceLatent.size(4))
    }

    /// All blocks end with the plan's step; the scores are taken in the middle of the noise levels.
    func draw() -> DMDLosses.Draw {
      let picture = conditions.referenceLatent.shape
      let blocks = plan.latentFrames / LatentGeometry.livetalk.framesPerBlock
      return .init(
        rollout: .init(steps: [Int](repeating: plan.exitStep, count: blocks), noise: NoiseSource(generator)),
        score: ScoreDraw(
          timestep: Tensor([500.0] as [Float], [1, 1], device: plan.device),
          noise: generator.normal(Array(picture[..<2]) + [plan.latentFrames] + picture[3...]).to(plan.device)))
    }
  }
}

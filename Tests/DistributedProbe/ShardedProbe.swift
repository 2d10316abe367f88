import Distributed
import Generation
import Models
import NN
import Torch
import Training

extension Probe {
  /// Trains factors over a tiny Live Avatar whose frozen weights the ranks share out, by diffusion forcing and by self-forcing, on two clips, one for
  /// each of two ranks; a single process has all weights and both clips.
  static func sharded(_ group: ProcessGroup?) throws {
    let random = ParameterStore(random: RandomGenerator(seed: 3))
    _ = try WanS2VTransformer(LiveAvatarPreset.liveAvatarTiny.transformer, random.root)
    let base = Dictionary(uniqueKeysWithValues: random.parameters.map { ($0.name, $0.tensor) })
    let whole = base.values.map { $0.count * $0.dtype.size }.reduce(0, +)
    let matrices = base.filter { $0.key.hasPrefix("blocks.") && $0.value.rank == 2 }.values.map { $0.count * 4 }.reduce(
      0, +)
    let layers = try group.map { try ShardedLayers(frozenLayers: base, group: $0) }
    func network(_ seed: UInt64) throws -> (model: WanS2VTransformer, store: ParameterStore) {
      let lora = LoRAConfiguration(rank: 4, alpha: 4, targets: LoRAConfiguration.liveAvatar.targets)
      let store = ParameterStore(
        weights: base, name: "base", adaptation: (lora, RandomGenerator(seed: seed)), checksValues: false)
      var model = try WanS2VTransformer(LiveAvatarPreset.liveAvatarTiny.transformer, store.root)
      model.checkpointsLayers = true
      try store.finish()
      store.requireGradients()
      return (layers.map { model.sharded(by: $0) } ?? model, store)
    }
    let (student, critic) = (try network(1), try network(2))
    let optimizers = try [student, critic].map { try ShardedOptimizer($0.store.trained, group: group) }
    let own = group.map { [$0.rank] } ?? [0, 1]
    let rollout = StudentRollout(student.model, .liveAvatar)
    for step in 0..<4 {
      var mean = Tensor.zeros([2], .float64)
      for clip in own {
        let generator = RandomGenerator(seed: UInt64(10 * step + clip))
        let (x0, noise) = (generator.normal([1, 16, 6, 8, 8]), generator.normal([1, 16, 6, 8, 8]))
        let conditions = Conditions(
          text: generator.normal([1, 6, 64]),
          audioFeatures: generator.normal([1, 21, LiveAvatarPreset.liveAvatarTiny.transformer.audioInputDim]),
          referenceLatent: generator.normal([1, 16, 20, 8, 8]))
        let forced = FlowMatching.loss(
          critic.model, x0: x0, conditions,
          .init(noise: noise, indices: Tensor([100, 100, 100, 700, 700, 700] as [Int64], [1, 6])),
          schedule: .training(shift: 3), mask: BlockMask(framesPerBlock: 3)
        ).loss
        forced.backward()
        let clips = try rollout.generate(
          conditions, .init(steps: [2, 2], noise: NoiseSource(generator)), recorded: false)
        let latents = clips.latents.detach()
        latents.requiresGrad = true
        let loss = (latents - x0).square().mean()
        loss.backward()
        if let gradient = latents.grad { rollout.backward(clips, conditions, gradient: gradient) }
        for optimizer in optimizers { optimizer.accumulate(scale: 1 / Double(own.count)) }
        mean = mean + Tensor.stack([forced.detach().to(.float64), loss.detach().to(.float64)], 0) / Double(own.count)
      }
      let losses = mean.to(.float32)
      try group?.allReduce(losses, .mean)
      let norms = try optimizers.map { try $0.step(learningRate: 0.01, clippingTo: 1) }
      say("step \(losses.array(Double.self)) \(norms)")
    }
    for (name, store) in [("student", student.store), ("critic", critic.store)] {
      let sums = store.trained.map { $0.tensor.detach().to(.float64).square().sum().item }
      say("parameters \(name) \(sums)")
    }
    let kept = layers.map { whole - matrices + $0.byteCount } ?? whole
    say("bytes \(whole) \(matrices) \(kept)")
  }
}

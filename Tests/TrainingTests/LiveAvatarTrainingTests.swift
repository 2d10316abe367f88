import Foundation
import Models
import NN
import Testing
import Torch

@testable import Generation
@testable import Training

@Suite struct LiveAvatarTrainingTests {
  private let tiny: TinyLiveAvatarTraining
  init() throws { tiny = try TinyLiveAvatarTraining() }

  private func conditions(_ clip: Int, frames: Int) -> Conditions {
    let tensors = TinyLiveAvatarTraining.conditions(clip, frames: frames).mapValues { $0.unsqueeze(0) }
    return Conditions(
      text: tensors["text"] ?? .zeros([0]), audioFeatures: tensors["audioFeatures"] ?? .zeros([0]),
      referenceLatent: tensors["referenceLatent"] ?? .zeros([0]))
  }

  private func model(checkpointsLayers: Bool = false) throws -> (model: WanS2VTransformer, store: ParameterStore) {
    let store = ParameterStore(random: RandomGenerator(seed: 5))
    var model = try WanS2VTransformer(TinyLiveAvatarTraining.preset.transformer, store.root)
    model.checkpointsLayers = checkpointsLayers
    store.requireGradients()
    return (model, store)
  }

  // MARK: Rollouts

  @Test func `the rollout of training is the rollout that serves`() throws {
    let model = try model().model
    let conditions = conditions(0, frames: 12)
    var options = LiveAvatarOptions(adaptiveSink: .never, seed: 7)
    func served() throws -> Tensor {
      let reference = conditions.referenceLatent
      let rollout = try LiveAvatarRollout(
        transformer: model,
        conditions: LiveAvatarConditions(sink: reference.narrow(2, 0, 1), motion: reference.narrow(2, 1, 19)),
        textEmbedding: conditions.text, options: options)
      return withInferenceMode {
        Tensor.cat(
          (0..<4).map { block in
            let rows = conditions.audioRows(perFrame: 4).narrow(1, 12 * block, 12)
            return rollout.next(audio: model.read(audioFeatures: rows))
          }, 2)
      }
    }
    func trained(_ settings: RolloutSettings, recorded: Bool = false) throws -> Tensor {
      try StudentRollout(model, settings).generate(
        conditions, .init(steps: [3, 3, 3, 3], noise: .liveAvatar(seed: 7, blocksPerClip: 4), seed: 7),
        recorded: recorded
      ).latents
    }
    let settings = TinyLiveAvatarTraining.rollout
    let (one, other) = (try served(), try trained(settings))
    #expect(one.maxAbsDifference(other) < 1e-5, "\(one.maxAbsDifference(other))")
    #expect(try trained(settings, recorded: true).maxAbsDifference(one) < 1e-5)
    // A window that forgets, and what the published pipeline does not: one memory for all steps.
    var windowed = settings
    windowed.windowFrames = 6
    options.windowBlocks = 2
    let forgetful = try served()
    #expect(try trained(windowed).maxAbsDifference(forgetful) < 1e-5 && forgetful.maxAbsDifference(one) > 1e-4)
    windowed.commit = .lastStep
    #expect(try trained(windowed).maxAbsDifference(forgetful) > 1e-4)
  }

  @Test(arguments: [0, 2, 3], [false, true])
  func `the gradient gathered block by block is the gradient of the whole`(step: Int, isCheckpointed: Bool) throws {
    let (model, store) = try model(checkpointsLayers: isCheckpointed)
    let conditions = conditions(0, frames: 9)
    let rollout = StudentRollout(model, TinyLiveAvatarTraining.rollout)
    func gradients(_ body: () throws -> Void) rethrows -> [String: Tensor] {
      for (_, tensor) in store.trained { tensor.grad = nil }
      try body()
      return Dictionary(
        uniqueKeysWithValues: store.trained.compactMap { name, tensor in tensor.grad.map { (name, $0.clone()) } })
    }
    func clips(recorded: Bool) throws -> RolloutClips {
      try rollout.generate(
        conditions, .init(steps: [step, step, step], noise: tinyNoise(5), seed: 3), recorded: recorded)
    }
    let whole = try gradients { weighted(try clips(recorded: true).latents).backward() }
    let parts = try gradients {
      let drawn = try clips(recorded: false)
      let leaf = drawn.latents.detach()
      leaf.requiresGrad = true
      let gradient = try #require(Tensor.gradients(of: [weighted(leaf)], with: [leaf])[0])
      rollout.backward(drawn, conditions, gradient: gradient)
    }
    expectEqual(whole, parts, tolerance: 5e-6)
    #expect(whole["casual_audio_encoder.weights"]?.abs().max().item ?? 0 > 0)
  }

  @Test func `checkpointed layers and injectors have the same gradients`() throws {
    let conditions = conditions(0, frames: 6)
    func gradients(_ isCheckpointed: Bool) throws -> [String: Tensor] {
      let (model, store) = try model(checkpointsLayers: isCheckpointed)
      let flow = model.flow(
        RandomGenerator(seed: 1).normal([1, 16, 6, 8, 8]), timesteps: Tensor.full([1, 1], 500), conditions)
      weighted(flow).backward()
      return Dictionary(
        uniqueKeysWithValues: store.trained.compactMap { name, tensor in tensor.grad.map { (name, $0) } })
    }
    let (plain, checkpointed) = (try gradients(false), try gradients(true))
    expectEqual(plain, checkpointed, tolerance: 1e-6)
    #expect(plain["audio_injector.injector.1.q.weight"]?.abs().max().item ?? 0 > 0)
  }

  @Test func `blocks that end with different steps cannot have a memory for each`() throws {
    let rollout = StudentRollout(try model().model, TinyLiveAvatarTraining.rollout)
    let text = message {
      _ = try rollout.generate(conditions(0, frames: 6), .init(steps: [3, 2], noise: tinyNoise(5)), recorded: false)
    }
    #expect(text.contains("end with the same step"))
  }

  // MARK: Stage 1

  @Test func `diffusion forcing learns a clip by heart, and its adapter serves what it learnt`() throws {
    var settings = try tiny.forcing("run", steps: 60, clips: 1)
    settings.optimizer.learningRate = 1e-2
    settings.lowRank?.whole = ["head"]
    let losses = try tiny.train(settings).compactMap { $0["loss"] }
    func mean(_ values: ArraySlice<Double>) -> Double { values.reduce(0, +) / Double(values.count) }
    let (first, last) = (mean(losses.prefix(10)), mean(losses.suffix(10)))
    print("diffusion forcing of one clip: loss \(first) to \(last)")
    #expect(losses.count == 60)
    #expect(last < 0.8 * first)
    // What is written serves: merged into the base it is the model that was trained.
    let final = try CheckpointFolder(tiny.folder["run/final"])
    #expect(final.family.kind == .liveAvatar)
    try final.requireAll()
    #expect(final.settings.imageSizes == [.init(height: 64, width: 64)])
    let adapter = try readWeights(tiny.folder["run/final/LiveAvatar/liveavatar.safetensors"])
    let expected = 4 * (4 + 4 + 2) + 3 * 4
    #expect(adapter.keys.count { $0.contains(/\.lora_[AB]\.default\.weight$/) } == 2 * expected)
    #expect(
      Set(adapter.keys.filter { !$0.contains("lora") }) == ["head.modulation", "head.head.weight", "head.head.bias"])
    let trained = try LoadedTransformer(
      final, settings.run, device: .cpu, isTrained: true, adaptation: settings.lowRank)
    let served = try final.loadS2VTransformer(dtype: .float32)
    var based = try CheckpointFolder(tiny.folder["avatar"])
    based.adapters = [
      try LoRAAdapter(contentsOf: tiny.folder["run/final/LiveAvatar"].appendingPathComponent("liveavatar.safetensors"))
    ]
    let (clip, conditions) = (RandomGenerator(seed: 1).normal([1, 16, 6, 8, 8]), conditions(0, frames: 6))
    func flow(_ model: any TrainableTransformer) -> Tensor {
      withGradients(false) {
        model.seeded(1).flow(
          clip, timesteps: Tensor.full([1, 6], 500), conditions, mask: BlockMask(framesPerBlock: 3))
      }
    }
    let result = flow(trained.model)
    #expect(result.maxAbsDifference(flow(served)) < 1e-5, "\(result.maxAbsDifference(flow(served)))")
    let base = try LoadedTransformer(
      try CheckpointFolder(tiny.folder["base"]), settings.run, device: .cpu, isTrained: false)
    #expect(result.maxAbsDifference(flow(base.model)) > 1e-2)
    // Over a base with another adapter it is merged as any other.
    #expect(flow(try based.loadS2VTransformer(dtype: .float32)).maxAbsDifference(result) > 1e-6)
  }

  @Test func `a run that was stopped goes on to the very same losses and weights`() throws {
    let whole = try tiny.train(try tiny.forcing("whole"))
    try tiny.train(try tiny.forcing("parts"), stoppingAfter: 3)
    #expect(try tiny.train(try tiny.forcing("parts"), resumes: true) == whole)
    let files = ["whole", "parts"].map { tiny.folder["\($0)/final/LiveAvatar/liveavatar.safetensors"] }
    #expect(try Data(contentsOf: files[0]) == Data(contentsOf: files[1]))
  }

  @Test func `training goes on with the adapter of its folder, if it has the same rank and scale`() throws {
    var settings = try tiny.forcing("run", from: "avatar")
    // The published scale, as no settings beside the file say another.
    let own = LoRAConfiguration(rank: 4, alpha: 64, targets: TinyLiveAvatarTraining.lora.targets)
    settings.lowRank = own
    let folder = try CheckpointFolder(tiny.folder["avatar"])
    let loaded = try LoadedTransformer(folder, settings.run, device: .cpu, isTrained: true, adaptation: own)
    let stored = try readWeights(tiny.folder["avatar/LiveAvatar/liveavatar.safetensors"])
    #expect(loaded.store.trained.count == stored.count)
    for (name, tensor) in loaded.store.trained { #expect(tensor.detach().equals(try #require(stored[name]))) }
    for lora in [
      LoRAConfiguration(rank: 2, alpha: 64, targets: own.targets), .init(rank: 4, alpha: 2, targets: own.targets),
    ] {
      settings.lowRank = lora
      #expect(message { _ = try settings.stage(.alone) }.contains("its rank is 4 and its alpha 64"))
    }
    settings.lowRank = nil
    #expect(message { _ = try settings.stage(.alone) }.contains("set 'lowRank'"))
  }

  @Test func `clips of another family are refused`() throws {
    var settings = try tiny.forcing("run")
    settings.run.data = try tiny.latents(fps: 16).path
    #expect(message { _ = try settings.stage(.alone) }.contains("16 frames a second"))
    settings = try tiny.forcing("run")
    (settings.run.shardWeights, settings.lowRank) = (true, nil)
    #expect(message { _ = try settings.stage(.alone) }.contains("Only frozen weights"))
    settings = try tiny.forcing("run")
    settings.forcing?.framesPerBlock = 4
    #expect(message { _ = try settings.stage(.alone) }.contains("no whole number of blocks of 4"))
  }

  // MARK: Student and critic over one base

  @Test func `student, critic and teacher share one base in memory, and none of its values changes`() throws {
    let bases = FrozenBases()
    let run = try tiny.run("run", steps: 1)
    func load(_ folder: String, trained: Bool, _ lora: LoRAConfiguration? = TinyLiveAvatarTraining.lora) throws
      -> LoadedTransformer
    {
      try LoadedTransformer(
        try CheckpointFolder(tiny.folder[folder]), run, device: .cpu, isTrained: trained, adaptation: lora, over: bases)
    }
    let lora = LoRAConfiguration(
      rank: 4, alpha: 64, targets: TinyLiveAvatarTraining.lora.targets, whole: ["casual_audio_encoder"])
    let student = try load("avatar", trained: true, lora)
    let critic = try load("base", trained: true)
    let teacher = try load("base", trained: false)
    let names = Set(teacher.store.parameters.map(\.name))
    func parameters(_ network: LoadedTransformer) -> [String: Tensor] {
      Dictionary(uniqueKeysWithValues: network.store.parameters.map { ($0.name, $0.tensor) })
    }
    let (a, b, c) = (parameters(student), parameters(critic), parameters(teacher))
    for name in names {
      let (x, y, z) = (try #require(a[name]), try #require(b[name]), try #require(c[name]))
      #expect(y.sharesStorage(with: z), "\(name)")
      // What is trained fully is one's own.
      #expect(x.sharesStorage(with: z) == !name.hasPrefix("casual_audio_encoder"), "\(name)")
    }
    let factors = Set(b.keys).subtracting(names)
    #expect(factors.count == critic.store.trained.count && !factors.isEmpty)
    for name in factors { #expect(!(try #require(a[name])).sharesStorage(with: try #require(b[name]))) }
    // Three networks are one base, the factors of two, and what is the student's own.
    let all = [student, critic, teacher].flatMap { $0.store.parameters.map(\.tensor) }
    var distinct: [Tensor] = []
    for tensor in all where !distinct.contains(where: { $0.sharesStorage(with: tensor) }) { distinct.append(tensor) }
    func count(_ tensors: [Tensor]) -> Int { tensors.map(\.count).reduce(0, +) }
    let own = names.filter { $0.hasPrefix("casual_audio_encoder") }.compactMap { a[$0] }
    #expect(
      count(distinct) == count(names.compactMap { c[$0] }) + count(own) + 2 * count(factors.compactMap { b[$0] }))
  }

  // MARK: Stage 2

  @Test(arguments: ["liveavatar-tiny.teacher", "liveavatar-14b.teacher", "liveavatar-tiny.dmd", "liveavatar-14b.dmd"])
  func `presets are whole, and the tiny ones fit the tiny checkpoint, whose adapter they go on with`(name: String)
    throws
  {
    func fill(_ run: inout RunSettings) throws {
      (run.data, run.checkpoint, run.out) = (
        try tiny.latents().path, tiny.folder["avatar"].path, tiny.folder["preset"].path
      )
      run.steps = 1
      run.report.sampleEvery = 1
    }
    let overrides = ["run.data=a", "run.checkpoint=b", "run.out=c"]
    if name.hasSuffix("teacher") {
      var settings: TeacherConfiguration = try readConfiguration(preset: name, overrides: overrides)
      #expect(settings.forcing?.windowFrames == 12 && settings.shift == 3 && settings.lowRank?.alpha == 64)
      guard name.contains("tiny") else { return #expect(settings.lowRank?.rank == 128 && settings.run.steps == 25_000) }
      try fill(&settings.run)
      #expect(try tiny.train(settings).count == 1)
    } else {
      var settings: DMDConfiguration = try readConfiguration(preset: name, overrides: overrides + ["teacher=d"])
      #expect(settings.rollout == .liveAvatar && settings.blockwise && settings.lowRank?.alpha == 64)
      #expect(settings.rollout.timesteps.map { ($0 * 1e4).rounded() / 1e4 } == [1000, 857.6923, 602.1506, 8.9286])
      guard name.contains("tiny") else { return #expect(settings.lowRank?.rank == 128 && settings.run.steps == 2500) }
      try fill(&settings.run)
      settings.teacher = tiny.folder["base"].path
      #expect(try tiny.train(settings).count == 1)
    }
    try CheckpointFolder(tiny.folder["preset/final"]).requireAll()
  }

  @Test func `self-forcing trains the student over per-step memories, and the base stays as it is`() throws {
    try tiny.train(try tiny.forcing("forced", steps: 4))
    let settings = try tiny.dmd("run", steps: 3, from: "forced/final")
    let whole = try tiny.train(settings)
    #expect(whole.count == 3 && whole.allSatisfy { $0.values.allSatisfy(\.isFinite) })
    // The critic begins as the teacher.
    #expect(whole.map { ($0["student/klGradient"] ?? 0) > 0 } == [false, true, true])
    let parts = try tiny.dmd("parts", steps: 3, from: "forced/final")
    try tiny.train(parts, stoppingAfter: 2)
    #expect(try tiny.train(parts, resumes: true) == whole)
    let place = "final/LiveAvatar/liveavatar.safetensors"
    let (before, after) = (
      try readWeights(tiny.folder["forced/\(place)"]), try readWeights(tiny.folder["run/\(place)"])
    )
    #expect(Set(before.keys) == Set(after.keys))
    #expect(before.contains { !(after[$0.key]?.equals($0.value) ?? true) })
    let models = try LiveAvatarModels(
      loading: try CheckpointFolder(tiny.folder["run/final"]), device: .cpu, dtype: .float32)
    #expect(models.transformer.config == TinyLiveAvatarTraining.preset.transformer)
  }

  @Test func `the critic begins as the teacher, so that the student has nothing to learn yet`() throws {
    let stage = try #require(try tiny.dmd("run").stage(.alone) as? DMDStage)
    let batch = MicroBatch(samples: [0], clips: [0])
    let loss = try stage.loss(of: stage.networks[0], on: batch)
    #expect(loss.metrics[0].value.item == 0)
    let critic = try stage.loss(of: stage.networks[1], on: batch).loss
    #expect(critic.item > 0)
    critic.backward()
    let network = stage.networks[1]
    network.optimizer.accumulate()
    _ = try network.optimizer.step(learningRate: 0.1)
    #expect(try stage.loss(of: stage.networks[0], on: batch).metrics[0].value.item > 0)
  }
}

import Generation
import Models
import NN
import Testing
import Torch

@testable import Training

@Suite struct StudentRolloutTests {
  /// The steps that serve: in fp32 the model is told them unrounded.
  private var serving: RolloutSettings {
    RolloutSettings(timesteps: [1000, 937.5, 2500.0 / 3, 625], commit: .clean)
  }

  private func latents(
    _ model: WanTransformer, _ settings: RolloutSettings, steps: [Int] = [3, 3, 3], _ conditions: Conditions,
    _ noise: NoiseSource, recorded: Bool = false
  ) throws -> Tensor {
    try StudentRollout(model, settings).generate(
      conditions, .init(steps: steps, noise: noise), recorded: recorded
    ).latents
  }

  @Test func `the rollout of training is the rollout that serves`() throws {
    let tiny = try TinyModel(seed: 1)
    let conditions = tinyConditions(2, latentFrames: 9)
    let vae = WanVAE(
      WanVAEConfiguration(
        width: 4, latentChannels: 16, widthMultipliers: [1, 2, 2, 2], residualBlocks: 1,
        temporalDownsampling: [false, true, true]), ParameterStore(random: RandomGenerator(seed: 3)).root)
    func session(_ policy: KVCachePolicy) throws -> AvatarSession {
      try AvatarSession(
        transformer: tiny.model, vae: vae, referenceLatent: conditions.referenceLatent, textEmbedding: conditions.text,
        options: SessionOptions(policy: policy, seed: 5, clipFrames: 9))
    }
    func served(_ policy: KVCachePolicy) throws -> Tensor {
      let session = try session(policy)
      var row = 0
      return withInferenceMode {
        Tensor.cat(
          (0..<3).map { _ in
            let rows = session.videoFramesInNextBlock
            defer { row += rows }
            return session.denoise(audioFeatures: conditions.audioFeatures.narrow(1, row, rows))
          }, 2)
      }
    }
    let trained = try latents(tiny.model, serving, conditions, NoiseSource(seed: 5))
    #expect(trained.shape == [1, 16, 9, 4, 6])
    #expect(trained.maxAbsDifference(try served(.full)) < 1e-6)
    // A clip that fits into the window forgets nothing.
    #expect(trained.maxAbsDifference(try served(.livetalk)) < 1e-6)
    for window in [3, 6] {
      let forgetful = try served(.rolling(window: window))
      #expect(trained.maxAbsDifference(forgetful) > 1e-4)
      var windowed = serving
      windowed.windowFrames = window
      let seen = try latents(tiny.model, windowed, conditions, NoiseSource(seed: 5))
      #expect(seen.maxAbsDifference(forgetful) < 1e-6)
      let recorded = try latents(tiny.model, windowed, conditions, NoiseSource(seed: 5), recorded: true)
      #expect(recorded.maxAbsDifference(seen) < 1e-5)
    }
    var published = serving
    published.commit = .noised
    #expect(trained.maxAbsDifference(try latents(tiny.model, published, conditions, NoiseSource(seed: 5))) > 1e-4)
  }

  @Test(arguments: [RolloutSettings.CommitPass.clean, .noised, .lastStep], [[3, 3, 3], [0, 0, 0], [1, 3, 0]])
  func `what is recorded has the same values`(commit: RolloutSettings.CommitPass, steps: [Int]) throws {
    let tiny = try TinyModel(seed: 1)
    let conditions = tinyConditions(2, latentFrames: 9)
    let settings = RolloutSettings(commit: commit)
    let plain = try latents(tiny.model, settings, steps: steps, conditions, tinyNoise(5))
    #expect(!plain.requiresGrad)
    for (model, flavour) in [
      (tiny, HistoryGradient.cut), (tiny.checkpointing(true), .cut), (tiny, .selfForcing), (tiny, .literal),
    ] {
      var settings = settings
      settings.historyGradient = flavour
      let recorded = try latents(model.model, settings, steps: steps, conditions, tinyNoise(5), recorded: true)
      #expect(recorded.requiresGrad && recorded.maxAbsDifference(plain) < 1e-5, "\(flavour)")
    }
    #expect(plain.narrow(2, 0, 1).equals(conditions.referenceLatent))
  }

  @Test(arguments: [RolloutSettings.CommitPass.clean, .noised, .lastStep], [false, true])
  func `the gradient gathered block by block is the gradient of the whole`(
    commit: RolloutSettings.CommitPass, isCheckpointed: Bool
  ) throws {
    for gradientFrames in [21, 6, 3] { try compareBlockwise(commit, isCheckpointed, gradientFrames) }
    try compareBlockwise(commit, isCheckpointed, 21, windowFrames: 6)
  }

  private func compareBlockwise(
    _ commit: RolloutSettings.CommitPass, _ isCheckpointed: Bool, _ gradientFrames: Int, windowFrames: Int? = nil
  ) throws {
    let tiny = try TinyModel(seed: 1, checkpointsLayers: isCheckpointed)
    let conditions = tinyConditions(2, 3, latentFrames: 9)
    var settings = RolloutSettings(commit: commit)
    (settings.gradientFrames, settings.windowFrames) = (gradientFrames, windowFrames)
    let rollout = StudentRollout(tiny.model, settings)
    func clips(recorded: Bool) throws -> RolloutClips {
      try rollout.generate(conditions, .init(steps: [1, 3, 0], noise: tinyNoise(5, 6)), recorded: recorded)
    }
    let whole = try tiny.gradients { weighted(try clips(recorded: true).latents).backward() }
    var order: [Int] = []
    let parts = try tiny.gradients {
      let drawn = try clips(recorded: false)
      let leaf = drawn.latents.detach()
      leaf.requiresGrad = true
      let gradient = try #require(Tensor.gradients(of: [weighted(leaf)], with: [leaf])[0])
      rollout.backward(drawn, conditions, gradient: gradient) { block, x0 in
        order.append(block)
        #expect(x0.maxAbsDifference(drawn.latents.narrow(2, 3 * block, 3)) < 1e-5)
      }
    }
    #expect(order == [2, 1, 0].prefix(gradientFrames == 21 ? 3 : gradientFrames / 3).map(\.self))
    expectEqual(whole, parts)
    // The text's layers are among those with a gradient.
    #expect(whole["text_embedding.0.weight"]?.abs().max().item ?? 0 > 1e-5)
  }

  @Test func `only the blocks that begin in the last frames have a gradient`() throws {
    let tiny = try TinyModel(seed: 1)
    let conditions = tinyConditions(2, latentFrames: 9)
    var gradients: [Int: [String: Tensor]] = [:]
    for frames in [3, 4, 6, 9, 21] {
      var settings = RolloutSettings()
      settings.gradientFrames = frames
      gradients[frames] = try tiny.gradients {
        weighted(try latents(tiny.model, settings, conditions, tinyNoise(5), recorded: true)).backward()
      }
    }
    let few = try #require(gradients[3])
    #expect(difference(few, try #require(gradients[4])) == 0)
    #expect(difference(few, try #require(gradients[6])) > 1e-2)
    #expect(difference(try #require(gradients[6]), try #require(gradients[9])) > 1e-2)
    #expect(difference(try #require(gradients[9]), try #require(gradients[21])) == 0)
  }

  @Test func `gradients that cross the cache are other ones, and need layers that are not checkpointed`() throws {
    let tiny = try TinyModel(seed: 1)
    let conditions = tinyConditions(2, latentFrames: 9)
    func gradient(_ flavour: HistoryGradient, steps: [Int]) throws -> [String: Tensor] {
      var settings = RolloutSettings(historyGradient: flavour)
      settings.gradientFrames = 21
      return try tiny.gradients {
        // Of the last block alone: with a cut history nothing of it reaches the blocks before.
        let clip = try latents(tiny.model, settings, steps: steps, conditions, tinyNoise(5), recorded: true)
        weighted(clip.narrow(2, 6, 3)).backward()
      }
    }
    for steps in [[3, 3, 3], [0, 0, 0]] {
      let (cut, crossing) = (try gradient(.cut, steps: steps), try gradient(.selfForcing, steps: steps))
      let literal = try gradient(.literal, steps: steps)
      #expect(difference(cut, crossing) > 1e-4, "\(difference(cut, crossing))")
      #expect(difference(cut, literal) > 1e-4)
      // The text's layers have a gradient where the rollout's first pass has one.
      let (ours, theirs) = (crossing["text_embedding.0.weight"], literal["text_embedding.0.weight"])
      #expect(ours?.abs().max().item ?? 0 > 1e-5)
      #expect((theirs?.abs().max().item ?? 0 > 1e-5) == (steps[0] == 0))
    }
    for flavour in [HistoryGradient.selfForcing, .literal] {
      let settings = RolloutSettings(historyGradient: flavour)
      let refusal = message {
        _ = try latents(tiny.checkpointing(true).model, settings, conditions, tinyNoise(5), recorded: true)
      }
      #expect(refusal.contains("not checkpointed"))
    }
  }

  @Test(arguments: [RolloutSettings.CommitPass.clean, .noised, .lastStep])
  func `two clips together are the two alone`(commit: RolloutSettings.CommitPass) throws {
    let tiny = try TinyModel(seed: 1)
    let settings = RolloutSettings(commit: commit)
    func clip(_ conditions: Conditions, _ noise: NoiseSource) throws -> (latents: Tensor, gradients: [String: Tensor]) {
      var kept: Tensor?
      let gradients = try tiny.gradients {
        let clip = try latents(tiny.model, settings, steps: [1, 0, 2], conditions, noise, recorded: true)
        (clip.square().mean(1, 2, 3, 4).sum()).backward()
        kept = clip.detach()
      }
      return (try #require(kept), gradients)
    }
    let one = try clip(tinyConditions(2, latentFrames: 9), tinyNoise(5))
    let other = try clip(tinyConditions(3, latentFrames: 9), tinyNoise(6))
    let both = try clip(tinyConditions(2, 3, latentFrames: 9), tinyNoise(5, 6))
    #expect(both.latents.maxAbsDifference(Tensor.cat([one.latents, other.latents], 0)) < 1e-5)
    #expect(one.latents.maxAbsDifference(other.latents) > 1e-2)
    expectEqual(
      both.gradients, one.gradients.merging(other.gradients) { $0 + $1 }, tolerance: 5e-6)
  }

  @Test(arguments: HistoryGradient.allCases)
  func `a rollout that is reused generates what a new one does`(gradient: HistoryGradient) throws {
    let tiny = try TinyModel(seed: 1)
    let settings = RolloutSettings(commit: .noised, historyGradient: gradient)
    let reused = StudentRollout(tiny.model, settings)
    func gradients(_ rollout: any ClipRollout, _ seed: UInt64, frames: Int = 9) throws -> [String: Tensor] {
      try tiny.gradients {
        let clips = try rollout.generate(
          tinyConditions(seed, latentFrames: frames),
          .init(steps: [1, 3, 0].suffix(frames / 3), noise: tinyNoise(seed)), recorded: true)
        weighted(clips.latents).backward()
      }
    }
    _ = try gradients(reused, 2)
    // A step of the optimizer between batches, and a batch of another size.
    withGradients(false) { for (_, tensor) in tiny.store.trained { tensor.mul_(1.1) } }
    for (seed, frames) in [(3, 9), (4, 6), (5, 9)] as [(UInt64, Int)] {
      let (one, other) = (
        try gradients(reused, seed, frames: frames),
        try gradients(StudentRollout(tiny.model, settings), seed, frames: frames)
      )
      #expect(one.keys == other.keys && one.allSatisfy { $0.value.equals(other[$0.key] ?? .zeros([0])) })
    }
  }

  @Test func `sound of another length is refused`() throws {
    let tiny = try TinyModel(seed: 1)
    let text = message {
      _ = try latents(tiny.model, RolloutSettings(), steps: [3, 3], tinyConditions(2, latentFrames: 9), tinyNoise(5))
    }
    #expect(text.contains("33 rows of audio are not those of 2 blocks of 3 frames"))
  }

  @Test func `the range of the scores lies between a step and the next`() {
    let settings = RolloutSettings.livetalk
    let ranges = (0..<4).map { settings.scoreRange(endingWith: $0) }
    #expect(ranges.map(\.from) == [1000, 745, 498, 249])
    #expect(ranges.map(\.to) == [745, 498, 249, 0])
  }
}

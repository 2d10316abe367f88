import Foundation
import Models
import NN
import Testing
import Torch

@testable import Generation

/// The smallest Live Avatar that can generate: random weights, 16 tokens a frame.
struct TinyLiveAvatar {
  let models: LiveAvatarModels
  let conditions: LiveAvatarConditions
  let text: Tensor

  init() throws {
    models = try LiveAvatarModels(random: .liveAvatarTiny, device: .cpu, dtype: .float32)
    let generator = RandomGenerator(seed: 4)
    conditions = LiveAvatarConditions(
      sink: generator.normal([1, 16, 1, 8, 8]), motion: generator.normal([1, 16, 19, 8, 8]))
    text = generator.normal([1, 6, models.textWidth])
  }

  func features(_ block: Int) -> Tensor {
    RandomGenerator(seed: 50 + UInt64(block)).normal([1, 12, models.transformer.config.audioInputDim])
  }
  func audio(_ block: Int) -> WanS2VTransformer.AudioContext {
    models.transformer.read(audioFeatures: features(block))
  }
  func rollout(_ options: LiveAvatarOptions = LiveAvatarOptions(), steps: Range<Int>? = nil) throws -> LiveAvatarRollout
  {
    try LiveAvatarRollout(
      transformer: models.transformer, conditions: conditions, textEmbedding: text, options: options, steps: steps)
  }
  func latents(_ rollout: LiveAvatarRollout, blocks: Int) -> [Tensor] {
    withInferenceMode { (0..<blocks).map { rollout.next(audio: audio($0)) } }
  }
}

@Suite struct LiveAvatarTests {
  let system: TinyLiveAvatar
  init() throws { system = try TinyLiveAvatar() }

  /// Two tones, one of which swells.
  private func tone(_ count: Int) -> [Float] {
    (0..<count).map { index in
      let time = Double(index)
      let swelling: Double = sin(time * 0.011) * sin(time * 0.0003)
      return Float(0.2 * sin(time * 0.07) + 0.3 * swelling)
    }
  }

  @Test func `one seed makes one video, in one process or by stages that hold some of its steps`() throws {
    let options = LiveAvatarOptions(blocksPerClip: 2, seed: 9)
    let whole = system.latents(try system.rollout(options), blocks: 5)
    #expect(zip(whole, system.latents(try system.rollout(options), blocks: 5)).allSatisfy { $0.equals($1) })
    var other = options
    other.seed = 10
    other.sinkDistance = options.sinkDistance
    #expect(!whole[0].equals(system.latents(try system.rollout(other), blocks: 1)[0]))
    let stages = try [0..<1, 1..<3, 3..<4].map { try system.rollout(options, steps: $0) }
    var first: Tensor?
    let staged = withInferenceMode {
      (0..<5).map { block in
        if let first, stages[0].changesSink { for stage in stages { stage.setSink(first) } }
        let start = stages[0].next(audio: system.audio(block))
        let end = stages[1...].reduce(start) { $1.next(from: $0, audio: system.audio(block)) }
        if block == 0 { first = end.narrow(2, 0, 1) }
        return end
      }
    }
    #expect(zip(whole, staged).allSatisfy { $0.equals($1) })
  }

  @Test func `the sink changes when it is said to, and not before`() throws {
    func latents(_ sink: AdaptiveSink) throws -> [Tensor] {
      system.latents(
        try system.rollout(LiveAvatarOptions(blocksPerClip: 3, adaptiveSink: sink)), blocks: 5)
    }
    let (never, paper, released) = (try latents(.never), try latents(.paper), try latents(.released))
    let same = { (one: [Tensor], other: [Tensor]) in zip(one, other).map { $0.equals($1) } }
    #expect(same(never, paper) == [true, false, false, false, false])
    #expect(same(never, released) == [true, true, true, false, false])
  }

  @Test func `noise is drawn for a clip at once, and no two blocks have the same`() {
    let noise = NoiseSource.liveAvatar(seed: 3, blocksPerClip: 4)
    let blocks = (0..<8).map { noise.initial($0, [1, 16, 3, 4, 4]) }
    let clip = RandomGenerator(seed: 4).normal([1, 16, 12, 4, 4])
    #expect(Tensor.cat(Array(blocks[4..<8]), 2).equals(clip))
    for one in 0..<8 { for other in 0..<one { #expect(!blocks[one].equals(blocks[other])) } }
  }

  @Test func `a distance that is fixed makes another video than drawn ones once the sink moves`() throws {
    let drawn = system.latents(try system.rollout(LiveAvatarOptions()), blocks: 12)
    let fixed = system.latents(try system.rollout(LiveAvatarOptions(sinkDistance: .fixed(30))), blocks: 12)
    // The first block begins at frame 0: no distance up to 30 moves the sink.
    #expect(drawn[0].equals(fixed[0]) && !drawn[11].equals(fixed[11]))
  }

  @Test func `frames that come block by block are those of decoding everything at once`() throws {
    let vae = system.models.vae
    let latents = system.latents(try system.rollout(), blocks: 3)
    withInferenceMode {
      var decoder = LiveAvatarDecoder(vae, motion: system.conditions.motion)
      let streamed = latents.map { decoder.decode($0) }
      #expect(streamed.map { $0.size(2) } == [9, 12, 12])
      let prime = system.conditions.motion.narrow(2, 0, LiveAvatarDecoder.primingFrames)
      let whole = vae.decode(Tensor.cat([prime] + latents, 2))
      #expect(Tensor.cat(streamed, 2).maxAbsDifference(whole.narrow(2, whole.size(2) - 33, 33)) < 1e-5)
    }
  }

  @Test func `a session gives the frames of its clip, by whole sound and as it is heard`() throws {
    let sound = tone(20_000)
    let clip = try Clip(samples: sound, seconds: nil, geometry: system.models.geometry)
    #expect(clip.videoFrames == 31 && clip.blocks == 3)
    let image = RandomGenerator(seed: 5).uniform([1, 3, 1, 64, 64]) * 2 - 1
    for isLive in [false, true] {
      let frames = try withInferenceMode {
        let session = try system.models.session(
          image: image, textEmbedding: system.text, options: SessionOptions(), tap: nil)
        #expect(session.size == ReferencePicture.Size(height: 64, width: 64))
        let features = try system.models.audioFeatures(of: clip, isLive: isLive)
        var frames: [[UInt8]] = []
        try session.generate(clip, audioFeatures: features, deliver: { frames.append($0) })
        return frames
      }
      #expect(frames.count == 31 && frames.allSatisfy { $0.count == 64 * 64 * 3 })
    }
  }

  @Test func `a frame is driven by its own sound, unless the published lead is asked for`() throws {
    let sound = tone(32_000)
    let clip = try Clip(samples: sound, seconds: nil, geometry: system.models.geometry)
    let states = try SpeechStates.states(system.models.audioEncoder, clip.samples)
    let frames = SpeechStates.features(states, frames: clip.generatedFrames)
    var published = system.models
    published.correctsLead = false
    func first(_ models: LiveAvatarModels) throws -> Tensor { try models.audioFeatures(of: clip)() }
    let (own, leading) = (try first(system.models), try first(published))
    #expect(own.narrow(1, 3, 9).equals(frames.narrow(1, 0, 9)) && own.narrow(1, 0, 1).equals(frames.narrow(1, 0, 1)))
    #expect(leading.equals(frames.narrow(1, 0, 12)))
  }

  /// The encoder hears two seconds before and a little after a block, and normalises by what was heard so far.
  @Test func `sound as it is heard has the features of the whole where nothing is cut off`() throws {
    let sound = tone(48_000)
    let clip = try Clip(samples: sound, seconds: nil, geometry: system.models.geometry)
    let (whole, live) = (
      try system.models.audioFeatures(of: clip), try system.models.audioFeatures(of: clip, isLive: true)
    )
    for block in 0..<3 {
      let (one, other) = (try whole(), try live())
      #expect(one.shape == other.shape)
      let scale = one.abs().mean().item
      #expect((one - other).abs().mean().item < 0.5 * scale, "block \(block)")
    }
  }

  @Test func `options that cannot be are refused in a sentence`() {
    #expect(throws: TorchError.self) { try system.rollout(LiveAvatarOptions(windowBlocks: 0)) }
    #expect(throws: TorchError.self) { try system.rollout(LiveAvatarOptions(steps: 0)) }
    #expect(throws: TorchError.self) { try system.models.check(ReferencePicture.Size(height: 720, width: 400)) }
  }

  @Test func `both published ways to encode a picture are there by name`() {
    let image = RandomGenerator(seed: 5).uniform([1, 3, 1, 64, 64]) * 2 - 1
    let (one, five) = withInferenceMode {
      (
        LiveAvatarConditions(image, system.models.vae, encoding: .oneFrame),
        LiveAvatarConditions(image, system.models.vae, encoding: .fiveFrames)
      )
    }
    #expect(one.sink.shape == five.sink.shape && one.motion.shape == [1, 16, 19, 8, 8])
    #expect(five.motion.shape == one.motion.shape && one.sink.maxAbsDifference(five.sink) > 1e-5)
    // A still picture's first latent frame is that of the picture alone.
    #expect(one.motion.narrow(2, 0, 1).maxAbsDifference(one.sink) < 1e-5)
  }
}

@Suite struct LiveAvatarCheckpointTests {
  private func made(_ folder: TemporaryFolder) throws -> CheckpointFolder {
    let root = folder.url.appendingPathComponent("avatar")
    try RandomCheckpoint(LiveAvatarPreset.liveAvatarTiny).write(to: root)
    return try CheckpointFolder(root)
  }

  private func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return ""
    } catch { return "\(error)" }
  }

  @Test func `the family is known by its folder, and the adapter is merged while weights are read`() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try made(folder)
    #expect(checkpoint.family.kind == .liveAvatar && CheckpointInspection(of: checkpoint).complete)
    try checkpoint.verifyWeights()
    let models = try checkpoint.loadModels(device: .cpu, dtype: .float32)
    let avatar = try #require(models as? LiveAvatarModels)
    #expect(avatar.transformer.config == LiveAvatarPreset.liveAvatarTiny.transformer)
    // By hand: one merged dictionary, then a model of it.
    let merged = try LoRAAdapter.merge(
      readWeights(checkpoint.require(.adapter)), into: readWeights(checkpoint.require(.transformer)), alpha: 64)
    let store = ParameterStore(weights: merged, name: "merged", dtype: .float32, isFrozen: true)
    let byHand = try WanS2VTransformer(avatar.transformer.config, store.root)
    try store.finish()
    let text = RandomGenerator(seed: 2).normal([1, 4, 64])
    #expect(
      byHand.read(text: text).keysAndValues(layer: 1).keys.equals(
        avatar.transformer.read(text: text).keysAndValues(layer: 1).keys))
  }

  @Test func `what takes LiveTalk's models says so of a folder with Live Avatar's`() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try made(folder)
    let refusal = message { _ = try AvatarModels(loading: checkpoint, device: .cpu, dtype: .float32) }
    #expect(refusal.contains("of Live Avatar, and this takes one of LiveTalk"))
  }

  @Test func `an adapter that names no layer, of another base, or with more than factors is refused`() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try made(folder)
    let file = try checkpoint.require(.adapter)
    let sound = try readWeights(file).mapValues { $0.clone() }
    func refusal(_ change: ([String: Tensor]) -> [String: Tensor]) throws -> String {
      try writeSafetensors(change(sound), to: file)
      #expect(!CheckpointInspection(of: checkpoint).complete)
      return message { _ = try checkpoint.loadModels(device: .cpu, dtype: .float32) }
    }
    #expect(try refusal { _ in [:] }.contains("changes nothing"))
    let renamed = try refusal { Dictionary(uniqueKeysWithValues: $0.map { ("other.\($0)", $1) }) }
    #expect(renamed.contains("the base has no 'other.") && renamed.contains("more"))
    #expect(try refusal { $0.mapValues { $0.narrow(1, 0, 3) } }.contains("do not fit"))
    #expect(try refusal { $0.merging(["patch_embedding.extra": .zeros([1])]) { $1 } }.contains("that the base has not"))
  }

  @Test func `a part or a shard that is missing is named, and so is a configuration that does not fit`() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try made(folder)
    let shard = try #require(
      try FileManager.default.contentsOfDirectory(
        atPath: checkpoint.require(.transformer).deletingLastPathComponent().path
      )
      .first { $0.hasSuffix("of-00001.safetensors") })
    let config = try checkpoint.require(.transformerConfiguration)
    let text = try String(contentsOf: config, encoding: .utf8)
    try text.replacingOccurrences(of: "\"num_layers\"", with: "\"layers\"").write(
      to: config, atomically: true, encoding: .utf8)
    try checkpoint.verifyWeights()  // what shapes tell need not be said
    try Data("{\"audio_inject_layers\": [0]}".utf8).write(to: config)
    #expect(message { try checkpoint.verifyWeights() }.contains("sound after 3 layers"))
    try Data(text.utf8).write(to: config)
    try FileManager.default.removeItem(
      at: checkpoint.require(.transformer).deletingLastPathComponent().appendingPathComponent(shard))
    #expect(message { try checkpoint.verifyWeights() }.contains(shard))
    try FileManager.default.removeItem(at: checkpoint.require(.adapter))
    #expect(message { try checkpoint.requireAll() }.contains("adapter of the diffusion transformer"))
  }

  @Test func `layers in 8 bits are close to those that are not, and far from the others' memory`() throws {
    let folder = try TemporaryFolder()
    let checkpoint = try made(folder)
    let (plain, eight) = (
      try checkpoint.loadS2VTransformer(dtype: .bfloat16),
      try checkpoint.loadS2VTransformer(dtype: .bfloat16, WeightOptions(float8: true))
    )
    func latents(_ transformer: WanS2VTransformer) throws -> Tensor {
      let generator = RandomGenerator(seed: 4)
      let rollout = try LiveAvatarRollout(
        transformer: transformer,
        conditions: LiveAvatarConditions(
          sink: generator.normal([1, 16, 1, 8, 8]), motion: generator.normal([1, 16, 19, 8, 8])),
        textEmbedding: generator.normal([1, 6, 64]), options: LiveAvatarOptions())
      let audio = transformer.read(
        audioFeatures: generator.normal([1, 12, transformer.config.audioInputDim]))
      return withInferenceMode { rollout.next(audio: audio).to(.float32) }
    }
    let (one, other) = (try latents(plain), try latents(eight))
    let difference = (one - other).abs().mean().item / one.abs().mean().item
    #expect(difference > 0 && difference < 0.1, "\(difference)")
  }
}

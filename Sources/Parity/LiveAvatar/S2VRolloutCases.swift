import Basics
import FoundationEssentials
import Generation
import Models
import Torch

/// Goldens of rollouts: block after block in one process, and by the stages of a pipeline.
enum S2VRolloutCases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let (outputs, tolerance) = (try golden.outputs(), try golden.tolerance())
    let system = try System(golden, golden)
    let schedule = golden.json["schedule"]
    let blocks = try schedule["blocks"].int()
    var passes: [(x: Tensor, timestep: Tensor, flow: Tensor)] = []
    let rollout = try system.rollout { passes.append(($0.clone(), $1, $2.clone())) }
    var actual: [String: Tensor] = [:]
    func keepCondition(_ name: String) {
      let condition = LiveAvatarCases.condition(rollout.blocks.reference, system.model.config)
      (actual["\(name).cond_k"], actual["\(name).cond_v"]) = (condition.keys, condition.values)
    }
    keepCondition("sink0")
    var clean: [Tensor] = []
    for block in 0..<blocks {
      clean.append(withGradients(false) { rollout.next(audio: system.audio(block)) })
      let cache = try caches(rollout, system.model.config, schedule)
      for place in ["after_block\(block)"] + (block + 1 == blocks ? ["end"] : []) {
        (actual["cache.\(place).k"], actual["cache.\(place).v"]) = (cache.keys, cache.values)
      }
    }
    keepCondition("sink1")
    actual["sink_latent_after_update"] = clean[0].narrow(2, 0, 1)
    actual["latents"] = Tensor.cat(clean, 2).squeeze(0)
    let steps = try schedule["steps"].int()
    actual["velocity"] = Tensor.cat(passes.map(\.flow), 0).unflatten(0, blocks, steps)
    actual["x"] = Tensor.stack(
      (0..<blocks).map { block in
        Tensor.cat(passes[block * steps..<(block + 1) * steps].map(\.x) + [clean[block]], 0)
      }, 0)
    actual["timesteps"] = Tensor.cat(passes.prefix(steps).map { $0.timestep.flatten() }, 0)
    actual["sigmas"] = Tensor.cat([FlowMatchingSchedule.liveAvatar(steps: steps).sigmas, .zeros([1])], 0)
    if outputs["latents_without_sink_update"] != nil {
      let other = try system.rollout(.never)
      actual["latents_without_sink_update"] = Tensor.cat(
        (0..<blocks).map { block in withGradients(false) { other.next(audio: system.audio(block)) } }, 2
      ).squeeze(0)
    }
    try recorder.compareAll(actual, outputs) { _ in tolerance }
  }

  /// The same rollout by four stages with one step each, and one that decodes: here one after the other. What they send each other is
  /// that of one process, to the last bit.
  static func pipeline(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let (outputs, tolerance) = (try golden.outputs(), try golden.tolerance())
    let file = try golden.json["weights_from"].string().split(separator: "/").first.map(String.init) ?? ""
    let source = try ParityCase(
      directory: golden.directory.deletingLastPathComponent().appendingPathComponent(file), device: golden.device,
      media: golden.media)
    let system = try System(source, golden)
    let schedule = source.json["schedule"]
    let (blocks, steps) = (try schedule["blocks"].int(), try schedule["steps"].int())
    let stages = try (0..<steps).map { try system.rollout(steps: $0..<$0 + 1) }
    let whole = try system.rollout()
    var messages = [[Tensor]](repeating: [], count: steps)
    var first: Tensor?
    var isSame = true
    for block in 0..<blocks {
      withGradients(false) {
        if let first, stages[0].changesSink { for stage in stages { stage.setSink(first) } }
        let audio = system.audio(block)
        var x: Tensor?
        for (step, stage) in stages.enumerated() {
          let next = stage.next(from: x, audio: audio)
          messages[step].append(next)
          x = next
        }
        if block == 0 { first = x?.narrow(2, 0, 1) }
        isSame = isSame && x?.equals(whole.next(audio: audio)) == true
      }
    }
    recorder.expect("stages make what one process makes", isSame)
    var actual: [String: Tensor] = [:]
    for (step, sent) in messages.enumerated() { actual["message.\(step)to\(step + 1)"] = Tensor.cat(sent, 0) }
    actual["broadcast.sink"] = first
    actual["latents"] = Tensor.cat(messages[steps - 1], 2).squeeze(0)
    try recorder.compareAll(actual, outputs) { _ in tolerance }
  }

  /// Layer 0 of every step's memory in the order of its rows, `[steps, window tokens, H, D]`, rows that are not written yet 0.
  private static func caches(_ rollout: LiveAvatarRollout, _ config: WanS2VConfiguration, _ schedule: JSON) throws -> (
    keys: Tensor, values: Tensor
  ) {
    let (window, tokens) = (try schedule["window_blocks"].int(), try schedule["tokens_per_frame"].int())
    let blockTokens = tokens * (try schedule["frames_per_block"].int())
    let newest = rollout.blocks.block - 1
    let held = min(newest + 1, window)
    func rows(_ ordered: Tensor) -> Tensor {  // [1, held·n·T, C] from the oldest
      let slots = (0..<window).map { slot -> Tensor in
        let block = newest - (newest - slot + window) % window
        guard block >= 0 else { return .zeros([1, blockTokens, config.dim], device: ordered.device) }
        return ordered.narrow(1, (block - (newest + 1 - held)) * blockTokens, blockTokens)
      }
      return Tensor.cat(slots, 1).unflatten(-1, config.numHeads, -1)
    }
    let all = (0..<rollout.options.steps).map { rollout.blocks.memory(of: $0).ordered(layer: 0) }
    return (Tensor.cat(all.map { rows($0.keys) }, 0), Tensor.cat(all.map { rows($0.values) }, 0))
  }

  /// What the rollouts of a case share.
  private struct System {
    let model: WanS2VTransformer
    let options: LiveAvatarOptions
    private let conditions: LiveAvatarConditions
    private let text, noise, sound: Tensor
    private let framesPerBlock: Int

    init(_ source: ParityCase, _ golden: ParityCase) throws {
      let inputs = try source.inputs()
      func input(_ name: String) throws -> Tensor { try LiveAvatarCases.input(inputs, name) }
      model = try LiveAvatarCases.model(try source.tensors("weights.safetensors"), source.config, source)
      let schedule = source.json["schedule"]
      framesPerBlock = try schedule["frames_per_block"].int()
      let clip = schedule["blocks_per_clip"].exists ? try schedule["blocks_per_clip"].int() : 4
      let update =
        schedule["sink_update_after_blocks"].exists ? try schedule["sink_update_after_blocks"].int() : clip
      guard update == 1 || update == clip else { throw LiveTalkError("no sink is updated after \(update) blocks") }
      let (distances, steps) = (
        try input("relative_distance").array(Int.self), try schedule["steps"].int()
      )
      options = LiveAvatarOptions(
        steps: steps, framesPerBlock: framesPerBlock, blocksPerClip: clip,
        windowBlocks: try schedule["window_blocks"].int(), adaptiveSink: update == clip ? .released : .paper,
        sinkDistance: .given { distances[$0 * steps + $1] })
      conditions = LiveAvatarConditions(sink: try input("ref_latents"), motion: try input("motion_latents"))
      text = try LiveAvatarCases.padded(text: try input("text"), source.config)
      (noise, sound) = (try input("noise"), LiveAvatarCases.rows(try input("audio")))
    }

    func rollout(_ sink: AdaptiveSink? = nil, steps: Range<Int>? = nil, tap: RolloutTap? = nil) throws
      -> LiveAvatarRollout
    {
      var options = options
      options.adaptiveSink = sink ?? options.adaptiveSink
      let noise = noise
      return try LiveAvatarRollout(
        transformer: model, conditions: conditions, textEmbedding: text, options: options, steps: steps,
        noise: NoiseSource(
          initial: { block, _ in noise.select(0, block).unsqueeze(0) }, renewed: { _, _, shape in .zeros(shape) }),
        tap: tap)
    }

    func audio(_ block: Int) -> WanS2VTransformer.AudioContext {
      let rows = 4 * framesPerBlock
      return model.read(audioFeatures: sound.narrow(1, block * rows, rows))
    }
  }
}

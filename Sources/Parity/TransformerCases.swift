import Basics
import Models
import NN
import Torch

/// Goldens of the diffusion transformer: `audio_pack`, the teacher's pass, the block-causal pass, passes over a cache.
enum TransformerCases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    if golden.config["modules"].exists {
      try audioPack(golden, recorder)
    } else if golden.json["calls"].exists {
      try cached(golden, recorder)
    } else {
      try whole(golden, recorder)
    }
  }

  /// The sizes that a case's configuration states.
  static func configuration(_ json: JSON) throws -> WanTransformerConfiguration {
    WanTransformerConfiguration(
      trunk: try WanTrunkConfiguration(json), audioInputDim: try json["audio_input_dim"].int(),
      audioHiddenSize: try json["audio_hidden_size"].int())
  }

  private static func model(_ golden: ParityCase, dtype: DType = .float32) throws -> WanTransformer {
    let weights = try golden.tensors("weights.safetensors")
    let config = try configuration(golden.config)
    let read = try WanTransformerConfiguration(readingFrom: weights, headDim: config.headDim)
    guard read == config else {
      throw LiveTalkError("the shapes of the weights tell other sizes than the configuration")
    }
    let store = ParameterStore(
      weights: weights, name: "weights.safetensors", device: golden.device, dtype: dtype, isFrozen: true)
    let model = try WanTransformer(config, store.root)
    try store.finish()
    return model
  }

  private static func input(_ inputs: [String: Tensor], _ name: String) throws -> Tensor {
    guard let tensor = inputs[name] else { throw LiveTalkError("the case has no input '\(name)'") }
    return tensor
  }

  private static func audioPack(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let (inputs, outputs, weights) = (
      try golden.inputs(), try golden.outputs(), try golden.tensors("weights.safetensors")
    )
    let store = ParameterStore(weights: weights, name: "weights.safetensors", device: golden.device)
    let packs = try golden.config["modules"].keys.map { name in
      let module = golden.config["modules"][name]
      let pack = AudioPack(
        channels: try module["in_channels"].int(), patch: try module["patch_size"].ints(),
        width: try module["dim"].int(), layerNorm: try module["layernorm"].bool(), store.root / name)
      return (name, pack)
    }
    try store.finish()
    for (name, pack) in packs {
      try recorder.compare(
        "\(name).out", pack(try input(inputs, "\(name).in")), outputs["\(name).out"], golden.tolerance())
    }
  }

  // MARK: Whole-clip passes

  private static func whole(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let (inputs, outputs, tolerance) = (try golden.inputs(), try golden.outputs(), try golden.tolerance())
    let model = try model(golden)
    let latents = try input(inputs, "x")
    let (frames, height, width) = (latents.size(2), latents.size(3), latents.size(4))
    let tokensPerFrame = model.config.tokensPerFrame(height: height, width: width)
    let causal = golden.config["num_frame_per_block"].exists
    let given = try input(inputs, "timestep")
    let timestep = model.read(timesteps: causal ? given : given.unsqueeze(1))
    let text = model.read(text: try input(inputs, "context"))
    let packed = model.pack(audioFeatures: try input(inputs, "audio_emb"))
    let audio = model.audioContext(packed: packed)
    var taps: [String: Tensor] = [:]
    var mask: Tensor?
    if causal {
      let window = try golden.config["local_attn_size"].int()
      let made = BlockMask.mask(
        frames: frames, tokensPerFrame: tokensPerFrame, framesPerBlock: try golden.config["num_frame_per_block"].int(),
        windowFrames: window == -1 ? nil : window, device: golden.device)
      try recorder.compare("mask", made.to(.uint8), outputs["mask"], .exact)
      mask = made
    }
    let flow = model(
      latents, condition: try input(inputs, "y"), timestep: timestep, text: text, audio: audio, mask: mask,
      tap: { taps[$0] = $1.clone() })
    taps["flow"] = flow
    if causal, let head = taps["head"] { taps["head"] = head.unflatten(1, frames, tokensPerFrame) }
    if outputs["flow_no_audio"] != nil {
      taps["flow_no_audio"] = model(
        latents, condition: try input(inputs, "y"), timestep: timestep, text: text, audio: nil, mask: mask)
    }
    taps["audio_packed"] = packed.unsqueeze(2).unsqueeze(2)
    for index in 0..<audio.size(0) { taps["audio_cond\(index)"] = audio.select(0, index).unsqueeze(2).unsqueeze(2) }
    taps["context_embedded"] = text.embedded
    taps["time_embedding"] = timestep.embedding
    taps["t_mod"] = timestep.projection
    let compared = outputs.filter { $0.key != "mask" && !$0.key.hasPrefix("rope.") }
    try recorder.compareAll(taps, compared) { _ in tolerance }
    try rotary(model.config, outputs, recorder, tolerance)
  }

  /// The rotary tables of the reference are rows of complex numbers for positions 0 ..< 16.
  private static func rotary(
    _ config: WanTransformerConfiguration, _ outputs: [String: Tensor], _ recorder: ParityRecorder,
    _ tolerance: Tolerance
  ) throws {
    guard let time = outputs["rope.f"], let rows = outputs["rope.h"], let columns = outputs["rope.w"] else { return }
    let count = rows.size(0)
    let rotary = Rotary(headDim: config.headDim, grid: (count, count), device: time.device)
    let factors = rotary.factors(start: 0, frames: count).reshape(count, count, count, config.headDim / 2, 2)
    let (t, h) = (time.size(1), rows.size(1))
    let origin = factors.select(0, 0)
    try recorder.compare("rope.f", factors.select(1, 0).select(1, 0).narrow(1, 0, t), time, tolerance)
    try recorder.compare("rope.h", origin.select(1, 0).narrow(1, t, h), rows, tolerance)
    try recorder.compare("rope.w", origin.select(0, 0).narrow(1, t + h, columns.size(1)), columns, tolerance)
  }

  // MARK: Passes over a cache

  private static func cached(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let inBFloat16 = golden.config["dtype"].exists
    let dtype: DType = inBFloat16 ? .bfloat16 : .float32
    let (inputs, outputs) = (try golden.inputs().mapValues { $0.to(dtype) }, try golden.outputs())
    let model = try model(golden, dtype: dtype)
    let text = model.read(text: try input(inputs, "context"))
    let packed = model.pack(audioFeatures: try input(inputs, "audio_emb"))
    let audio = model.audioContext(packed: packed)
    let condition = try input(inputs, "y")
    let tokensPerFrame = model.config.tokensPerFrame(height: condition.size(3), width: condition.size(4))
    let window = try golden.config["local_attn_size"].int()
    let memory = RingMemory(
      model.memoryShape(for: condition),
      windowFrames: window == -1 ? try golden.config["kv_cache_size"].int() / tokensPerFrame : window,
      sinkFrames: golden.config["sink_size"].exists ? try golden.config["sink_size"].int() : 0,
      visibleTokens: golden.config["max_attention_size"].exists ? try golden.config["max_attention_size"].int() : nil)
    let rotary = model.rotary(for: condition)

    func compare(_ name: String, _ actual: Tensor) throws {
      guard let expected = outputs[name] else { return recorder.skip(name) }
      if inBFloat16 {
        let stated = golden.json["tolerance"]["bf16"]
        try recorder.compareStatistics(
          name, actual, expected, maximum: try stated["max_abs"].double(), mean: try stated["mean_abs"].double())
      } else {
        try recorder.compare(name, actual, expected, golden.tolerance())
      }
    }

    try compare("audio_packed", packed.unsqueeze(2).unsqueeze(2))
    try compare("audio_cond", audio.squeeze(1).unsqueeze(2).unsqueeze(2))
    let cross = text.keysAndValues(layer: 0)
    try compare("cross.layer0.k", cross.keys)
    try compare("cross.layer0.v", cross.values)

    let calls = golden.json["calls"].list
    for (index, call) in calls.enumerated() {
      let range = try call["frames"].ints()
      let (start, count) = (range[0], range[1] - range[0])
      let prefix = try call["x"].string().split(separator: ".").dropLast().joined(separator: ".")
      var taps: [String: Tensor] = [:]
      let flow = model(
        block: try input(inputs, try call["x"].string()), start: start, condition: condition.narrow(2, start, count),
        timestep: model.read(timesteps: try input(inputs, try call["timestep"].string())), text: text,
        audio: audio.narrow(2, start, count), memory: memory, rotary: rotary, tap: { taps[$0] = $1.clone() })
      let result = try call["flow"].string()
      if index + 1 == calls.count, outputs[result] == nil { throw LiveTalkError("the case has no output '\(result)'") }
      try compare(result, flow)
      for (name, tensor) in taps { try compare("\(prefix).\(name)", tensor) }
      let block = try call["block"].int()
      let lastOfBlock = try index + 1 == calls.count || calls[index + 1]["block"].int() != block
      if lastOfBlock {
        for layer in 0..<model.config.numLayers {
          let (keys, values) = memory.ordered(layer: layer)
          try compareCache("after_block\(block).layer\(layer).k", keys, outputs, recorder, compare)
          try compareCache("after_block\(block).layer\(layer).v", values, outputs, recorder, compare)
        }
        recorder.expect(
          "after_block\(block).global_end_index",
          outputs["after_block\(block).global_end_index"]?.intItem == memory.endFrame * tokensPerFrame)
      }
    }
  }

  /// The reference's cache has rows that are not in use yet; ours are compared with those that are.
  static func compareCache(
    _ name: String, _ rows: Tensor, _ outputs: [String: Tensor], _ recorder: ParityRecorder,
    _ compare: (String, Tensor) throws -> Void
  ) throws {
    guard let expected = outputs[name] else { return recorder.skip(name) }
    let unused = expected.size(1) - rows.size(1)
    guard unused >= 0 else { throw LiveTalkError("'\(name)' has \(expected.size(1)) rows, ours \(rows.size(1))") }
    try compare(name, Tensor.cat([rows, expected.narrow(1, rows.size(1), unused).to(rows.dtype)], 1))
  }
}

extension WanTrunkConfiguration {
  /// The sizes that a case's configuration states, whichever family it is of.
  init(_ json: JSON) throws {
    self.init(
      dim: try json["dim"].int(), inDim: try json["in_dim"].int(), ffnDim: try json["ffn_dim"].int(),
      outDim: try json["out_dim"].int(), textDim: try json["text_dim"].int(), freqDim: try json["freq_dim"].int(),
      numHeads: try json["num_heads"].int(), numLayers: try json["num_layers"].int(),
      patchSize: try json["patch_size"].exists ? json["patch_size"].ints() : [1, 2, 2],
      eps: try json["eps"].double())
  }
}

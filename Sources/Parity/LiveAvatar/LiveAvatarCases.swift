import Basics
import Models
import NN
import Torch

/// Goldens of Live Avatar, each told by what its `case.json` states.
enum LiveAvatarCases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let json = golden.json
    if json["lora"].exists {
      try S2VWeightCases.adapter(golden, recorder)
    } else if json["replaced_in_tiny_model"].exists {
      try S2VWeightCases.float8(golden, recorder)
    } else if json["call"]["steps_walked"].exists {
      try S2VSamplerCases.run(golden, recorder)
    } else if json["call"]["prime_frames"].exists {
      try S2VDecodingCases.run(golden, recorder)
    } else if json["call"]["wav2vec2_frames"].exists {
      try S2VAudioCases.run(golden, recorder)
    } else if golden.config["dit"].exists {
      try S2VPipelineCases.run(golden, recorder)
    } else if json["ranks"].exists {
      try S2VRolloutCases.pipeline(golden, recorder)
    } else if json["schedule"].exists {
      try S2VRolloutCases.run(golden, recorder)
    } else {
      try S2VPassCases.run(golden, recorder)
    }
  }

  /// The sizes that a case's configuration states.
  static func configuration(_ json: JSON) throws -> WanS2VConfiguration {
    WanS2VConfiguration(
      trunk: try WanTrunkConfiguration(json), condDim: try json["cond_dim"].int(), audioStates: 25,
      audioDim: try json["audio_dim"].int(), audioTokens: try json["num_audio_token"].int(),
      audioLayers: try json["audio_inject_layers"].ints())
  }

  /// The transformer of weights whose shapes tell the sizes that `json` states.
  static func model(_ weights: [String: Tensor], _ json: JSON, _ golden: ParityCase) throws -> WanS2VTransformer {
    let config = try configuration(json)
    let read = try WanS2VConfiguration(
      readingFrom: weights, headDim: config.headDim, audioLayers: config.audioLayers)
    guard read == config else {
      throw LiveTalkError("the shapes of the weights tell other sizes than the configuration")
    }
    let store = ParameterStore(
      weights: weights, name: "weights.safetensors", device: golden.device, dtype: .float32, isFrozen: true)
    let model = try WanS2VTransformer(config, store.root)
    try store.finish()
    return model
  }

  /// The weights of a model of which a case holds a part; the rest is random and takes no part in what is compared.
  ///
  /// - Parameter build: makes the model, for its keys and shapes.
  static func weights(
    heldInPartBy golden: ParityCase, _ build: (ParameterPath) throws -> Void
  ) throws -> [String: Tensor] {
    let held = try golden.tensors("weights.safetensors")
    let shapes = ParameterStore.shapes()
    try build(shapes.root)
    let generator = RandomGenerator(seed: 1)
    let weights = shapes.layout.map { entry in
      (entry.name, held[entry.name] ?? entry.initial.tensor(entry.shape, .float32, generator).to(golden.device))
    }
    let unknown = Set(held.keys).subtracting(shapes.layout.map(\.name))
    guard unknown.isEmpty else { throw LiveTalkError("the case holds \(unknown.sorted()), which the model lacks") }
    return Dictionary(uniqueKeysWithValues: weights)
  }

  static func input(_ inputs: [String: Tensor], _ name: String) throws -> Tensor {
    guard let tensor = inputs[name] else { throw LiveTalkError("the case has no input '\(name)'") }
    return tensor
  }

  /// A prompt's rows `[L, textDim]` with zeros behind them, `[1, text_len, textDim]`.
  static func padded(text: Tensor, _ json: JSON) throws -> Tensor {
    text.pad(0, 0, 0, try json["text_len"].int() - text.size(0)).unsqueeze(0)
  }

  /// Audio `[A, S, E, N]` as rows of video frames `[A, N, S·E]`.
  static func rows(_ audio: Tensor) -> Tensor { audio.permute(0, 3, 1, 2).flatten(2) }

  /// The condition's keys or values of all layers, `[layers, M, H, D]`.
  static func condition(_ reference: WanS2VTransformer.Reference, _ config: WanS2VConfiguration) -> (
    keys: Tensor, values: Tensor
  ) {
    let layers = (0..<config.numLayers).map { reference.keysAndValues(layer: $0) }
    func all(_ rows: [Tensor]) -> Tensor { Tensor.cat(rows, 0).unflatten(-1, config.numHeads, -1) }
    return (all(layers.map(\.keys)), all(layers.map(\.values)))
  }
}

import Basics
import Foundation
import NN
import Testing
import Torch

@testable import Models

@Suite struct Wav2Vec2Tests {
  static let tiny = Wav2Vec2Configuration(
    width: 24, layers: 2, heads: 4, feedForwardWidth: 48, convolutionWidths: Array(repeating: 16, count: 7),
    positionKernel: 16, positionGroups: 4)

  static func weights(_ configuration: Wav2Vec2Configuration = tiny) -> [String: Tensor] {
    let store = ParameterStore(random: RandomGenerator(seed: 3))
    _ = Wav2Vec2(configuration, store.root)
    return Dictionary(uniqueKeysWithValues: store.parameters.map { ($0.name, $0.tensor) })
  }

  /// A voice-like sound: a glide with a slow beat, and some noise.
  static func sound(_ count: Int) -> [Float] {
    var noise: UInt32 = 1
    return (0..<count).map { index in
      let t = Double(index) / 16_000
      noise = noise &* 1_664_525 &+ 1_013_904_223
      let tone = sin(2 * .pi * (120 + 30 * sin(t)) * t) * (0.6 + 0.4 * sin(2 * .pi * 3 * t))
      return Float(0.3 * tone + 0.02 * (Double(noise >> 16) / 32_768 - 1))
    }
  }

  let weights = Self.weights()

  /// What transformers 4.49 saves for the bare encoder.
  private var native: [String: Tensor] {
    var native: [String: Tensor] = ["masked_spec_embed": Tensor.zeros([24])]
    for (key, tensor) in weights {
      native[
        key.replacingOccurrences(of: "conv.weight_g", with: "conv.parametrizations.weight.original0")
          .replacingOccurrences(of: "conv.weight_v", with: "conv.parametrizations.weight.original1")] = tensor
    }
    return native
  }

  /// What the hub holds.
  private var hub: [String: Tensor] {
    var hub = ["lm_head.weight": Tensor.zeros([32, 24]), "lm_head.bias": Tensor.zeros([32])]
    for (key, tensor) in weights { hub["wav2vec2.\(key)"] = tensor }
    return hub
  }

  private func encoder(_ weights: [String: Tensor]) throws -> Wav2Vec2 {
    let ours = try ModelKeys.audioEncoder.ours(weights, URL(fileURLWithPath: "/w/model.safetensors"))
    return try Wav2Vec2(Self.tiny, weights: ours, name: "model.safetensors")
  }

  @Test func `both spellings of the keys give the same features`() throws {
    let sound = Self.sound(8000)
    let fromHub = try encoder(hub).encode(sound, frameCount: 9)
    let fromNative = try encoder(native).encode(sound, frameCount: 9)
    #expect(fromHub.shape == [1, 9, 4 * 24])
    #expect(fromHub.equals(fromNative))
  }

  @Test func `a folder is read in either file format`() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("wav2vec2-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    #expect(throws: LiveTalkError.self) { try Wav2Vec2(folder: folder) }
    try JSONEncoder().encode(Self.tiny).write(to: folder.appendingPathComponent("config.json"))
    let error = try #require(throws: LiveTalkError.self) { try Wav2Vec2(folder: folder) }
    #expect(error.description.contains("neither model.safetensors nor pytorch_model.bin"))
    try writePickle(hub, to: folder.appendingPathComponent("pytorch_model.bin"))
    let fromPickle = try Wav2Vec2(folder: folder)
    #expect(fromPickle.configuration == Self.tiny)
    try writeSafetensors(native, to: folder.appendingPathComponent("model.safetensors"))
    let sound = Self.sound(4000)
    let features = try Wav2Vec2(folder: folder).encode(sound, frameCount: 5)
    #expect(features.equals(try fromPickle.encode(sound, frameCount: 5)))
  }

  @Test func `wrong keys are refused with all of them`() throws {
    var wrong = hub
    wrong["wav2vec2.encoder.layer_norm.weight"] = nil
    wrong["wav2vec2.encoder.layers.1.attention.q_proj.bias"] = Tensor.zeros([7])
    wrong["wav2vec2.encoder.layers.2.attention.q_proj.bias"] = Tensor.zeros([24])
    let error = try #require(throws: CheckpointMismatch.self) {
      try encoder(wrong)
    }
    #expect(error.missing == ["encoder.layer_norm.weight"])
    #expect(error.misshaped == ["encoder.layers.1.attention.q_proj.bias is [7], expected [24]"])
    #expect(error.unused == ["encoder.layers.2.attention.q_proj.bias"])
  }

  @Test func `the first and the last columns are the same state`() throws {
    let features = try encoder(hub).encode(Self.sound(8000), frameCount: 9)
    #expect(features.narrow(2, 0, 24).equals(features.narrow(2, 72, 24)))
    #expect(!features.narrow(2, 0, 24).equals(features.narrow(2, 48, 24)))
  }

  @Test func `the first and the last video frame see the first and the last feature row`() throws {
    var taps: [String: Tensor] = [:]
    let encoder = try self.encoder(hub)
    _ = try encoder.encode(Self.sound(8000), frameCount: 9) { taps[$0] = $1 }
    let features = try #require(taps["conv_features"])
    let frames = try #require(taps["interpolated"])
    #expect(features.shape == [1, 16, 24])
    #expect(frames.shape == [1, 9, 16])
    #expect(frames.select(1, 0).maxAbsDifference(features.select(2, 0)) < 1e-6)
    #expect(frames.select(1, 8).maxAbsDifference(features.select(2, 23)) < 1e-6)
    // Frame 4 lies in the middle between rows 11 and 12.
    let middle = (features.select(2, 11) + features.select(2, 12)) / 2
    #expect(frames.select(1, 4).maxAbsDifference(middle) < 1e-6)
  }

  @Test func `a video longer than the sound stretches it`() throws {
    let encoder = try self.encoder(hub)
    #expect(try encoder.encode(Self.sound(4000), frameCount: 41).shape == [1, 41, 96])
  }

  @Test func `a sound shorter than one feature is refused`() throws {
    let encoder = try self.encoder(hub)
    #expect(try encoder.encode(Self.sound(400), frameCount: 1).shape == [1, 1, 96])
    let error = try #require(throws: LiveTalkError.self) { try encoder.encode(Self.sound(399), frameCount: 1) }
    #expect(error.description.contains("at least 400 samples"))
    #expect(throws: LiveTalkError.self) { try encoder.encode([], frameCount: 1) }
    #expect(throws: LiveTalkError.self) { try encoder.encode(Self.sound(400), frameCount: 0) }
  }

  @Test func `silence is finite`() throws {
    let encoder = try self.encoder(hub)
    let features = try encoder.encode([Float](repeating: 0, count: 4000), frameCount: 5)
    #expect(features.isFinite().to(.int64).min().intItem == 1)
  }

  @Test func `the convolutions in parts give what they give at once`() throws {
    let store = ParameterStore(weights: weights, name: "w")
    let extractor = Wav2Vec2FeatureExtractor(Self.tiny, store.root / "feature_extractor")
    for count in [400, 720, 16_003, 35_999] {
      let x = AudioFeatures.normalized(Self.sound(count)).reshape(1, 1, -1)
      let whole = extractor(x)
      #expect(whole.size(2) == Self.tiny.featureRows(samples: count))
      for rows in [1, 7, 50, 1000] where count < 20_000 || rows > 1 {
        #expect(extractor.inParts(x, rows: rows).maxAbsDifference(whole) < 1e-5, "\(count) samples by \(rows)")
      }
    }
  }

  @Test func `windows that see the whole sound give what it gives at once`() throws {
    let encoder = try self.encoder(hub)
    let sound = Self.sound(48_000)
    let whole = try encoder.encode(sound, frameCount: 48)
    let windows = Wav2Vec2.Windows(longest: 20, length: 13, context: 48)
    #expect(try encoder.encode(sound, frameCount: 48, windows: windows).maxAbsDifference(whole) < 2e-5)
  }

  @Test func `windows with some context change the features little, joins included`() throws {
    let encoder = try self.encoder(hub)
    let sound = Self.sound(160_000)
    let whole = try encoder.encode(sound, frameCount: 160)
    let size = whole.abs().mean().item
    func difference(context: Int) throws -> (mean: Double, largest: Double) {
      let windows = Wav2Vec2.Windows(longest: 100, length: 64, context: context)
      let parts = try encoder.encode(sound, frameCount: 160, windows: windows)
      #expect(parts.shape == whole.shape)
      let distance = (parts - whole).abs()
      return (distance.mean().item / size, distance.max().item / size)
    }
    let (none, some) = (try difference(context: 0), try difference(context: 40))
    #expect(some.mean < 0.02)
    #expect(some.largest < 0.25)
    #expect(some.largest < none.largest / 2)
  }
}

@Suite struct Wav2Vec2ConfigurationTests {
  private func read(_ json: String) throws -> Wav2Vec2Configuration {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("config-\(UUID().uuidString).json")
    try Data(json.utf8).write(to: url)
    defer { try? FileManager.default.removeItem(at: url) }
    return try Wav2Vec2Configuration(contentsOf: url)
  }

  @Test func `sizes left out are those of the base model`() throws {
    #expect(try read("{}") == .base)
    #expect(
      try read(#"{"hidden_size": 24, "num_attention_heads": 4, "vocab_size": 32, "num_conv_pos_embedding_groups": 4}"#)
        .width == 24)
  }

  @Test func `the base model sees 400 samples every 320`() {
    #expect(Wav2Vec2Configuration.base.receptiveField == 400)
    #expect(Wav2Vec2Configuration.base.hop == 320)
    #expect(Wav2Vec2Configuration.base.featureRows(samples: 44_000) == 137)
    #expect(Wav2Vec2Configuration.base.featureRows(samples: 399) == 0)
    #expect(Wav2Vec2Configuration.base.outputWidth == 10_752)
  }

  @Test(arguments: [
    (#"{"feat_extract_norm": "batch"}"#, "not a configuration"),
    (#"{"hidden_act": "relu"}"#, "'hidden_act' is relu"), (#"{"model_type": "hubert"}"#, "'model_type' is hubert"),
    (#"{"hidden_size": 10}"#, "does not divide into 12 heads"),
    (#"{"num_hidden_layers": 0}"#, "is 0, not a number from 1"),
    (#"{"conv_dim": [512]}"#, "not lists of one length"), (#"{"hidden_size": "x"}"#, "not a configuration"),
    ("[]", "not a configuration"),
    ("", "the file is empty"),
  ])
  func `what this encoder is not is refused`(json: String, reason: String) throws {
    let error = try #require(throws: LiveTalkError.self) { try read(json) }
    #expect(error.description.contains(reason))
  }

  @Test func `the large model has 24 layers with norms before their halves, and 25 hidden states`() throws {
    let large = try read(
      #"""
      {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
       "conv_bias": true, "feat_extract_norm": "layer", "do_stable_layer_norm": true}
      """#)
    #expect(large == .large && large.statesWidth == 25 * 1024)
    let store = ParameterStore.shapes()
    _ = Wav2Vec2(large, store.root)
    // Less the head for recognition and what masks features in training.
    #expect(store.layout.count == 424 - 3)
  }

  @Test func `the published checkpoint has 212 tensors less the head`() {
    let store = ParameterStore.shapes()
    _ = Wav2Vec2(.base, store.root)
    #expect(store.layout.count == 210)
    let parameters = store.layout.map { $0.shape.reduce(1, *) }.reduce(0, +)
    #expect(parameters == 94_395_552 - 24_608)
  }
}

@Suite struct AudioFeaturesTests {
  @Test func `21 latent frames are 81 video frames and 80000 samples`() {
    var geometry = LatentGeometry.livetalk
    #expect(geometry.videoFrames(latentFrames: 21) == 81)
    #expect(geometry.sampleCount(latentFrames: 21) == 80_000)
    #expect(geometry.sampleCount(latentFrames: 12) == 44_000)
    #expect((1...82).map { geometry.latentFrames(holding: $0) } == (1...82).map { ($0 + 2) / 4 + 1 })
    geometry.framesPerSecond = 30
    #expect(geometry.sampleCount(latentFrames: 2) == 2133)
  }

  @Test func `a long sound is cut and a short one stays`() {
    let long = LatentGeometry.livetalk.trimmed([Float](repeating: 1, count: 9000), latentFrames: 3)
    #expect(long.count == 8000)
    #expect(LatentGeometry.livetalk.trimmed([1, 2, 3], latentFrames: 3) == [1, 2, 3])
  }

  @Test func `normalised samples have zero mean and unit variance, and silence stays silent`() {
    let x = AudioFeatures.normalized([1, 2, 3, 6])
    #expect(abs(x.mean().item) < 1e-6)
    #expect(abs(x.square().mean().item - 1) < 1e-6)
    #expect(AudioFeatures.normalized([0, 0]).array() == [0, 0] as [Float])
    // The variance 1e-8 is a tenth of what is added to it.
    let quiet = AudioFeatures.normalized([1e-4, -1e-4]).narrow(0, 0, 1).item
    let expected: Double = (1e-8 / 1.1e-7).squareRoot()
    #expect(abs(quiet - expected) < 1e-5)
  }
}

import Basics
import Foundation
import Models
import NN
import Torch

/// Goldens of the speech's way to the transformer: trimming, normalisation, values inside the encoder, the features.
enum Wav2Vec2Cases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let outputs = try golden.outputs()
    let encoders = try encoders(golden)
    let projections = try AudioProjections(golden)
    for run in golden.config["runs"].list {
      let name = try run["name"].string()
      let latentFrames = try run["num_frames"].int()
      let samples = try samples(golden, run, outputs, recorder)
      for (file, encoder) in encoders {
        var taps: [String: Tensor] = [:]
        let features = try encoder.encode(
          samples, frameCount: LatentGeometry.livetalk.videoFrames(latentFrames: latentFrames)
        ) { taps[$0] = $1 }
        taps["audio_embeddings"] = features
        let packed = projections.pack(features)
        taps["audio_packed"] = packed
        taps["audio_embed"] = projections.context(packed)
        for (tap, value) in taps.sorted(by: { $0.key < $1.key }) {
          try recorder.compare("\(name), \(file): \(tap)", value, outputs["\(name).\(tap)"], golden.tolerance())
        }
      }
    }
  }

  /// The trimmed samples of a run: read where a reader gives exactly what the reference had, else the reference's own.
  private static func samples(
    _ golden: ParityCase, _ run: JSON, _ outputs: [String: Tensor], _ recorder: ParityRecorder
  ) throws -> [Float] {
    let name = try run["name"].string()
    guard let expected = outputs["\(name).samples"] else { throw LiveTalkError("the case has no '\(name).samples'") }
    let rate = try golden.config["sample_rate"].int()
    var geometry = LatentGeometry.livetalk
    (geometry.framesPerSecond, geometry.sampleRate) = (try golden.config["fps"].int(), rate)
    let latentFrames = try run["num_frames"].int()
    func trimmed(_ samples: [Float]) -> [Float] {
      geometry.trimmed(samples, latentFrames: latentFrames)
    }
    let file = golden.directory.appendingPathComponent(try run["audio"].string())
    let wave = try WaveFile(contentsOf: file)
    if wave.sampleRate == rate, wave.channels == 1 {
      let read = trimmed(wave.samples)
      try recorder.compare("\(name): samples", Tensor(read), expected.to(.cpu), .exact)
      return read
    }
    // Another resampler differs by about a thousandth, so the encoder starts from the reference's samples.
    if let media = golden.media {
      let read = trimmed(try media.sound(file, rate))
      try recorder.compare("\(name): samples", Tensor(read), expected.to(.cpu), Tolerance(rtol: 0, atol: 1e-3))
    }
    return expected.array()
  }

  /// The encoder from every file of every folder of the case.
  private static func encoders(_ golden: ParityCase) throws -> [(String, Wav2Vec2)] {
    var encoders: [(String, Wav2Vec2)] = []
    for key in golden.config["model_dirs"].keys {
      let folder = golden.directory.appendingPathComponent(try golden.config["model_dirs"][key].string())
      let configuration = try Wav2Vec2Configuration(contentsOf: folder.appendingPathComponent("config.json"))
      for file in ["model.safetensors", "pytorch_model.bin"] {
        let url = folder.appendingPathComponent(file)
        guard FileManager.default.fileExists(atPath: url.path) else { continue }
        let encoder = try Wav2Vec2(
          configuration, weights: readWeights(url, of: .audioEncoder), name: file, device: golden.device)
        encoders.append(("\(key)/\(file)", encoder))
      }
    }
    guard !encoders.isEmpty else { throw LiveTalkError("the case has no model") }
    return encoders
  }
}

/// The transformer's audio layers on their own, as these cases hold them.
private struct AudioProjections {
  private let audioPack: AudioPack
  private let projections: [Linear]

  init(_ golden: ParityCase) throws {
    let store = ParameterStore(
      weights: try golden.tensors("weights.safetensors"), name: "weights.safetensors", device: golden.device)
    let width = try golden.config["audio_hidden_size"].int()
    let dim = try golden.config["dim"].int()
    audioPack = AudioPack(
      channels: try golden.config["audio_input_dim"].int(),
      patch: [LatentGeometry.livetalk.audioRowsPerLatentFrame, 1, 1], width: width,
      layerNorm: true, store.root / "audio_proj")
    projections = (0..<(try golden.config["num_audio_cond_projs"].int())).map {
      Linear(width, dim, store.root / "audio_cond_projs" / $0)
    }
    try store.finish()
  }

  func pack(_ features: Tensor) -> Tensor {  // [1, F, 1, 1, hidden]
    let first = features.narrow(1, 0, 1)
    return audioPack(Tensor.cat([first, first, first, features], 1).transpose(1, 2).unsqueeze(-1).unsqueeze(-1))
  }

  func context(_ packed: Tensor) -> Tensor { Tensor.cat(projections.map { $0(packed) }, 0) }
}

import Basics
import Foundation
import Models
import NN
import Torch

/// Goldens of the sound's way: file, hidden states, rows of video frames, the audio encoder, what it adds to tokens.
enum S2VAudioCases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let (inputs, outputs, tolerance) = (try golden.inputs(), try golden.outputs(), try golden.tolerance())
    let call = golden.json["call"]
    let clips = try call["clips"].int()
    let clipFrames = try call["infer_frames"].int()
    let (blocks, fps) = (try call["blocks"].int(), try call["fps"].int())
    let wave = try WaveFile(contentsOf: golden.directory.appendingPathComponent("audio.wav"))
    let encoder = try Wav2Vec2(folder: golden.directory.appendingPathComponent("wav2vec2"), device: golden.device)
    let states = try SpeechStates.states(encoder, wave.samples)
    recorder.expect(
      "clips", SpeechStates.publishedClips(places: states.size(1), framesPerClip: clipFrames) == clips)
    let features = SpeechStates.features(states, frames: clips * clipFrames, framesPerSecond: fps)
    var actual: [String: Tensor] = [
      "waveform": Tensor(wave.samples), "input_values": AudioFeatures.normalized(wave.samples).unsqueeze(0),
      "hidden_states": states, "features30": SpeechStates.resampled(states),
      "bucket_indices": Tensor(SpeechStates.places(frames: clips * clipFrames, framesPerSecond: fps)),
      "audio_embedding": features.unflatten(-1, states.size(0), -1).permute(0, 2, 3, 1),
    ]
    let model = try model(golden)
    let rows = clipFrames * clips / blocks
    let sounds = (0..<blocks).map { model.read(audioFeatures: features.narrow(1, $0 * rows, rows)) }
    let latentFrames = rows / 4
    func newest(_ x: Tensor) -> Tensor { x.narrow(1, x.size(1) - latentFrames, latentFrames) }
    actual["block0_audio_local_all"] = sounds[0].local
    actual["block0_audio_global_all"] = sounds[0].global
    actual["block_audio_local"] = Tensor.cat(sounds.map { newest($0.local) }, 0)
    actual["block_audio_global"] = Tensor.cat(sounds.map { newest($0.global) }, 0)
    let hidden = try LiveAvatarCases.input(inputs, "hidden")
    let after = try call["inject_after_block"].int()
    actual["injected"] = Tensor.cat(sounds.map { hidden + model.added(after: after, to: hidden, by: $0) }, 0)
    try recorder.compareAll(actual, outputs) { name in
      let stated = golden.json["tolerance"][name]
      return stated.exists ? Tolerance(rtol: 0, atol: try stated.double()) : tolerance
    }
  }

  /// The transformer, of which the case holds what reads sound; the rest is random and takes no part.
  private static func model(_ golden: ParityCase) throws -> WanS2VTransformer {
    let config = try LiveAvatarCases.configuration(golden.config)
    let weights = try LiveAvatarCases.weights(heldInPartBy: golden) { _ = try WanS2VTransformer(config, $0) }
    return try LiveAvatarCases.model(weights, golden.config, golden)
  }
}

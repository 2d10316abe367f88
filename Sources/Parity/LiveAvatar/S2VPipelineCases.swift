import Basics
import Foundation
import Generation
import Models
import NN
import Torch

/// Goldens of the whole way from picture and sound to video, by both published pipelines.
enum S2VPipelineCases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let outputs = try golden.outputs()
    let system = try System(golden, outputs, recorder)
    var actual: [String: Tensor] = [:]
    try system.pipelined(&actual)
    try system.single(&actual, online: false)
    try system.single(&actual, online: true)
    for (name, expected) in outputs.sorted(by: { $0.key < $1.key }) where name != "ref_pixels" {
      guard let value = actual[name] else { throw LiveTalkError("nothing computes the output '\(name)'") }
      let kind = name.hasSuffix("video") ? "video" : name.hasSuffix(".latents") ? "latents" : "encoded_latents"
      let stated = name == "tpp.audio" ? "latents" : kind
      let tolerance = Tolerance(rtol: 0, atol: try golden.json["tolerance"][stated].double())
      // Of the videos by one process the case holds every third frame.
      let isThinned = kind == "video" && value.size(1) != expected.size(1)
      try recorder.compare(name, isThinned ? value.slice(1, 0, value.size(1), step: 3) : value, expected, tolerance)
    }
  }

  private struct System {
    let transformer: WanS2VTransformer
    let vae: WanVAE
    let image: Tensor  // [1, 3, 1, H, W]
    let text, noise, features: Tensor
    let options: LiveAvatarOptions
    let blocks, clipFrames: Int

    init(_ golden: ParityCase, _ outputs: [String: Tensor], _ recorder: ParityRecorder) throws {
      let inputs = try golden.inputs()
      func input(_ name: String) throws -> Tensor { try LiveAvatarCases.input(inputs, name) }
      let weights = try golden.tensors("weights.safetensors")
      func part(_ prefix: String) -> [String: Tensor] {
        Dictionary(
          uniqueKeysWithValues: weights.compactMap { key, tensor in
            key.hasPrefix(prefix) ? (String(key.dropFirst(prefix.count)), tensor) : nil
          })
      }
      transformer = try LiveAvatarCases.model(part("dit."), golden.config["dit"], golden)
      vae = try WanVAE(weights: part("vae."), name: golden.name, device: golden.device)
      try recorder.expect("configuration", vae.configuration == VAECases.configuration(golden.config["vae"]))
      let call = golden.json["call"]
      let size = ReferencePicture.Size(height: try call["height"].int(), width: try call["width"].int())
      guard let expected = outputs["ref_pixels"] else { throw LiveTalkError("the case has no output 'ref_pixels'") }
      if let media = golden.media {
        let picture = try media.picture(golden.directory.appendingPathComponent("ref.png"))
        try recorder.compare(
          "ref_pixels", ReferencePicture.prepared(picture, size).squeeze(0).squeeze(1), expected,
          Tolerance(rtol: 0, atol: try golden.json["tolerance"]["ref_pixels"].double()))
      }
      // Another resizing differs by a level of a byte, so the models start from the reference's pixels.
      image = expected.unsqueeze(1).unsqueeze(0)
      text = try LiveAvatarCases.padded(text: try input("text"), golden.config["dit"])
      noise = try input("noise")
      blocks = try call["blocks"].int()
      let (clips, steps) = (try call["clips"].int(), try call["steps"].int())
      clipFrames = try call["infer_frames"].int()
      let distances = try input("relative_distance").array(Int.self)
      options = LiveAvatarOptions(
        steps: steps, blocksPerClip: blocks / clips, windowBlocks: try call["window_blocks"].int(),
        adaptiveSink: .released, sinkDistance: .given { distances[$0 * steps + $1] })
      let wave = try WaveFile(contentsOf: golden.directory.appendingPathComponent("audio.wav"))
      let encoder = try Wav2Vec2(folder: golden.directory.appendingPathComponent("wav2vec2"), device: golden.device)
      features = SpeechStates.features(
        try SpeechStates.states(encoder, wave.samples), frames: clips * clipFrames,
        framesPerSecond: try call["fps"].int())
    }

    private var source: NoiseSource {
      let noise = noise
      return NoiseSource(
        initial: { block, _ in noise.select(0, block).unsqueeze(0) }, renewed: { _, _, shape in .zeros(shape) })
    }

    private func rows(_ block: Int) -> Tensor {
      let count = features.size(1) / blocks
      return features.narrow(1, block * count, count)
    }

    /// The pipeline over several GPUs: what serves here.
    func pipelined(_ actual: inout [String: Tensor]) throws {
      let conditions = LiveAvatarConditions(image, vae, encoding: .oneFrame)
      let session = try LiveAvatarSession(
        transformer: transformer, vae: vae, conditions: conditions, textEmbedding: text, options: options, noise: source
      )
      var decoder = LiveAvatarDecoder(vae, motion: conditions.motion)
      let latents = (0..<blocks).map { session.denoise(audioFeatures: rows($0)) }
      actual["tpp.audio"] = features.unflatten(-1, transformer.config.audioStates, -1).permute(0, 2, 3, 1)
      actual["tpp.latents"] = Tensor.cat(latents, 2).squeeze(0)
      actual["tpp.motion_latents"] = conditions.motion
      actual["tpp.ref_latents"] = conditions.sink
      actual["tpp.video"] = Tensor.cat(latents.map { decoder.decode($0) }, 2).squeeze(0)
    }

    /// The system of one GPU. It decodes clip by clip behind latents of the frames so far, which it encodes again after each clip; online,
    /// the first clip is decoded before the second and its frames go into the second sink.
    func single(_ actual: inout [String: Tensor], online: Bool) throws {
      let name = online ? "single_online" : "single"
      let conditions = LiveAvatarConditions(image, vae, encoding: .fiveFrames)
      var options = options
      options.adaptiveSink = .never
      let rollout = try LiveAvatarRollout(
        transformer: transformer, conditions: conditions, textEmbedding: text, options: options, noise: source)
      var history = image.expand(1, 3, 5 * WanS2VTransformer.motionVideoFrames, image.size(3), image.size(4))
      var before = vae.encode(video: history)
      var (clips, video): ([Tensor], [Tensor]) = ([], [])
      func tail(_ latents: Tensor) -> Tensor {
        let count = WanS2VTransformer.motionLatentFrames
        return latents.narrow(2, latents.size(2) - count, count)
      }
      func decodeClip(_ clip: Tensor) {
        let whole = vae.decode(Tensor.cat([before, clip], 2))
        let kept = clipFrames - (video.isEmpty ? 3 : 0)
        video.append(whole.narrow(2, whole.size(2) - kept, kept))
        history = Tensor.cat([history.narrow(2, kept, history.size(2) - kept), video[video.count - 1]], 2)
        before = vae.encode(video: history)
      }
      for start in stride(from: 0, to: blocks, by: options.blocksPerClip) {
        if online, start == options.blocksPerClip {
          decodeClip(clips[0])
          rollout.setSink(clips[0].narrow(2, 0, 1), motion: tail(before))
          actual["\(name).motion_latents_tail"] = tail(before)
        }
        let clip = (start..<start + options.blocksPerClip).map { block in
          rollout.next(audio: transformer.read(audioFeatures: rows(block)))
        }
        clips.append(Tensor.cat(clip, 2))
      }
      for clip in clips.dropFirst(video.count) { decodeClip(clip) }
      if !online {
        actual["\(name).ref_latents"] = conditions.sink
        actual["\(name).motion_latents_tail"] = conditions.motion
      }
      actual["\(name).latents"] = Tensor.cat(clips, 2).squeeze(0)
      actual["\(name).video"] = Tensor.cat(video, 2).squeeze(0)
    }
  }
}

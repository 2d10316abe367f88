import Basics
import Generation
import Models
import NN
import Torch

/// Goldens of streaming decoding: primed with latent frames of the picture, then block by block.
enum S2VDecodingCases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let (inputs, outputs, tolerance) = (try golden.inputs(), try golden.outputs(), try golden.tolerance())
    let vae = try vae(golden)
    let prime = try LiveAvatarCases.input(inputs, "prime")
    let latents = try LiveAvatarCases.input(inputs, "latents")
    guard try golden.json["call"]["prime_frames"].int() == LiveAvatarDecoder.primingFrames else {
      throw LiveTalkError("the decoder is primed with another number of frames")
    }
    var decoder = LiveAvatarDecoder(vae, motion: prime)
    let video = Tensor.cat((0..<latents.size(0)).map { decoder.decode(latents.select(0, $0).unsqueeze(0)) }, 2)
    var stream = vae.stream()
    let primeVideo = stream.decode(prime)
    for (name, expected) in outputs.sorted(by: { $0.key < $1.key }) {
      if name == "video" {
        try recorder.compare(name, video.squeeze(0), expected, tolerance)
      } else if name == "prime_video" {
        try recorder.compare(name, primeVideo.squeeze(0), expected, tolerance)
      } else if name.hasPrefix("cache_after_prime."), let slot = Int(name.dropFirst("cache_after_prime.".count)),
        slot < stream.rememberedFrames.count, let ours = stream.rememberedFrames[slot]
      {
        try recorder.compare(
          name, ours.narrow(2, ours.size(2) - expected.size(2), expected.size(2)), expected, tolerance)
      } else {
        throw LiveTalkError("nothing computes the output '\(name)'")
      }
    }
    // Frames of a stream are those of one pass over everything.
    let whole = vae.decode(Tensor.cat([prime] + (0..<latents.size(0)).map { latents.select(0, $0).unsqueeze(0) }, 2))
    let kept = video.size(2)
    try recorder.compare(
      "video decoded whole", whole.narrow(2, whole.size(2) - kept, kept).squeeze(0), outputs["video"], tolerance)
  }

  /// The autoencoder, of which a case may hold only what decodes; the rest is random and takes no part.
  static func vae(_ golden: ParityCase) throws -> WanVAE {
    let configuration = try VAECases.configuration(golden.config)
    let weights = try LiveAvatarCases.weights(heldInPartBy: golden) { _ = WanVAE(configuration, $0) }
    let store = ParameterStore(weights: weights, name: "weights.safetensors", device: golden.device)
    let vae = WanVAE(configuration, store.root)
    try store.finish()
    return vae
  }
}

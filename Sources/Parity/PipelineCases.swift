import Basics
import FoundationEssentials
import Generation
import Models
import NN
import Torch

/// Goldens of the whole way from picture, sound and prompt to frames.
enum PipelineCases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let (inputs, outputs) = (try golden.inputs(), try golden.outputs())
    let root = golden.directory.appendingPathComponent(try golden.config["checkpoint_dir"].string()).standardized
    let folder = try CheckpointFolder(root, headDim: try TransformerCases.configuration(golden.config["dit"]).headDim)
    let models = try AvatarModels(loading: folder, device: golden.device, dtype: .float32)
    guard models.transformer.config == (try TransformerCases.configuration(golden.config["dit"])) else {
      throw LiveTalkError("the shapes of the checkpoint tell other sizes than the configuration")
    }
    let latentTolerance = try golden.tolerance("latents")

    let prompt = try golden.config["prompt"].string()
    let text = try folder.encodeText(prompt, device: golden.device, dtype: .float32)
    try recorder.compareIntermediate("prompt_embeds", text, outputs["prompt_embeds"], latentTolerance)

    let reference = try referenceLatent(golden, models, outputs, recorder, latentTolerance)
    let args = golden.config["args"]
    let latentFrames = try golden.config["num_frames"].int()
    let sampleRate = try args["sample_rate"].int()
    let sound = golden.directory.appendingPathComponent(try golden.config["audio"].string())
    let samples = try golden.media?.sound(sound, sampleRate) ?? WaveFile(contentsOf: sound).samples
    var geometry = LatentGeometry.livetalk
    (geometry.framesPerSecond, geometry.sampleRate) = (try args["fps"].int(), sampleRate)
    let features = try models.audioEncoder.encode(
      geometry.trimmed(samples, latentFrames: latentFrames),
      frameCount: geometry.videoFrames(latentFrames: latentFrames))
    let audio = models.transformer.audioContext(packed: models.transformer.pack(audioFeatures: features))
    try recorder.compareIntermediate(
      "audio_embed", audio.squeeze(1).unsqueeze(2).unsqueeze(2), outputs["audio_embed"], latentTolerance)

    guard let noise = inputs["noise"], let renoise = inputs["renoise"] else {
      throw LiveTalkError("the case has no noise")
    }
    let n = try args["num_frame_per_block"].int()
    let renewals = try args["num_steps"].int() - 1
    let source = NoiseSource(
      initial: { block, _ in noise.narrow(1, block * n, n).transpose(1, 2) },
      renewed: { block, step, _ in renoise.select(0, block * renewals + step).transpose(0, 1).unsqueeze(0) })
    var calls: [(x: Tensor, flow: Tensor)] = []
    let options = SessionOptions(
      policy: .anchorHeavy(sinks: try golden.config["sink_size"].int(), window: try args["local_attn_size"].int()),
      steps: try args["num_steps"].int(), framesPerBlock: n, clipFrames: latentFrames)
    let session = try models.session(
      referenceLatent: reference, text: text, options: options, noise: source,
      tap: { x, _, flow in calls.append((x.clone(), flow.clone())) })

    var latents: [Tensor] = []
    var bytes: [Tensor] = []
    var stream = models.vae.stream()
    var video: [Tensor] = []
    for block in 0..<(latentFrames / n) {
      let start = block == 0 ? 0 : 4 * block * n - 3
      let rows = session.videoFramesInNextBlock
      let clean = session.denoise(audioFeatures: features.narrow(1, start, rows))
      latents.append(clean)
      let decoded = stream.decode(clean)
      video.append((decoded * 0.5 + 0.5).clamp(0, 1))
      bytes.append(WanVAE.pixels(decoded))
    }
    let perFrame = { (x: Tensor) in x.squeeze(0).transpose(0, 1) }  // [1, 16, n, H, W] → [n, 16, H, W]
    let callTolerance = try golden.tolerance("calls")
    try recorder.compareIntermediate(
      "calls.x", Tensor.stack(calls.map { perFrame($0.x) }, 0), outputs["calls.x"], callTolerance)
    try recorder.compareIntermediate(
      "calls.flow", Tensor.stack(calls.map { perFrame($0.flow) }, 0), outputs["calls.flow"], callTolerance)
    try recorder.compare("latents", Tensor.cat(latents, 2).transpose(1, 2), outputs["latents"], latentTolerance)
    let frames = Tensor.cat(video, 2).transpose(1, 2)
    try recorder.compare("video", frames, outputs["video"], golden.tolerance("video"))
    // One pass over the whole clip must give what the stream gave, and what the reference gave.
    let whole = models.vae.decode(Tensor.cat(latents, 2))
    try recorder.compare(
      "video decoded whole", ((whole * 0.5 + 0.5).clamp(0, 1)).transpose(1, 2), outputs["video"],
      golden.tolerance("video"))
    if let expected = outputs["video_u8"], let exact = outputs["video"] {
      try compareBytes(Tensor.cat(bytes, 0), expected, exact, recorder)
    }
    for layer in 0..<models.transformer.config.numLayers {
      let (keys, values) = session.rollout.memory().ordered(layer: layer)
      for (name, rows) in [("k", keys), ("v", values)] {
        try TransformerCases.compareCache("final_cache.layer\(layer).\(name)", rows, outputs, recorder) {
          try recorder.compare($0, $1, outputs[$0], latentTolerance)
        }
      }
    }
  }

  /// The encoded picture; where no picture can be read, that of the reference.
  private static func referenceLatent(
    _ golden: ParityCase, _ models: AvatarModels, _ outputs: [String: Tensor], _ recorder: ParityRecorder,
    _ tolerance: Tolerance
  ) throws -> Tensor {
    let expected = outputs["img_lat"].map { $0.narrow(1, 0, $0.size(1) - 1).narrow(2, 0, 1) }
    guard let media = golden.media else {
      guard let expected else {
        throw LiveTalkError("the case has no output 'img_lat', and no picture can be read here")
      }
      return expected.contiguous()
    }
    let args = golden.config["args"]
    let sizes = try args["image_sizes_\(try args["max_hw"].int())"].list.map {
      let numbers = try $0.ints()
      return ReferencePicture.Size(height: numbers[0], width: numbers[1])
    }
    let pixels = try media.picture(golden.directory.appendingPathComponent(try golden.config["image"].string()))
    let given = ReferencePicture.Size(height: pixels.height, width: pixels.width)
    guard let size = ReferencePicture.size(of: sizes, closestTo: given) else {
      throw LiveTalkError("the case names no size")
    }
    let latent = try models.referenceLatent(pixels, size)
    try recorder.compareIntermediate("img_lat", latent, expected, tolerance)
    return latent
  }

  /// Bytes differ by one level at most, and only where the reference's value is within a tenth of a whole number.
  private static func compareBytes(
    _ bytes: Tensor, _ expected: Tensor, _ video: Tensor, _ recorder: ParityRecorder
  ) throws {
    let difference = (bytes.to(.int64) - expected.to(.int64)).abs()
    let level = video.squeeze(0).permute(0, 2, 3, 1).to(.float64) * 255
    let nearWhole = (level - level.round()).abs() .<= 0.1
    let allowed = (difference .== 0) .| ((difference .<= 1) .& nearWhole)
    recorder.expect("video_u8", allowed.to(.int64).min().intItem == 1)
  }
}

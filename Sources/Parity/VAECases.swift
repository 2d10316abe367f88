import Basics
import Foundation
import Models
import Torch

/// Compares the Wan autoencoder: encoding where a case gives pixels, decoding of a stream where it names chunks, else decoding
/// of the whole.
enum VAECases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let weights = try golden.tensors(try golden.json["weights"]["file"].string())
    let vae = try WanVAE(weights: weights, name: golden.name, device: golden.device)
    try recorder.expect("configuration", vae.configuration == configuration(golden.config))

    let inputs = try golden.inputs()
    var expected = try golden.outputs()
    let tolerance = try golden.tolerance()
    var taps = Taps()
    if let pixels = inputs["pixels"] {
      taps.add("latent", framesSecond(pixels.size(2) == 1 ? vae.encode(image: pixels) : vae.encode(video: pixels)))
      _ = vae.moments(video: pixels) { taps.add($0, $1) }
    } else if let latent = inputs["latent"] {
      let channelsFirst = framesSecond(latent)
      if golden.config["chunks"].exists {
        try streaming(golden, vae, channelsFirst, &expected, recorder)
        taps.add("full", framesSecond(vae.decode(channelsFirst)))
      } else {
        taps.add("pixels", framesSecond(vae.decode(channelsFirst)))
        var stream = vae.stream()
        _ = stream.decode(channelsFirst, clamped: true) { name, value in
          taps.add(name, name == "raw" ? framesSecond(value) : value)
        }
      }
    } else {
      throw LiveTalkError("the case has neither pixels nor a latent")
    }
    let (mean, inverseDeviation) = vae.latentConstants
    taps.add("mean", mean.flatten())
    taps.add("std", inverseDeviation.reciprocal().flatten())
    try taps.compare(expected, tolerance, recorder)
  }

  static func configuration(_ json: JSON) throws -> WanVAEConfiguration {
    guard json["attn_scales"].list.isEmpty else { throw LiveTalkError("the reference cannot run with attn_scales") }
    let isResidual = json["dec_dim"].exists  // only Wan 2.2 has one
    return WanVAEConfiguration(
      width: try json["dim"].int(), decoderWidth: isResidual ? try json["dec_dim"].int() : nil,
      latentChannels: try json["z_dim"].int(), widthMultipliers: try json["dim_mult"].ints(),
      residualBlocks: try json["num_res_blocks"].int(),
      temporalDownsampling: try json["temperal_downsample"].bools(), patchSize: isResidual ? 2 : 1,
      isResidual: isResidual)
  }

  /// Decodes chunk by chunk, encoding something in between, and takes what it compared out of `expected`.
  private static func streaming(
    _ golden: ParityCase, _ vae: WanVAE, _ latent: Tensor, _ expected: inout [String: Tensor],
    _ recorder: ParityRecorder
  ) throws {
    let tolerance = try golden.tolerance()
    var stream = vae.stream()
    var start = 0
    for (chunk, length) in try golden.config["chunks"].ints().enumerated() {
      let video = stream.decode(latent.narrow(2, start, length))
      start += length
      try recorder.compare(
        "chunk\(chunk)", framesSecond(video), expected.removeValue(forKey: "chunk\(chunk)"), tolerance)
      _ = vae.encode(image: video.narrow(2, 0, 1))

      let remembered = stream.rememberedFrames
      let kinds = golden.config["cache_kinds_after_chunk\(chunk)"].list
      for (slot, kind) in kinds.enumerated() {
        let holds = slot < remembered.count && remembered[slot] != nil
        recorder.expect("cache_kinds_after_chunk\(chunk).\(slot)", holds == (try kind.string() == "tensor"))
      }
      for key in expected.keys.sorted() where key.hasPrefix("cache_after_chunk\(chunk).") {
        guard let slot = key.split(separator: ".").last.flatMap({ Int($0) }), slot < remembered.count,
          let ours = remembered[slot], let theirs = expected.removeValue(forKey: key)
        else { throw LiveTalkError("no cache slot for '\(key)'") }
        // Where the reference remembers one frame, we remember the zeros before it as well.
        let lead = ours.size(2) - theirs.size(2)
        try recorder.compare(key, ours.narrow(2, lead, theirs.size(2)), theirs, tolerance)
        if lead > 0 { recorder.expect("\(key) lead", ours.narrow(2, 0, lead).abs().max().item == 0) }
      }
    }
  }

  /// `[B, C, T, H, W]` to `[B, T, C, H, W]`, or back.
  private static func framesSecond(_ x: Tensor) -> Tensor { x.transpose(1, 2) }
}

/// Intermediate results by name, those of several passes one after another in time.
private struct Taps {
  private var values: [String: [Tensor]] = [:]

  mutating func add(_ name: String, _ value: Tensor) { values[name, default: []].append(value) }

  /// Compares everything expected. What is named `name.callN` is the N-th stretch of frames of `name`.
  func compare(_ expected: [String: Tensor], _ tolerance: Tolerance, _ recorder: ParityRecorder) throws {
    for (name, value) in expected.sorted(by: { $0.key < $1.key }) {
      let (base, call) = Self.split(name)
      guard let parts = values[base] else { throw LiveTalkError("the output '\(name)' has no counterpart") }
      let whole = parts.count == 1 ? parts[0] : Tensor.cat(parts, 2)
      guard let call else {
        try recorder.compare(name, whole, value, tolerance)
        continue
      }
      let start = try (0..<call).reduce(0) { sum, earlier in
        guard let before = expected["\(base).call\(earlier)"] else {
          throw LiveTalkError("'\(name)' stands without the calls before it")
        }
        return sum + before.size(2)
      }
      guard start + value.size(2) <= whole.size(2) else {
        throw LiveTalkError("'\(name)' lies past the frames of ours")
      }
      try recorder.compare(name, whole.narrow(2, start, value.size(2)), value, tolerance)
    }
  }

  private static func split(_ name: String) -> (base: String, call: Int?) {
    guard let dot = name.range(of: ".call", options: .backwards), let call = Int(name[dot.upperBound...]) else {
      return (name, nil)
    }
    return (String(name[..<dot.lowerBound]), call)
  }
}

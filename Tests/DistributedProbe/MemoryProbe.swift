import Foundation
import Generation
import Models
import Torch

extension Probe {
  /// Measures what each kind of work takes beside what a session holds: the peak of resident memory while it lasts. Alone in its process, and
  /// with a C library that gives freed memory back at once.
  ///
  /// Arguments: a preset, height and width of the video, a type, what is measured.
  static func memory(_ arguments: [String]) throws {
    let numbers = arguments.dropFirst().prefix(2).compactMap { Int($0) }
    guard arguments.count > 4, numbers.count == 2, let dtype = ["fp32": DType.float32, "bf16": .bfloat16][arguments[3]]
    else {
      throw TorchError("usage: distributed-probe memory preset H W fp32|bf16 picture|step|frames …")
    }
    let models: any SessionModels
    if let preset = LiveAvatarPreset(named: arguments[0]) {
      models = try LiveAvatarModels(random: preset, device: .cpu, dtype: dtype)
    } else if let preset = ModelPreset(named: arguments[0]) {
      models = try AvatarModels(random: preset, device: .cpu, dtype: dtype)
    } else {
      throw TorchError("There is no preset \(arguments[0]).")
    }
    try withInferenceMode {
      let generator = RandomGenerator(seed: 1)
      let image = (generator.uniform([1, 3, 1, numbers[0], numbers[1]]) * 2 - 1).to(dtype)
      let text = generator.normal([1, models.settings.textRows, models.textWidth], dtype)
      let options = SessionOptions(models.settings)
      if arguments.contains("picture") {
        let bytes = try peak { _ = try models.encode(image: image, options: options, tap: nil) }
        say("encoding of the picture, once: \(bytes)")
      }
      guard arguments.contains("step") || arguments.contains("frames") else { return }
      let session = try models.session(image: image, textEmbedding: text, options: options)
      var sound = models.speechStream(framesPerBlock: options.framesPerBlock)
      func features() throws -> Tensor {
        while true {
          if let features = try sound.next() { return features }
          sound.append((generator.normal([4000]) * 0.1).array(Float.self))
        }
      }
      // Until the caches are full.
      var latents = session.denoise(audioFeatures: try features())
      for _ in 0..<5 { latents = session.denoise(audioFeatures: try features()) }
      let rows = try features()
      if arguments.contains("step") {
        say("denoising step: \(peak { latents = session.denoise(audioFeatures: rows) })")
      }
      guard arguments.contains("frames") else { return }
      _ = try session.decode(latents).read()
      say("decoding of a block: \(try peak { _ = try session.decode(latents).read() })")
    }
  }

  /// Bytes at the peak of work that has run before, beyond those that are held before it.
  private static func peak(_ work: () throws -> Void) rethrows -> Int {
    try work()
    try? Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs"))
    let before = resident("VmRSS:")
    try work()
    return resident("VmHWM:") - before
  }

  private static func resident(_ name: String) -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
    return 1024 * (line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0)
  }
}

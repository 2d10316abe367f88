import Foundation
import Generation
import Models
import Torch

/// What a benchmark measures and how.
struct BenchmarkPlan {
  var models: any SessionModels
  /// What the models are called in the report.
  var name: String
  var size: ReferencePicture.Size
  var options: SessionOptions
  /// What the cache keeps, in words.
  var policy: String
  /// Blocks that fill the cache.
  var cacheBlocks: Int
  /// Blocks with the cache full before the measured ones.
  var warmUpBlocks: Int
  var blocks: Int
  /// Encodes the prompt, where there is a text encoder to measure.
  var encodeText: (() throws -> Tensor)?
  /// Length of the text context where there is none.
  var textTokens: Int
}

/// Times of one kind, in milliseconds.
struct Timings: Codable {
  let p50: Double
  let p99: Double
  let count: Int

  init(_ milliseconds: [Double]) {
    let sorted = milliseconds.sorted()
    func percentile(_ p: Double) -> Double {
      sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int((p * Double(sorted.count)).rounded(.up)) - (p > 0 ? 1 : 0))]
    }
    p50 = percentile(0.5)
    p99 = percentile(0.99)
    count = sorted.count
  }
}

/// The figures of one benchmark: the last line of its output, as JSON.
struct BenchmarkReport: Codable {
  var name: String
  var device: String
  var dtype: String
  var torch: String
  var threads: Int
  var height: Int
  var width: Int
  var policy: String
  var steps: Int
  /// Tokens that attention sees in a measured block.
  var cachedTokens: Int
  var blocks: Int
  /// Milliseconds: the text encoder, the picture's encoding.
  var textEncodeMs: Double?
  var pictureEncodeMs: Double
  /// Milliseconds from the arrival of the first block's sound to its frames on the host, in a new session.
  var timeToFirstFrameMs: Double
  /// Milliseconds of the stages on their own, each waited for.
  var audio: Timings
  var denoiseCall: Timings
  var commit: Timings
  var decode: Timings
  /// Milliseconds per block of the whole loop, from its sound to its frames on the host, denoising and decoding overlapping
  /// where the device can.
  var block: Timings
  /// Video frames per second of the whole loop.
  var framesPerSecond: Double
  var peakMemoryBytes: Int
}

/// Runs the loop of a session and its stages one by one.
enum Benchmark {
  static func run(_ plan: BenchmarkPlan, progress: (String) -> Void) throws -> BenchmarkReport {
    let models = plan.models
    let device = models.device
    for device in models.devices { device.resetPeakMemory() }
    progress("conditions")
    var text: Tensor?
    var textMs: Double?
    if let encodeText = plan.encodeText {
      textMs = try milliseconds(device) { text = try encodeText() }
    }
    let generator = RandomGenerator(seed: 1, device: device)
    let textEmbedding =
      text?.to(device, models.dtype)
      ?? generator.normal([1, plan.textTokens, models.textWidth], models.dtype)
    let picture = generator.normal([1, 3, 1, plan.size.height, plan.size.width], models.dtype).clamp(-1, 1)
    _ = models.vae.encode(image: picture)
    let pictureMs = milliseconds(device) { _ = models.vae.encode(image: picture) }
    let clock = PassClock(device)
    func session() throws -> any BlockSession {
      try models.session(
        image: picture, textEmbedding: textEmbedding, options: plan.options, tap: { _, _, _ in clock.tick() })
    }

    progress("time to first frame")
    // Each session is let go before the next is made: a GPU may hold a large model's cache once only.
    func firstBlock() throws -> (session: any BlockSession, milliseconds: Double) {
      let live = try session()
      var sound = try LiveSound(models, plan.options)
      return (live, try milliseconds(device) { _ = try live.next(audioFeatures: try sound.features()).read() })
    }
    _ = try firstBlock()  // what is made on first use is made now
    var firsts: [Double] = []
    repeat { firsts.append(try firstBlock().milliseconds) } while firsts.count < 3 && firsts[0] < 10_000

    progress("warming up with the cache full")
    let live = try firstBlock().session
    live.skip(blocks: plan.cacheBlocks - 1)
    var sound = try LiveSound(models, plan.options, after: min(plan.cacheBlocks, 8))
    for _ in 0..<plan.warmUpBlocks { _ = try live.next(audioFeatures: try sound.features()).read() }

    progress("the whole loop: \(plan.blocks) blocks")
    var blockTimes: [Double] = []
    var pending: PendingFrames?
    let start = ContinuousClock.now
    var last = start
    for _ in 0..<plan.blocks {
      let frames = live.next(audioFeatures: try sound.features())
      _ = try pending?.read()
      pending = frames
      let now = ContinuousClock.now
      blockTimes.append((now - last) / .milliseconds(1))
      last = now
    }
    _ = try pending?.read()
    let total = (ContinuousClock.now - start) / .milliseconds(1)
    let frameCount = plan.blocks * plan.options.framesPerBlock * live.geometry.temporalStride

    progress("stages")
    var audioTimes: [Double] = []
    var decodeTimes: [Double] = []
    var calls: [Double] = []
    var commits: [Double] = []
    for _ in 0..<plan.blocks {
      var rows: Tensor?
      audioTimes.append(try milliseconds(device) { rows = try sound.features() })
      guard let rows else { continue }
      let (latents, passes) = clock.time { live.denoise(audioFeatures: rows) }
      calls += passes.prefix(plan.options.steps)
      commits += passes.dropFirst(plan.options.steps)
      decodeTimes.append(try milliseconds(device) { _ = try live.decode(latents).read() })
    }
    return BenchmarkReport(
      name: plan.name, device: models.devices.map(\.description).joined(separator: ", "), dtype: "\(models.dtype)",
      torch: Torch.version, threads: Torch.threads,
      height: plan.size.height, width: plan.size.width, policy: plan.policy, steps: plan.options.steps,
      cachedTokens: live.cachedTokens, blocks: plan.blocks,
      textEncodeMs: textMs, pictureEncodeMs: pictureMs, timeToFirstFrameMs: Timings(firsts).p50,
      audio: Timings(audioTimes),
      denoiseCall: Timings(calls), commit: Timings(commits), decode: Timings(decodeTimes), block: Timings(blockTimes),
      framesPerSecond: Double(frameCount) / total * 1000,
      peakMemoryBytes: models.devices.map(\.memory.peak).reduce(0, +))
  }
}

/// Sound as a live session hears it: as much as the next block needs, of noise, since the encoder's work does not depend on what is said.
struct LiveSound {
  private let noise: [Float]
  private var stream: SpeechFeatureStream

  /// - Parameter blocks: how many were heard before: the first ones have less past to be encoded with.
  init(_ models: any SessionModels, _ options: SessionOptions, after blocks: Int = 0) throws {
    noise = (RandomGenerator(seed: 2).normal([4000]) * 0.1).array()
    stream = models.speechStream(framesPerBlock: options.framesPerBlock)
    for _ in 0..<blocks { _ = try features() }
  }

  mutating func features() throws -> Tensor {
    while true {
      if let features = try stream.next() { return features }
      stream.append(noise)
    }
  }
}

/// Times the passes of the transformer within a block, when asked to.
private final class PassClock {
  private let device: Device
  private var ticks: [ContinuousClock.Instant]?

  init(_ device: Device) { self.device = device }

  func tick() {
    guard ticks != nil else { return }
    device.synchronize()
    ticks?.append(.now)
  }

  /// Runs `body` and gives the milliseconds of each pass in it.
  func time<Result>(_ body: () -> Result) -> (Result, [Double]) {
    device.synchronize()
    ticks = [.now]
    let result = body()
    let stamps = ticks ?? []
    ticks = nil
    return (result, zip(stamps.dropFirst(), stamps).map { ($0 - $1) / .milliseconds(1) })
  }
}

/// The time that `body` and the work it queues take.
func milliseconds(_ device: Device, _ body: () throws -> Void) rethrows -> Double {
  device.synchronize()
  let start = ContinuousClock.now
  try body()
  device.synchronize()
  return (ContinuousClock.now - start) / .milliseconds(1)
}

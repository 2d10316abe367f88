import Basics
import CFFmpeg

/// Changes the rate of mono Float32 sound piece by piece. With soxr it is soxr's HQ recipe (20 bits), which
/// librosa calls `soxr_hq`; an FFmpeg without soxr uses swresample's own filter, made long.
package final class Resampler {
  private var context: OpaquePointer?
  private let sourceRate: Int
  private let targetRate: Int
  private var buffer: [Float] = []

  /// Whether this FFmpeg was built with soxr.
  package static var hasSoxr: Bool { String(cString: swresample_configuration()).contains("--enable-libsoxr") }

  package init(from sourceRate: Int, to targetRate: Int, usesSoxr: Bool = Resampler.hasSoxr) throws {
    self.sourceRate = sourceRate
    self.targetRate = targetRate
    guard sourceRate != targetRate else { return }
    FFmpeg.begin()
    context = cff_mono_resampler(Int32(sourceRate), Int32(targetRate))
    let options = UnsafeMutableRawPointer(context)
    if usesSoxr {
      av_opt_set(options, "resampler", "soxr", 0)
      av_opt_set_double(options, "precision", 20, 0)
    } else {
      av_opt_set_int(options, "filter_size", 128, 0)
      av_opt_set_double(options, "cutoff", 0.96, 0)
    }
    guard let context, swr_init(context) >= 0 else {
      swr_free(&context)
      throw LiveTalkError("Sound at \(sourceRate) Hz cannot be resampled to \(targetRate) Hz.")
    }
  }

  deinit { swr_free(&context) }

  /// How many samples `count` become.
  package func length(of count: Int) -> Int { (count * targetRate + sourceRate - 1) / sourceRate }

  /// Resamples a piece and appends what is ready; nil ends the sound and gives the rest.
  package func push(_ samples: UnsafeBufferPointer<Float>?, into output: inout [Float]) throws {
    guard let context else {
      if let samples { output.append(contentsOf: samples) }
      return
    }
    var place = 0
    while true {
      // Pieces keep the scratch buffer small however long the sound is.
      let count = min(16_384, (samples?.count ?? 0) - place)
      let capacity = length(of: max(count, 4_096)) + 1_024
      if buffer.count < capacity { buffer = [Float](repeating: 0, count: capacity) }
      let input = samples.flatMap { $0.baseAddress }.map { $0 + place }
      if samples != nil, count <= 0 { return }
      let made = cff_resample(context, &buffer, Int32(capacity), input, samples == nil ? 0 : Int32(count))
      guard made >= 0 else { throw LiveTalkError("Sound cannot be resampled: \(FFmpeg.reason(made)).") }
      output.append(contentsOf: buffer[..<Int(made)])
      if samples == nil, made == 0 { return }
      place += max(count, 0)
    }
  }

  /// Resamples a piece and returns what is ready; nil ends the sound and gives the rest.
  package func push(_ samples: [Float]?) throws -> [Float] {
    var output: [Float] = []
    if let samples {
      try samples.withUnsafeBufferPointer { try push($0, into: &output) }
    } else {
      try push(nil, into: &output)
    }
    return output
  }
}

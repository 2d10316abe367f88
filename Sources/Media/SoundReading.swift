import Basics
import CFFmpeg

extension Sound {
  /// Reads the sound of a WAV, MP3, FLAC, M4A or Ogg file, or of a video: the mean of its channels, then resampled,
  /// as `librosa.load(path, sr: sampleRate)` does. PCM of the wanted rate is exact: a 16-bit sample s becomes s / 32768.
  /// What an encoder put before and after the sound (MP3, AAC priming) is not part of it.
  ///
  /// - Parameters:
  ///   - maximumSeconds: longer sound is refused, at the latest when this much has been decoded.
  ///   - refusesDamage: refuse what players pass over: damaged parts, and an end before the one that the file names.
  /// - Throws: `LiveTalkError` for a file that is missing, no sound, damaged, without samples, or too long.
  package init(
    contentsOf path: String, sampleRate: Int = 16_000, maximumSeconds: Double = 3_600, refusesDamage: Bool = false
  ) throws {
    self = try Self.read(path, sampleRate, maximumSeconds, refusesDamage).sound
  }

  /// - Returns: the sound, and the time of its first sample by the container's clock.
  static func read(_ path: String, _ sampleRate: Int, _ maximumSeconds: Double, _ refusesDamage: Bool) throws
    -> (sound: Sound, start: Double)
  {
    let input = try MediaInput(path: path, kind: .sound, type: AVMEDIA_TYPE_AUDIO)
    func tooLong() -> LiveTalkError {
      .unreadable("sound", path, "it is longer than \(duration(maximumSeconds))")
    }
    if let seconds = input.claimedSeconds, seconds > maximumSeconds + 1 { throw tooLong() }
    var mixer = MonoMixer()
    var resampler: Resampler?
    var sourceRate = 0
    var sourceCount = 0
    var samples: [Float] = []
    var start: Double?
    while let frame = try input.next() {
      let rate = Int(frame.pointee.sample_rate)
      if start == nil {
        let stamp = frame.pointee.best_effort_timestamp
        start = stamp == cff_no_timestamp() ? 0 : Double(stamp) * av_q2d(input.stream.pointee.time_base)
      }
      if resampler == nil {
        guard rate > 0 else { throw LiveTalkError.unreadable("sound", path, "it names no sample rate") }
        sourceRate = rate
        resampler = try Resampler(from: rate, to: sampleRate)
      }
      guard rate == sourceRate else {
        throw LiveTalkError.unreadable("sound", path, "its sample rate changes on the way")
      }
      guard mixer.mix(frame) else {
        throw LiveTalkError.unreadable("sound", path, "its samples are of an unknown format")
      }
      guard mixer.samples.allSatisfy(\.isFinite) else {
        throw LiveTalkError.unreadable("sound", path, "some of its samples are not numbers")
      }
      sourceCount += mixer.samples.count
      guard Double(sourceCount) <= maximumSeconds * Double(rate) else { throw tooLong() }
      try mixer.samples.withUnsafeBufferPointer { try resampler?.push($0, into: &samples) }
    }
    guard let resampler, sourceCount > 0 else { throw LiveTalkError.unreadable("sound", path, "it holds no samples") }
    try resampler.push(nil, into: &samples)
    if refusesDamage {
      let claimed = input.ownSeconds ?? 0
      let seconds = Double(sourceCount) / Double(sourceRate)
      // The padding of coded sound is no loss.
      let isShort = claimed - seconds > 0.1
      if let reason = input.damage
        ?? (isShort ? "it ends after \(rounded(seconds)) of \(rounded(claimed)) seconds" : nil)
      {
        throw LiveTalkError.unreadable("sound", path, reason)
      }
    }
    if let exact = input.exactSampleCount, (0...paddingSamples).contains(sourceCount - exact) { sourceCount = exact }
    let expected = resampler.length(of: sourceCount)
    if samples.count > expected {
      samples.removeLast(samples.count - expected)
    } else {
      samples.append(contentsOf: repeatElement(0, count: expected - samples.count))
    }
    return (Sound(samples: samples, sampleRate: sampleRate), start ?? 0)
  }
}

/// The most that a last packet's padding adds to the sound; FFmpeg does not always take it away (Ogg Vorbis, AAC).
private let paddingSamples = 8_192

private func rounded(_ seconds: Double) -> String { "\((seconds * 100).rounded() / 100)" }

private func duration(_ seconds: Double) -> String {
  for (length, one, many) in [(3_600.0, "one hour", "hours"), (60, "one minute", "minutes")]
  where seconds >= length && seconds.truncatingRemainder(dividingBy: length) == 0 {
    return seconds == length ? one : "\(Int(seconds / length)) \(many)"
  }
  return seconds == seconds.rounded() ? "\(Int(seconds)) seconds" : "\(seconds) seconds"
}

/// Turns decoded frames of any sample format into the mean of their channels.
private struct MonoMixer {
  /// The last frame's samples.
  private(set) var samples: [Float] = []

  /// False for a format that is unknown.
  mutating func mix(_ frame: UnsafeMutablePointer<AVFrame>) -> Bool {
    let format = AVSampleFormat(rawValue: frame.pointee.format)
    switch av_get_packed_sample_fmt(format) {
    case AV_SAMPLE_FMT_U8: mean(frame, UInt8.self) { (Float($0) - 128) / 128 }
    case AV_SAMPLE_FMT_S16: mean(frame, Int16.self) { Float($0) / 32_768 }
    case AV_SAMPLE_FMT_S32: mean(frame, Int32.self) { Float($0) / 2_147_483_648 }
    case AV_SAMPLE_FMT_S64: mean(frame, Int64.self) { Float(Double($0) / 0x1p63) }
    case AV_SAMPLE_FMT_FLT: mean(frame, Float.self) { $0 }
    case AV_SAMPLE_FMT_DBL: mean(frame, Double.self) { Float($0) }
    default: return false
    }
    return true
  }

  @inline(__always)
  private mutating func mean<Sample>(
    _ frame: UnsafeMutablePointer<AVFrame>, _ type: Sample.Type, _ convert: (Sample) -> Float
  ) {
    let count = Int(frame.pointee.nb_samples)
    let channels = Int(frame.pointee.ch_layout.nb_channels)
    let isPlanar = av_sample_fmt_is_planar(AVSampleFormat(rawValue: frame.pointee.format)) == 1
    samples.removeAll(keepingCapacity: true)
    samples.append(contentsOf: repeatElement(0, count: count))
    samples.withUnsafeMutableBufferPointer { target in
      for channel in 0..<channels {
        guard let plane = frame.pointee.extended_data[isPlanar ? channel : 0] else { continue }
        let values = UnsafeRawPointer(plane).assumingMemoryBound(to: Sample.self)
        let step = isPlanar ? 1 : channels
        let first = isPlanar ? 0 : channel
        for i in 0..<count { target[i] += convert(values[first + i * step]) }
      }
      guard channels > 1 else { return }
      for i in 0..<count { target[i] /= Float(channels) }
    }
  }
}

import Foundation
import Testing

@testable import Media

@Suite struct SoundTests {
  /// The amplitude of one frequency, by correlation over whole periods.
  private func amplitude(_ samples: ArraySlice<Float>, _ frequency: Double, rate: Int) -> Double {
    var (real, imaginary) = (0.0, 0.0)
    for (i, sample) in samples.enumerated() {
      let phase = 2 * .pi * frequency * Double(i) / Double(rate)
      real += Double(sample) * cos(phase)
      imaginary += Double(sample) * sin(phase)
    }
    return 2 * (real * real + imaginary * imaginary).squareRoot() / Double(samples.count)
  }

  @Test(arguments: ["tone.flac", "tone.mp3", "tone.m4a", "tone.ogg"])
  func `A tone keeps its length, pitch and strength in every format`(name: String) throws {
    let sound = try Sound(contentsOf: fixture(name))
    #expect(sound.sampleRate == 16_000)
    #expect(sound.samples.count == 8_000)
    let middle = sound.samples[1_600..<6_400]
    #expect(abs(amplitude(middle, 440, rate: 16_000) - 0.25) < 0.015)
    #expect(amplitude(middle, 880, rate: 16_000) < 0.005)
    // What encoders put in front is gone: the first periods are there, in phase.
    let wave = sine(440, seconds: 0.0125, rate: 16_000, amplitude: 0.25)
    let error = zip(sound.samples, wave).map { abs($0 - $1) }.max() ?? 1
    #expect(error < (name == "tone.flac" ? 0.005 : 0.03))
  }

  @Test(arguments: [("8", 0.01), ("16", 1e-4), ("24", 1e-6), ("float", 1e-7)])
  func `Every kind of PCM is read as it is`(kind: String, tolerance: Double) throws {
    let sound = try Sound(contentsOf: fixture("tone-\(kind).wav"), sampleRate: 8_000)
    let wave = sine(440, seconds: 0.25, rate: 8_000, amplitude: 0.25)
    #expect(sound.samples.count == 2_000)
    #expect(zip(sound.samples, wave).allSatisfy { Double(abs($0 - $1)) <= tolerance })
  }

  @Test func `Resampling agrees with librosa`() throws {
    let sound = try Sound(contentsOf: fixture("partials.wav"))
    let bytes = try Data(contentsOf: URL(fileURLWithPath: fixture("partials.f32")))
    let expected = bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
    #expect(sound.samples.count == expected.count)
    let differences = zip(sound.samples, expected).map { abs($0 - $1) }
    if Resampler.hasSoxr {
      #expect(differences.max() ?? 1 < 1e-6)
    } else {
      // Another good filter rings otherwise at the sound's two cut ends.
      #expect(differences[200..<1_400].max() ?? 1 < 2e-3)
    }
  }

  /// What an FFmpeg without soxr does.
  @Test(arguments: [(44_100, 16_000), (48_000, 16_000), (22_050, 48_000), (8_000, 16_000)])
  func `swresample's own filter keeps tones within the band and the length`(source: Int, target: Int) throws {
    for frequency in [130.0, 1_000, 3_400] {
      let tone = sine(frequency, seconds: 0.5, rate: source)
      var output: [Float] = []
      let resampler = try Resampler(from: source, to: target, usesSoxr: false)
      for start in stride(from: 0, to: tone.count, by: 777) {
        try tone[start..<min(start + 777, tone.count)].withUnsafeBufferPointer { try resampler.push($0, into: &output) }
      }
      try resampler.push(nil, into: &output)
      let expected = sine(frequency, seconds: 0.5, rate: target)
      #expect(abs(output.count - expected.count) <= 2)
      let middle = (expected.count / 4)..<(expected.count * 3 / 4)
      #expect(zip(output[middle], expected[middle]).map { abs($0 - $1) }.max() ?? 1 < 1e-3)
    }
  }

  @Test func `Sixteen-bit samples at the wanted rate are exact, written and read`() throws {
    let scratch = try Scratch()
    let samples = (-32_768...32_767).map { Float($0) / 32_768 }
    try Sound(samples: samples, sampleRate: 16_000).writeWAV(to: scratch.file("all.wav"), comment: "odd")
    #expect(try Sound(contentsOf: scratch.file("all.wav")).samples == samples)
    #expect(scratch.content == ["all.wav"])
  }

  @Test func `Samples beyond the range are clipped`() throws {
    let scratch = try Scratch()
    try Sound(samples: [2, -2, .nan, .infinity], sampleRate: 16_000).writeWAV(to: scratch.file("loud.wav"))
    #expect(try Sound(contentsOf: scratch.file("loud.wav")).samples == [32_767 / 32_768, -1, 0, 0])
  }

  @Test func `Files without sound are refused`() throws {
    let scratch = try Scratch()
    #expect(
      sentence { try Sound(contentsOf: scratch.file("no.wav")) }
        == "The sound \(scratch.file("no.wav")) cannot be read: there is no such file.")
    #expect(sentence { try Sound(contentsOf: scratch.path) }.contains("it is a directory"))
    let empty = try scratch.write([], "empty.wav")
    #expect(sentence { try Sound(contentsOf: empty) }.contains("it is empty"))
    let letter = try scratch.write(Array("Dear listener, this is a letter.\n".utf8), "letter.mp3")
    #expect(sentence { try Sound(contentsOf: letter) }.contains("not a sound of a known format"))
    #expect(sentence { try Sound(contentsOf: fixture("silent.mp4")) }.contains("it holds no sound"))
    #expect(sentence { try Sound(contentsOf: fixture("rgb.png")) }.contains("not a sound of a known format"))
    try Sound(samples: [], sampleRate: 16_000).writeWAV(to: scratch.file("zero.wav"))
    #expect(sentence { try Sound(contentsOf: scratch.file("zero.wav")) }.contains("it holds no samples"))
    let whole = try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture("tone.m4a"))))
    let half = try scratch.write(Array(whole[..<(whole.count / 2)]), "half.m4a")
    #expect(sentence { try Sound(contentsOf: half) }.contains(half))
  }

  @Test func `Sound that is too long is refused, whether its header tells or not`() throws {
    let scratch = try Scratch()
    try Sound(samples: [Float](repeating: 0.1, count: 32_000), sampleRate: 16_000).writeWAV(to: scratch.file("2s.wav"))
    #expect(try Sound(contentsOf: scratch.file("2s.wav"), maximumSeconds: 2).samples.count == 32_000)
    #expect(
      sentence { try Sound(contentsOf: scratch.file("2s.wav"), maximumSeconds: 1.9) }
        .hasSuffix("it is longer than 1.9 seconds."))
    #expect(sentence { try Sound(contentsOf: fixture("tone.mp3"), maximumSeconds: 0.1) }.contains("longer"))
  }

  @Test func `Three hours are refused quickly, without being decoded to the end`() throws {
    let scratch = try Scratch()
    // 8 kHz, 16 bits, three hours: sparse, so that only its length is real.
    try Sound(samples: [0.5], sampleRate: 8_000).writeWAV(to: scratch.file("long.wav"))
    let count = 3 * 3_600 * 8_000 * 2
    let handle = try #require(FileHandle(forUpdatingAtPath: scratch.file("long.wav")))
    func little(_ value: Int) -> Data { Data((0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }) }
    try handle.truncate(atOffset: UInt64(44 + count))
    for claim in [count, 0xFFFF_FFFF - 36] {
      try handle.seek(toOffset: 4)
      try handle.write(contentsOf: little(claim + 36))
      try handle.seek(toOffset: 40)
      try handle.write(contentsOf: little(claim))
      let start = ContinuousClock.now
      #expect(
        sentence { try Sound(contentsOf: scratch.file("long.wav"), maximumSeconds: 60) }
          .hasSuffix("it is longer than one minute."))
      #expect(ContinuousClock.now - start < .seconds(10))
    }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func `Samples that are not numbers are refused`(value: Float) throws {
    var file = try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture("tone-float.wav"))))
    file.replaceSubrange(file.count - 400..<file.count - 396, with: withUnsafeBytes(of: value.bitPattern) { Array($0) })
    let scratch = try Scratch()
    let path = try scratch.write(file, "nan.wav")
    #expect(sentence { try Sound(contentsOf: path) }.contains("not numbers"))
  }
}

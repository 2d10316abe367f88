import Foundation
import Testing
import Torch

@testable import Models

@Suite struct SileroVADTests {
  static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../..")
    .standardized

  static func weights() throws -> [String: Tensor] {
    try readWeights(repository.appendingPathComponent("Models/silero-vad/silero_vad_16k.safetensors"))
  }

  /// The samples of a 16-bit mono WAV file with the shortest header.
  static func recording(_ name: String) throws -> [Float] {
    let data = try Data(contentsOf: repository.appendingPathComponent("Examples/\(name)")).dropFirst(44)
    return data.withUnsafeBytes { bytes in
      (0..<bytes.count / 2).map {
        Float(Int16(littleEndian: bytes.loadUnaligned(fromByteOffset: 2 * $0, as: Int16.self))) / 32_768
      }
    }
  }

  let model: SileroVAD
  init() throws { model = try SileroVAD(weights: Self.weights()) }

  @Test func `one error lists every key that is missing, misshaped or unused`() throws {
    var weights = try Self.weights()
    weights["conv2.bias"] = nil
    weights["lstm_cell.bias_hh"] = Tensor.zeros([3])
    weights["teapot"] = Tensor.zeros([1])
    let error = #expect(throws: (any Error).self) { try SileroVAD(weights: weights, name: "the file") }
    for part in ["the file", "1 missing (conv2.bias)", "lstm_cell.bias_hh is [3]", "1 unused (teapot)"] {
      #expect("\(try #require(error))".contains(part))
    }
  }

  @Test(arguments: ["librivox_austen_0870.wav", "librivox_austen_0920.wav"])
  func `people are heard speaking, and the pauses around them are none`(name: String) throws {
    let speech = try Self.recording(name)
    var stream = SileroVADStream(model)
    let spoken = stream.append(speech)
    #expect(spoken.count == speech.count / SileroVAD.windowSamples)
    let share = Double(spoken.count { $0 > 0.5 }) / Double(spoken.count)
    #expect(share > 0.75, "\(share)")
    // Two seconds of silence: after 0.3 s none of it is speech.
    let silent = stream.append([Float](repeating: 0, count: 32_000)).dropFirst(9)
    #expect(silent.allSatisfy { $0 < 0.1 }, "\(silent.max() ?? 1)")
  }

  @Test func `noise, a hum and clicks are no speech`() {
    var generator = SystemRandomNumberGenerator()
    let noise = (0..<32_000).map { _ in Float.random(in: -0.1...0.1, using: &generator) }
    let hum = (0..<32_000).map { 0.3 * Float(sin(2 * .pi * 50 * Double($0) / 16_000)) }
    let clicks = (0..<32_000).map { Float($0 % 4_000 == 0 ? 1 : 0) }
    for sound in [noise, hum, clicks] {
      var stream = SileroVADStream(model)
      let found = stream.append(sound)
      #expect(found.count { $0 > 0.5 } <= 1, "\(found.max() ?? 1)")
    }
  }

  @Test func `the sizes in which sound arrives do not matter`() throws {
    let speech = Array(try Self.recording("librivox_austen_0870.wav").prefix(20_000))
    var whole = SileroVADStream(model)
    let expected = whole.append(speech)
    for size in [1, 160, 511, 513, 4_000] {
      var stream = SileroVADStream(model)
      let pieces = stride(from: 0, to: speech.count, by: size).flatMap {
        stream.append(speech[$0..<min($0 + size, speech.count)])
      }
      #expect(pieces == expected, "in pieces of \(size)")
    }
  }

  @Test func `several sounds side by side give what each gives alone`() throws {
    let speech = try Self.recording("librivox_austen_0870.wav")
    let window = SileroVAD.windowSamples
    let pair = [speech, Array(speech.dropFirst(16_000))]
    var state = model.initialState(count: 2)
    var alone = pair.map { _ in SileroVADStream(model) }
    for index in 0..<40 {
      let parts = pair.map { Array($0[index * window..<(index + 1) * window]) }
      let both = model(Tensor(parts.flatMap(\.self), [2, window]), &state).array(Float.self)
      for (n, part) in parts.enumerated() { #expect(abs(both[n] - alone[n].append(part)[0]) < 1e-5) }
    }
  }

  @Test func `what is no number does not spoil what follows`() throws {
    let speech = try Self.recording("librivox_austen_0870.wav")
    var stream = SileroVADStream(model)
    var spoiled = speech
    for index in stride(from: 0, to: 4_000, by: 37) { spoiled[index] = [.nan, .infinity, -.infinity][index % 3] }
    let found = stream.append(spoiled)
    #expect(found.allSatisfy { (0...1).contains($0) })
    #expect(found.count { $0 > 0.5 } > found.count * 3 / 4)
  }

  @Test func `a stream that was reset is a new one`() throws {
    let speech = Array(try Self.recording("librivox_austen_0870.wav").prefix(16_000))
    var stream = SileroVADStream(model)
    let first = stream.append(speech)
    stream.reset()
    #expect(stream.append(speech) == first)
  }
}

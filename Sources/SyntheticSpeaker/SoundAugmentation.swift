package import Basics
import Foundation

/// What was done to the sound of a clip, in this order: filter, room, noise, gain.
package struct SoundAugmentation: Codable, Sendable, Equatable {
  package enum Filter: String, Codable, Sendable, CaseIterable { case none, telephone, muffled, thin, laptop }
  package enum Noise: String, Codable, Sendable, CaseIterable { case none, white, pink, brown, babble }

  package var filter = Filter.none
  /// Seconds in which the room's echo falls by 60 dB; 0 for no room.
  package var roomSeconds = 0.0
  /// Loudness of the echo next to the voice.
  package var roomShare = 0.0
  package var noise = Noise.none
  /// Decibels of the speech over the noise; where nobody speaks, of speech of usual loudness.
  package var signalToNoise = 0.0
  /// Decibels.
  package var gain = 0.0
  /// The noise's and the room's random numbers.
  package var seed: UInt64 = 0

  /// Nothing is done.
  package static let none = SoundAugmentation()

  package init() {}

  /// - Parameter isSilent: nobody speaks; there is always noise then.
  package init(isSilent: Bool = false, using random: inout SeededRandom) {
    if random.chance(0.45) { filter = random.pick([.telephone, .muffled, .thin, .laptop]) }
    if random.chance(0.5) {
      roomSeconds = random.number(0.1...0.7).rounded(3)
      roomShare = random.number(0.08...0.4).rounded(3)
    }
    if random.chance(0.7) || isSilent {
      noise = random.pick([.white, .pink, .brown, .babble])
      signalToNoise = random.number(5...40).rounded(2)
    }
    gain = random.number(-16...4).rounded(2)
    seed = random.next() >> 12
  }

  /// The sound worked on; as long as before, within −1…1.
  package func applied(to samples: [Float], sampleRate: Int) -> [Float] {
    guard self != .none else { return samples }
    var result = samples
    let rate = Double(sampleRate)
    switch filter {
    case .none: break
    case .telephone:
      result = passed(passed(result, OnePole(highPass: 300, rate)), OnePole(highPass: 300, rate))
      result = passed(passed(result, OnePole(lowPass: 3_400, rate)), OnePole(lowPass: 3_400, rate))
    case .muffled: result = passed(passed(result, OnePole(lowPass: 1_800, rate)), OnePole(lowPass: 3_500, rate))
    case .thin: result = passed(result, OnePole(highPass: 500, rate))
    case .laptop:
      result = passed(passed(result, OnePole(highPass: 180, rate)), OnePole(lowPass: 5_500, rate))
      // What the table throws back arrives 0.5 ms later and colours the sound.
      let delay = Int(0.000_5 * rate)
      result = result.indices.map { result[$0] + ($0 >= delay ? 0.5 * result[$0 - delay] : 0) }
    }
    var random = SeededRandom(seed: seed, [], "sound")
    if roomSeconds > 0 { result = echoed(result, rate, &random) }
    if noise != .none { addNoise(&result, samples, rate, &random) }
    let factor = Float(pow(10, gain / 20))
    let peak = result.reduce(0) { max($0, abs($1)) } * factor
    let scale = factor * (peak > 0.98 ? 0.98 / peak : 1)
    return result.map { $0 * scale }
  }

  /// A room as a sparse tail of echoes at random times that fades exponentially (velvet noise).
  private func echoed(_ samples: [Float], _ rate: Double, _ random: inout SeededRandom) -> [Float] {
    let length = Int(roomSeconds * rate)
    let spacing = 24
    var result = samples
    var energy = 0.0
    var echoes: [(delay: Int, gain: Double)] = []
    for slot in 0..<(length / spacing) {
      let delay = 60 + slot * spacing + random.integer(0...(spacing - 1))
      let gain = exp(-6.9 * Double(delay) / Double(length)) * (random.chance(0.5) ? 1 : -1)
      echoes.append((delay, gain))
      energy += gain * gain
    }
    let scale = roomShare / max(energy, 1e-9).squareRoot()
    samples.withUnsafeBufferPointer { source in
      result.withUnsafeMutableBufferPointer { target in
        for echo in echoes where echo.delay < source.count {
          let gain = Float(echo.gain * scale)
          for index in echo.delay..<source.count { target[index] += source[index - echo.delay] * gain }
        }
      }
    }
    return result
  }

  /// Loudness of usual speech, for noise where there is none.
  private static let usualLoudness = 0.06

  private func addNoise(_ result: inout [Float], _ speech: [Float], _ rate: Double, _ random: inout SeededRandom) {
    let noise = noise == .babble ? babble(result.count, rate, &random) : hiss(result.count, &random)
    let voice = loudness(speech)
    let reference = voice > 1e-5 ? voice : Self.usualLoudness
    let scale = Float(reference / max(loudness(noise), 1e-12) * pow(10, -signalToNoise / 20))
    for index in result.indices { result[index] += noise[index] * scale }
  }

  /// Pink noise after Kellet's three poles, brown noise as a leaky sum, or white noise.
  private func hiss(_ count: Int, _ random: inout SeededRandom) -> [Float] {
    var (a, b, c) = (0.0, 0.0, 0.0)
    return (0..<count).map { _ -> Float in
      let white = random.unit() * 2 - 1
      switch self.noise {
      case .pink:
        a = 0.99765 * a + white * 0.0990460
        b = 0.96300 * b + white * 0.2965164
        c = 0.57000 * c + white * 1.0526913
        return Float(a + b + c + white * 0.1848)
      case .brown:
        a = 0.985 * a + white
        return Float(a)
      case .white, .babble, .none: return Float(white)
      }
    }
  }

  /// People who talk far away: noise with the spectrum of speech that swells with the syllables of six of them, 2.5 to 5.5 a
  /// second.
  private func babble(_ count: Int, _ rate: Double, _ random: inout SeededRandom) -> [Float] {
    let talkers = (0..<6).map { _ in (turn: random.number(2.5...5.5) * 2 * .pi / rate, phase: random.number(0...6.283))
    }
    let noise = (0..<count).map { index -> Float in
      // The powers of independent noises add up.
      let power = talkers.reduce(0.0) {
        let swell = max(sin($1.phase + $1.turn * Double(index)), 0.05)
        return $0 + swell * swell
      }
      return Float((random.unit() * 2 - 1) * power.squareRoot())
    }
    return passed(passed(noise, OnePole(lowPass: 600, rate)), OnePole(highPass: 120, rate))
  }

  private func loudness(_ samples: [Float]) -> Double {
    guard !samples.isEmpty else { return 0 }
    return (samples.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(samples.count)).squareRoot()
  }

  private func passed(_ samples: [Float], _ filter: OnePole) -> [Float] {
    var filter = filter
    return samples.map { filter.next($0) }
  }
}

/// A filter of first order.
private struct OnePole {
  private let share: Float
  private let isHighPass: Bool
  private var state: Float = 0

  init(lowPass cutoff: Double, _ rate: Double) {
    share = Float(1 - exp(-2 * .pi * cutoff / rate))
    isHighPass = false
  }

  init(highPass cutoff: Double, _ rate: Double) {
    share = Float(1 - exp(-2 * .pi * cutoff / rate))
    isHighPass = true
  }

  mutating func next(_ sample: Float) -> Float {
    state += share * (sample - state)
    return isHighPass ? sample - state : state
  }
}

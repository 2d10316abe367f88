import Foundation

/// How loud a sound is in each video frame, 0…1.
///
/// The level of a frame is the root mean square of the samples that are heard while it is shown, in decibels relative to the
/// clip's loud frames (the 95th percentile, so that a click does not set the scale). `floor` decibels below them and less is 0,
/// and as loud as them or louder is 1. Silence all through is 0 all through.
///
/// - Parameters:
///   - floor: decibels from loud speech to silence.
package func speechEnvelope(
  _ samples: [Float], sampleRate: Int, frames: Int, framesPerSecond: Int, floor: Double = 40
) -> [Double] {
  let levels = (0..<frames).map { frame -> Double in
    let start = min(frame * sampleRate / framesPerSecond, samples.count)
    let end = min((frame + 1) * sampleRate / framesPerSecond, samples.count)
    guard end > start else { return -.infinity }
    let energy = samples[start..<end].reduce(0.0) { $0 + Double($1) * Double($1) } / Double(end - start)
    return 10 * log10(max(energy, 1e-12))
  }
  guard !levels.isEmpty else { return [] }
  let loud = levels.sorted()[min(levels.count - 1, Int(Double(levels.count) * 0.95))]
  // 100 dB under full scale there is no speech.
  guard loud > -100 else { return [Double](repeating: 0, count: frames) }
  return levels.map { min(max(($0 - loud + floor) / floor, 0), 1) }
}

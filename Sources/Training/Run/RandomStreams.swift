import Basics
import Dispatch
import Torch

/// The random numbers of a run, without state: every use has a generator of its own, seeded by the run's seed, by what is drawn, and by
/// the step or sample it is drawn for.
///
/// So checkpoints hold no generators, and a sample's noise does not depend on the rank that has it.
struct RandomStreams: Sendable {
  /// Raw values are part of the seeds.
  enum Purpose: UInt64 {
    case order = 1, noise, timestep, dropout, exitSteps, crop, augmentation, sample, weights
    case sinkDistance
  }

  let seed: UInt64

  /// - Parameter numbers: the step, the sample: what tells this stream from others of the purpose.
  func generator(_ purpose: Purpose, _ numbers: Int..., device: Device = .cpu) -> RandomGenerator {
    RandomGenerator(seed: seed(purpose, numbers), device: device)
  }

  /// The seed of such a generator.
  func seed(_ purpose: Purpose, _ numbers: Int...) -> UInt64 { seed(purpose, numbers) }

  private func seed(_ purpose: Purpose, _ numbers: [Int]) -> UInt64 {
    numbers.reduce(RandomStreams.mixed(seed &+ RandomStreams.mixed(purpose.rawValue))) { hash, number in
      RandomStreams.mixed(hash ^ UInt64(bitPattern: Int64(number)))
    }
  }

  private static func mixed(_ value: UInt64) -> UInt64 { splitMix64(value &+ 0x9E37_79B9_7F4A_7C15) }

  /// What `draw` makes of each sample's own generator, concatenated along the batch. Samples are drawn side by side: for a GPU, noise
  /// of a large batch would else be the longest part of a step.
  func perSample(_ purpose: Purpose, _ samples: [Int], _ draw: @Sendable (RandomGenerator) -> Tensor) -> Tensor {
    var drawn = [Tensor?](repeating: nil, count: samples.count)
    drawn.withUnsafeMutableBufferPointer { drawn in
      nonisolated(unsafe) let places = drawn
      DispatchQueue.concurrentPerform(iterations: samples.count) { place in
        places[place] = draw(generator(purpose, samples[place]))
      }
    }
    return Tensor.cat(drawn.compactMap(\.self), 0)
  }
}

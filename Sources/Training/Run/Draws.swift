import Torch

/// The random numbers of a run: each draw has a seed of its own, made of the run's seed and of what is drawn for whom.
///
/// So no state has to be saved for a run to go on exactly, and a clip's draws do not depend on which process has it.
struct Draws: Sendable {
  enum Purpose: UInt64 {
    case order = 1, noise, timestep, dropout, steps, crop, disturbance, sample, factors
  }

  let seed: UInt64

  /// - Parameter numbers: what tells this draw from others of the purpose: the step, the number of the sample.
  func generator(_ purpose: Purpose, _ numbers: Int..., device: Device = .cpu) -> RandomGenerator {
    let mixed = numbers.reduce(Draws.mixed(seed &+ Draws.mixed(purpose.rawValue))) { hash, number in
      Draws.mixed(hash ^ UInt64(bitPattern: Int64(number)))
    }
    return RandomGenerator(seed: mixed, device: device)
  }

  /// The finaliser of SplitMix64 (Steele et al. 2014).
  private static func mixed(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// The same draw for each sample, one after the other in the batch.
  func perSample(_ purpose: Purpose, _ samples: [Int], _ draw: (RandomGenerator) -> Tensor) -> Tensor {
    Tensor.cat(samples.map { draw(generator(purpose, $0)) }, 0)
  }
}

/// In which order clips are used: all of them in each epoch, every time in another order.
struct ClipOrder {
  let count: Int
  let draws: Draws
  private var known: (epoch: Int, order: [Int])?

  init(count: Int, draws: Draws) {
    self.count = count
    self.draws = draws
  }

  /// The clip of the sample with this number, which counts through the whole run.
  mutating func clip(of sample: Int) -> Int {
    let epoch = sample / count
    if known?.epoch != epoch {
      known = (epoch, draws.generator(.order, epoch).permutation(count).array(Int.self))
    }
    return known?.order[sample % count] ?? 0
  }
}

/// The clips of one pass on one process.
struct MicroBatch {
  /// Numbers of the samples, which count through the whole run over all processes.
  let samples: [Int]
  let clips: [Int]
}

/// Deals the clips of a run out to steps, passes and processes.
struct Dealer {
  private let run: RunSettings
  private let rank, ranks: Int
  private var order: ClipOrder

  init(_ run: RunSettings, clips: Int, rank: Int, ranks: Int, stream: Int = 0) {
    self.run = run
    (self.rank, self.ranks) = (rank, ranks)
    order = ClipOrder(count: clips, draws: Draws(seed: UInt64(run.seed) &+ UInt64(stream) << 32))
  }

  /// This process's passes of a step.
  mutating func passes(of step: Int) -> [MicroBatch] {
    (0..<run.accumulation).map { pass in
      let first = ((step * run.accumulation + pass) * ranks + rank) * run.batch
      let samples = Array(first..<first + run.batch)
      return MicroBatch(samples: samples, clips: samples.map { order.clip(of: $0) })
    }
  }
}

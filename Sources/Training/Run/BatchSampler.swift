import Torch

/// The part of a batch that goes through one forward and backward pass on one rank.
package struct MicroBatch {
  /// Counted through the whole run, over all ranks.
  package let samples: [Int]
  let clips: [Int]
}

/// Which clips each rank takes in each step: all of them once per epoch, in a new order every time.
struct BatchSampler {
  private let run: RunSettings
  private let rank, ranks, clips: Int
  private let streams: RandomStreams
  private var epoch: (number: Int, order: [Int])?

  /// - Parameter stream: samplers of different streams shuffle differently.
  init(_ run: RunSettings, clips: Int, rank: Int, ranks: Int, stream: Int = 0) {
    (self.run, self.clips, self.rank, self.ranks) = (run, clips, rank, ranks)
    streams = RandomStreams(seed: UInt64(run.seed) &+ UInt64(stream) << 32)
  }

  /// This rank's micro-batches of a step.
  mutating func microBatches(of step: Int) -> [MicroBatch] {
    (0..<run.accumulation).map { index in
      let first = ((step * run.accumulation + index) * ranks + rank) * run.batch
      let samples = Array(first..<first + run.batch)
      return MicroBatch(samples: samples, clips: samples.map { clip(of: $0) })
    }
  }

  mutating func clip(of sample: Int) -> Int {
    let number = sample / clips
    if let epoch, epoch.number == number { return epoch.order[sample % clips] }
    let order = streams.generator(.order, number).permutation(clips).array(Int.self)
    epoch = (number, order)
    return order[sample % clips]
  }
}

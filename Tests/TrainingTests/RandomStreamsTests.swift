import Testing
import Torch

@testable import Training

@Suite struct RandomStreamsTests {
  private func run(batch: Int, accumulation: Int = 1, seed: Int = 3) -> RunSettings {
    var run = RunSettings()
    (run.batch, run.accumulation, run.seed) = (batch, accumulation, seed)
    return run
  }

  private func samples(_ run: RunSettings, clips: Int, steps: Int, rank: Int = 0, ranks: Int = 1) -> [[MicroBatch]] {
    var sampler = BatchSampler(run, clips: clips, rank: rank, ranks: ranks)
    return (0..<steps).map { sampler.microBatches(of: $0) }
  }

  @Test(arguments: [1, 2, 5, 7]) func `every clip comes once in each epoch, every time in another order`(clips: Int) {
    var sampler = BatchSampler(run(batch: 1, seed: 4), clips: clips, rank: 0, ranks: 1)
    let epochs = (0..<6).map { epoch in (0..<clips).map { sampler.clip(of: epoch * clips + $0) } }
    for epoch in epochs { #expect(epoch.sorted() == Array(0..<clips)) }
    if clips > 2 { #expect(Set(epochs).count > 2) }
    // Whatever was asked before.
    var other = BatchSampler(run(batch: 1, seed: 4), clips: clips, rank: 0, ranks: 1)
    #expect((0..<clips).map { other.clip(of: 4 * clips + $0) } == epochs[4])
  }

  @Test(arguments: [(2, 1), (2, 3), (3, 2)])
  func `ranks together take the micro-batches of one rank`(ranks: Int, accumulation: Int) {
    let whole = samples(run(batch: ranks, accumulation: accumulation), clips: 5, steps: 8)
    let parts = (0..<ranks).map {
      samples(run(batch: 1, accumulation: accumulation), clips: 5, steps: 8, rank: $0, ranks: ranks)
    }
    for step in 0..<8 {
      for index in 0..<accumulation {
        #expect(whole[step][index].samples == parts.map { $0[step][index].samples[0] })
        #expect(whole[step][index].clips == parts.map { $0[step][index].clips[0] })
      }
    }
    let all = whole.flatMap { $0.flatMap(\.samples) }
    #expect(all == Array(0..<8 * ranks * accumulation))
    // Over the whole run no clip comes more than once more than another.
    let counts = (0..<5).map { clip in whole.flatMap { $0.flatMap(\.clips) }.count { $0 == clip } }
    #expect((counts.max() ?? 9) - (counts.min() ?? 0) <= 1)
  }

  @Test func `a stream depends on the seed, the purpose and the numbers, and on nothing else`() {
    func draw(_ seed: UInt64, _ purpose: RandomStreams.Purpose, _ number: Int, _ other: Int = 0) -> [Float] {
      RandomStreams(seed: seed).generator(purpose, number, other).normal([4]).array()
    }
    let values = [
      draw(1, .noise, 0), draw(2, .noise, 0), draw(1, .timestep, 0), draw(1, .noise, 1), draw(1, .noise, 0, 1),
      draw(1, .noise, 1, 1), draw(1, .noise, 2),
    ]
    #expect(Set(values).count == values.count)
    #expect(draw(1, .noise, 0) == values[0])
    let streams = RandomStreams(seed: 1)
    let both = streams.perSample(.noise, [7, 3]) { $0.normal([1, 2]) }
    let alone = streams.perSample(.noise, [3]) { $0.normal([1, 2]) }
    #expect(both.narrow(0, 1, 1).equals(alone))
  }
}

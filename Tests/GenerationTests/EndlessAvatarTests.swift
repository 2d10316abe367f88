import Foundation
import Models
import Testing
import Torch

@testable import Generation

/// A stream of Live Avatar, sound in and frames out, for as long as LIVETALK_AVATAR_SECONDS says: 10,000 s are 250,000 frames.
@Suite struct EndlessAvatarTests {
  @Test func `a stream goes on in constant memory, at positions that have no end`() async {
    // In a process of its own: the memory of this one is that of all tests that run now.
    let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
      let seconds = ProcessInfo.processInfo.environment["LIVETALK_AVATAR_SECONDS"].flatMap(Int.init) ?? 40
      let system = try TinyLiveAvatar()
      let session = try LiveAvatarSession(
        transformer: system.models.transformer, vae: system.models.vae, conditions: system.conditions,
        textEmbedding: system.text, options: LiveAvatarOptions(seed: 1))
      let blocks = (25 * seconds + 11) / 12
      var sound = system.models.speechStream(framesPerBlock: 3)
      let noise: [Float] = (RandomGenerator(seed: 2).normal([4000]) * 0.1).array()
      Torch.threads = 1  // a pass is far too small to share
      let start = ContinuousClock.now
      // Of the process, which other programs do not change much.
      var (times, memory, frames, largest): ([Double], [Int], Int, Double) = ([], [], 0, 0)
      try withInferenceMode {
        for block in 0..<blocks {
          let before = clock()
          var features = try sound.next()
          while features == nil {
            sound.append(noise)
            features = try sound.next()
          }
          let latents = session.denoise(audioFeatures: try #require(features))
          frames += try session.decode(latents).read().count
          times.append(Double(clock() &- before) / Double(CLOCKS_PER_SEC))
          // Buffers find their sizes in the first blocks.
          if block >= 20, (block - 20) % max(1, blocks / 20) == 0 { memory.append(Device.cpu.memory.current) }
          if block % 16 == 0 || block + 1 == blocks {
            let size = latents.abs().max().item
            largest = size.isFinite ? max(largest, size) : .infinity
          }
        }
      }
      let tenth = blocks / 10
      func median(_ part: ArraySlice<Double>) -> Double { part.sorted()[part.count / 2] }
      let (first, last) = (median(times[20..<20 + tenth]), median(times[(blocks - tenth)...]))
      let (early, late) = (memory[0], memory[memory.count - 1])
      print(
        String(
          format: "%d frames (%d s) in %.0f s: %.1f to %.1f MB, %.2f to %.2f ms of processor time for a block", frames,
          seconds, (ContinuousClock.now - start) / .seconds(1), Double(early) / 1e6, Double(late) / 1e6, first * 1000,
          last * 1000))
      #expect(frames == 12 * blocks - 3)
      #expect(late - early < 8 << 20, "\(memory)")
      #expect(largest > 0 && largest < 1e3)
      // Keys lie behind queries by less than the window, and the sink ahead by 4 to 30, however far the video has come.
      let memories = (0..<4).compactMap { session.rollout.blocks.memory(of: $0) as? RingMemory }
      #expect(memories.count == 4 && memories.allSatisfy { $0.endFrame == 3 * blocks && $0.windowFrames == 12 })
      let rotary = system.models.transformer.rotary(for: system.conditions.sink)
      for position in [3 * blocks, 3 * blocks + 30] {
        let lengths = rotary.factors(start: position, frames: 1).square().sum(-1)
        #expect((lengths - 1).abs().max().item < 2e-3)
      }
      #expect(
        (0..<blocks).allSatisfy { block in
          (0..<4).allSatisfy { SinkDistance.published.contains(SinkDistance.drawn(seed: 1)(block: block, step: $0)) }
        })
    }
    if let output = result?.standardOutputContent { print(String(decoding: output, as: UTF8.self)) }
  }
}

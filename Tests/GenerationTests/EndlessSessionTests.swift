import Foundation
import Models
import Testing
import Torch

@testable import Generation

/// An hour of a session at the published rate: 4,800 blocks of 3 latent frames.
@Suite struct EndlessSessionTests {
  @Test func `an hour runs in constant memory and stays finite`() async {
    // In a process of its own: the memory of this one is that of all tests that run now.
    let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
      let system = try TinySystem(layers: 2)
      let rollout = try system.rollout(.livetalk, steps: 2, positionLimit: 60)
      let memory = try #require(rollout.memory() as? RingMemory)
      let audio = system.audio(latentFrames: 3)
      Torch.threads = 1  // a pass is far too small to share
      let clock = ContinuousClock()
      let start = clock.now
      var early = 0
      var largest = 0.0
      withInferenceMode {
        for block in 0..<4800 {
          let latents = rollout.next(audio: audio)
          if block == 599 { early = Device.cpu.memory.current }
          if block % 100 == 99 {
            let size = latents.abs().max().item
            largest = size.isFinite ? max(largest, size) : .infinity
          }
        }
      }
      let late = Device.cpu.memory.current
      let seconds = (clock.now - start) / .seconds(1)
      print(String(format: "4,800 blocks: %.0f blocks/s, %+.1f MB", 4800 / seconds, Double(late - early) / 1e6))
      #expect(memory.endFrame == 14_400)
      #expect(memory.positions.offset == 14_400 - 60)
      #expect(largest > 0 && largest < 1e3)
      #expect(late - early < 8 << 20)
    }
    if let output = result?.standardOutputContent { print(String(decoding: output, as: UTF8.self)) }
  }
}

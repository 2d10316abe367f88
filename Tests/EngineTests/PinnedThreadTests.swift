import Foundation
import Testing
import Torch

@testable import Engine

@Suite struct PinnedThreadTests {
  private actor Pinned {
    let thread = PinnedThread(name: "test")
    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }
    private var count = 0

    func work() async -> Set<UInt> {
      var threads: Set<UInt> = [here]
      await Task.yield()
      threads.insert(here)
      try? await Task.sleep(for: .milliseconds(1))
      threads.insert(here)
      // Without a lock: the jobs of one thread do not meet.
      count += 1
      return threads
    }

    func total() -> Int { count }
    func gradients() -> Bool { gradientsEnabled }
    func inInference(_ body: @Sendable () -> Bool) -> Bool { withInferenceMode(body) }
    func isHere() -> Bool { thread.isCurrent }
    private var here: UInt { UInt(bitPattern: ObjectIdentifier(Thread.current)) }
  }

  @Test func `an actor's jobs stay on one thread, whatever they wait for`() async {
    let pinned = Pinned()
    let threads = await withTaskGroup(of: Set<UInt>.self) { group in
      for _ in 0..<200 { group.addTask { await pinned.work() } }
      return await group.reduce(into: Set<UInt>()) { $0.formUnion($1) }
    }
    #expect(threads.count == 1)
    #expect(await pinned.total() == 200)
    #expect(await pinned.isHere() && !pinned.thread.isCurrent)
  }

  @Test func `a mode of libtorch's holds for its scope on that thread alone`() async {
    let pinned = Pinned()
    #expect(await pinned.gradients())
    #expect(await !pinned.inInference { gradientsEnabled })
    #expect(await pinned.gradients() && gradientsEnabled)
  }
}

import Testing

@testable import Engine

@Suite struct PaceTests {
  private func pace() -> Pace { Pace(steps: 4, fewestSteps: 2, framesPerSecond: 16, sampleRate: 16_000) }

  @Test func `first fewer steps, then fewer pictures`() {
    let levels = pace().levels
    #expect(levels.map(\.steps) == [4, 3, 2, 2, 2, 2] && levels.map(\.framesPerSecond) == [16, 16, 16, 10, 8, 5])
    #expect(
      Pace(steps: 1, fewestSteps: 1, framesPerSecond: 16, sampleRate: 16_000).levels.map(\.steps) == [1, 1, 1, 1])
    #expect(levels.allSatisfy { 16_000 % $0.framesPerSecond == 0 })
  }

  @Test func `two slow blocks lead a level down, one does not`() {
    var pace = pace()
    pace.take(2, lasting: 0.75)
    pace.take(0.2, lasting: 0.75)
    pace.take(2, lasting: 0.75)
    #expect(pace.level.steps == 4)
    pace.take(2, lasting: 0.75)
    #expect(pace.level.steps == 3)
    for _ in 0..<100 { pace.take(10, lasting: 0.75) }
    #expect(pace.level == Pace.Level(steps: 2, framesPerSecond: 5))
  }

  @Test func `a machine that has time again goes back up, and does not swing`() {
    var pace = pace()
    for _ in 0..<4 { pace.take(0.8, lasting: 0.75) }
    #expect(pace.level.steps == 2)
    // Just fast enough for this level: the one above would be too slow.
    for _ in 0..<200 { pace.take(0.65, lasting: 0.75) }
    #expect(pace.level.steps == 2)
    for _ in 0..<20 { pace.take(0.2, lasting: 0.75) }
    #expect(pace.level.steps == 3)
    for _ in 0..<20 { pace.take(0.2, lasting: 0.75) }
    #expect(pace.level.steps == 4)
  }
}

@Suite struct BlocksAheadTests {
  @Test func `as many blocks are begun as go by while one is made, and no more than there are processes for`() {
    var ahead = BlocksAhead(processes: 5)
    #expect(ahead.count == 4)
    // Half a second in each of five processes, for blocks of 0.48 s: all of them are needed.
    ahead.take([0.5, 0.5, 0.5, 0.5, 0.5], lasting: 0.48)
    #expect(ahead.count == 4)
    ahead.take([0.2, 0.2, 0.2, 0.2, 0.1], lasting: 0.48)
    #expect(ahead.count == 2)
    ahead.take([0.01, 0.01, 0.01, 0.01, 0.01], lasting: 0.48)
    #expect(ahead.count == 1)
    ahead.take([0.3, 0.3, 0.3, 0.3, 0.1], lasting: 0.48)
    #expect(ahead.count == 3)
  }

  @Test func `one process begins one block ahead`() {
    var ahead = BlocksAhead(processes: 1)
    ahead.take([], lasting: 0.48)
    #expect(ahead.count == 1)
    #expect(BlocksAhead(processes: 2).count == 1)
  }
}

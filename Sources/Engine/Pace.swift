/// How much is asked of the machine: less where blocks take longer than they last, more again where there is time.
///
/// First fewer denoising steps where the model can do with fewer, then fewer pictures per second; the sound is never slowed down, and nothing queues up.
struct Pace: Hashable, Sendable {
  struct Level: Hashable, Sendable {
    var steps: Int
    var framesPerSecond: Int
  }

  /// The best first.
  let levels: [Level]
  private(set) var index = 0
  private var slow = 0
  private var fast = 0

  /// The lowest rate of pictures, as a part of the checkpoint's.
  private static let lowestRate = 0.3125

  /// - Parameters:
  ///   - steps: of the checkpoint.
  ///   - fewestSteps: see `SessionModels`.
  ///   - framesPerSecond: of the checkpoint; every lower rate gives pictures a whole number of samples.
  init(steps: Int, fewestSteps: Int, framesPerSecond: Int, sampleRate: Int) {
    let least = max(1, Int((Double(framesPerSecond) * Self.lowestRate).rounded(.up)))
    let rates = (least..<max(least, framesPerSecond)).reversed().filter { sampleRate % $0 == 0 }
    levels =
      stride(from: steps, through: fewestSteps, by: -1).map { Level(steps: $0, framesPerSecond: framesPerSecond) }
      + rates.map { Level(steps: fewestSteps, framesPerSecond: $0) }
  }

  /// One that never changes.
  init(only level: Level) { levels = [level] }

  var level: Level { levels[index] }

  /// Takes the seconds that a block took, and those that it lasts.
  mutating func take(_ seconds: Double, lasting duration: Double) {
    let load = seconds / duration
    slow = load > 0.95 ? slow + 1 : 0
    // A better level must fit with room to spare, or it would be left again at once.
    fast = index > 0 && load * cost(index - 1) / cost(index) < 0.75 ? fast + 1 : 0
    if slow >= 2, index < levels.count - 1 {
      (index, slow, fast) = (index + 1, 0, 0)
    } else if fast >= 20 {
      (index, slow, fast) = (index - 1, 0, 0)
    }
  }

  /// Relative: the passes of the transformer, the commit among them, and a decoder that costs about as much as two, per second.
  private func cost(_ index: Int) -> Double {
    Double(levels[index].steps + 3) * Double(levels[index].framesPerSecond)
  }
}

/// How many blocks of a session are begun before they are asked for, behind the one that is.
struct BlocksAhead: Hashable, Sendable {
  /// In a pipeline a block for every other process; else one.
  let most: Int
  private(set) var count: Int

  /// - Parameter processes: that a block goes through.
  init(processes: Int) {
    most = max(1, processes - 1)
    count = most
  }

  /// Takes the seconds for which each process of a pipeline worked on a block, and those that it lasts: blocks are asked for as often as
  /// they last, so as many are begun as go by while one is made. More would only keep speech waiting.
  mutating func take(_ stages: [Double], lasting duration: Double) {
    guard !stages.isEmpty, duration > 0 else { return }
    count = min(most, max(1, Int((stages.reduce(0, +) / duration).rounded(.up))))
  }
}

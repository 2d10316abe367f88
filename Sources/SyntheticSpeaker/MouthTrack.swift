import Foundation

/// The mouth of a clip: phonemes made into one continuous movement.
///
/// Each viseme pulls towards its shape with a weight that falls off with the time to it (dominance functions after Cohen and
/// Massaro, 1993), so that sounds colour their neighbours. Lips that must meet do meet: closures (p, b, m) and silence then
/// close the gap whatever is around them.
package struct MouthTrack: Sendable {
  private struct Target: Sendable {
    var start: Double
    var end: Double
    var shape: MouthShape
    var strength: Double
  }

  /// Seconds in which the pull of a sound fades before it and after it.
  private static let (before, after) = (0.055, 0.05)
  /// Seconds from which a silence closes the mouth.
  private static let shortestRest = 0.11

  private let targets: [Target]
  private let closures: [Phoneme]
  private let rests: [Phoneme]

  package init(_ phonemes: [Phoneme]) {
    var targets: [Target] = []
    for phoneme in phonemes {
      let visemes = Viseme.sequence(of: phoneme.symbol)
      let step = (phoneme.end - phoneme.start) / Double(visemes.count)
      for (index, viseme) in visemes.enumerated() {
        let start = phoneme.start + Double(index) * step
        let (shape, strength) = viseme.target
        targets.append(Target(start: start, end: start + step, shape: shape, strength: strength))
      }
    }
    self.targets = targets
    closures = phonemes.filter { $0.viseme == .pp }
    rests = phonemes.filter { $0.isSilence && $0.end - $0.start >= Self.shortestRest }
  }

  /// The shape at a moment.
  package func shape(at time: Double) -> MouthShape {
    var sum = MouthShape(open: 0, width: 0, round: 0, teeth: 0, tongue: 0)
    var total = 0.0
    // Sounds more than half a second away weigh nothing.
    var index = firstTarget(endingAfter: time - 0.5)
    while index < targets.count, targets[index].start < time + 0.5 {
      let target = targets[index]
      index += 1
      let away = max(target.start - time, 0) / Self.before + max(time - target.end, 0) / Self.after
      let weight = target.strength * exp(-away * away * 0.7 - away * 0.6)
      total += weight
      sum.open += weight * target.shape.open
      sum.width += weight * target.shape.width
      sum.round += weight * target.shape.round
      sum.teeth += weight * target.shape.teeth
      sum.tongue += weight * target.shape.tongue
    }
    guard total > 1e-12 else { return MouthShape() }
    let gate = closing(at: time)
    return MouthShape(
      open: sum.open / total * (1 - gate), width: sum.width / total, round: sum.round / total,
      teeth: sum.teeth / total, tongue: sum.tongue / total)
  }

  /// The shape that a picture shows between two moments: the one of its middle; but where lips meet in between, they are
  /// seen to meet, as the shortest closures would else fall between two pictures.
  package func shape(from start: Double, to end: Double) -> MouthShape {
    let closure = closures.first { (start..<end).contains(($0.start + $0.end) / 2) }
    return shape(at: closure.map { ($0.start + $0.end) / 2 } ?? (start + end) / 2)
  }

  /// How far the lips are held together, 0…1.
  private func closing(at time: Double) -> Double {
    var gate = 0.0
    for closure in closures where abs(time - (closure.start + closure.end) / 2) < 0.4 {
      let length = closure.end - closure.start
      let (first, last) = (closure.start + 0.3 * length, closure.end - 0.3 * length)
      gate = max(gate, min(smooth(time, first - 0.06, first), 1 - smooth(time, last, last + 0.06)))
    }
    for rest in rests where time >= rest.start && time <= rest.end {
      let ramp = min(0.09, (rest.end - rest.start) / 2)
      gate = max(gate, min(smooth(time, rest.start, rest.start + ramp), 1 - smooth(time, rest.end - ramp, rest.end)))
    }
    return gate
  }

  private func firstTarget(endingAfter time: Double) -> Int {
    var (low, high) = (0, targets.count)
    while low < high {
      let middle = (low + high) / 2
      if targets[middle].end <= time { low = middle + 1 } else { high = middle }
    }
    return low
  }
}

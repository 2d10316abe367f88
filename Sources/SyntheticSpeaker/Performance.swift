package import Basics
import Foundation

/// What a person does in a clip: the expressions, movements, blinks and glances, drawn up in advance.
package struct Performance: Codable, Sendable, Equatable {
  /// An expression and when it begins to be taken on.
  package struct TimedExpression: Codable, Sendable, Equatable {
    package var name: FacialExpression
    package var start: Double

    package init(name: FacialExpression, start: Double) { (self.name, self.start) = (name, start) }
  }

  package struct Glance: Codable, Sendable, Equatable {
    package var start: Double
    package var x: Double
    package var y: Double
  }

  /// One of the slow swings that a head at rest makes.
  struct Swing: Codable, Sendable, Equatable {
    var frequency: Double
    var phase: Double
    var yaw: Double
    var pitch: Double
    var roll: Double

    enum CodingKeys: CodingKey { case frequency, phase, yaw, pitch, roll }
  }

  package var seconds: Double
  package var expressions: [TimedExpression]
  package var motions: [TimedMotion]
  /// When the eyes are fully closed for the first time of each blink.
  package var blinks: [Double]
  package var glances: [Glance]
  var swings: [Swing]

  /// Seconds in which one expression becomes the next.
  private static let change = 0.6
  /// Seconds of a blink: closing, closed (longer than a picture, so that one shows it), opening.
  private static let (closing, closed, opening) = (0.09, 0.07, 0.15)

  package init(
    seconds: Double, expressions: [TimedExpression] = [TimedExpression(name: .neutral, start: 0)],
    motions: [TimedMotion] = [], blinks: [Double] = []
  ) {
    self.seconds = seconds
    self.expressions = expressions
    self.motions = motions
    self.blinks = blinks
    glances = []
    swings = []
  }

  package init(seconds: Double, using random: inout SeededRandom) {
    self.init(seconds: seconds)
    expressions = [
      TimedExpression(name: random.pick([.neutral, .smile, .smile] + FacialExpression.allCases), start: 0)
    ]
    if seconds > 3.5, random.chance(0.35) {
      let others = FacialExpression.allCases.filter { $0 != expressions[0].name }
      let start = random.number(0.4...0.6) * seconds
      expressions.append(TimedExpression(name: random.pick(others), start: start.rounded(3)))
    }
    var time = random.number(0.1...0.5)
    while true {
      let name = random.pick(Motion.allCases)
      let tempo = random.pick([Motion.Tempo.slow, .normal, .normal, .quick])
      let length = name.seconds * tempo.stretch * random.number(0.9...1.1)
      guard time + length <= seconds, motions.count < 4 else { break }
      let strength = random.number(0.8...1.15).rounded(3)
      motions.append(
        TimedMotion(
          name: name, tempo: tempo, start: time.rounded(3), end: (time + length).rounded(3), strength: strength))
      time += length + random.number(0.3...1.6)
    }
    var blink = random.number(0.3...2.5)
    while blink < seconds - 0.2 {
      blinks.append(blink.rounded(3))
      blink += random.chance(0.12) ? random.number(0.4...0.6) : random.number(1.8...4.8)
    }
    var glance = 0.0
    while glance < seconds {
      let atCamera = random.chance(0.6)
      glances.append(
        Glance(
          start: glance.rounded(3), x: atCamera ? 0 : random.number(-0.35...0.35).rounded(3),
          y: atCamera ? 0 : random.number(-0.2...0.25).rounded(3)))
      glance += random.number(0.5...1.8)
    }
    swings = (0..<4).map { index in
      let size = [1.0, 0.7, 0.45, 0.3][index]
      return Swing(
        frequency: (random.number(0.09...0.16) * Double(index + 1)).rounded(4),
        phase: random.number(0...6.283).rounded(4), yaw: (random.normal() * 2.6 * size).rounded(4),
        pitch: (random.normal() * 1.5 * size).rounded(4), roll: (random.normal() * 1.3 * size).rounded(4))
    }
  }

  /// Everything but the mouth, as it is at a moment.
  package func state(at time: Double) -> FrameState {
    var state = FrameState()
    var face = expressions.first?.name.shape ?? ExpressionShape()
    state.expression = expressions.first?.name ?? .neutral
    for next in expressions.dropFirst() {
      let share = smooth(time, next.start, next.start + Self.change)
      face = face.mixed(next.name.shape, share)
      if share > 0.5 { state.expression = next.name }
    }
    for swing in swings {
      let value = sin(2 * .pi * swing.frequency * time + swing.phase)
      state.yaw += swing.yaw * value
      state.pitch += swing.pitch * value
      state.roll += swing.roll * value
    }
    (state.gazeX, state.gazeY) = gaze(at: time)
    for motion in motions {
      let offset = motion.offset(at: time)
      state.yaw += offset.yaw
      state.pitch += offset.pitch
      state.roll += offset.roll
      state.gazeX += offset.gazeX
      state.gazeY += offset.gazeY
      face.browRaise += offset.brows
    }
    state.gazeX = min(max(state.gazeX, -1), 1)
    state.gazeY = min(max(state.gazeY, -1), 1)
    face.browRaise = min(face.browRaise, 1.3)
    state.face = face
    state.blink = blink(at: time)
    return state
  }

  /// The states of all pictures; each shows the middle of its time.
  package func states(frames: Int, framesPerSecond: Int, mouth: MouthTrack) -> [FrameState] {
    (0..<frames).map { frame in
      let (start, end) = (Double(frame) / Double(framesPerSecond), Double(frame + 1) / Double(framesPerSecond))
      var state = self.state(at: (start + end) / 2)
      let shape = mouth.shape(from: start, to: end)
      state.mouthOpen = shape.open
      // A smile spreads the lips, except where they are pursed.
      state.mouthWidth = min(max(shape.width + 0.2 * max(state.face.smile, 0) * (1 - shape.round), 0), 1.2) / 1.2
      state.mouthRound = shape.round
      state.teeth = shape.teeth
      state.tongue = shape.tongue
      return state.rounded(4)
    }
  }

  /// The movements and expressions in words: "smiling, nods slowly and looks left".
  package var phrases: (expression: String, motions: [String]) {
    let names = expressions.map(\.name.phrase)
    let expression =
      names.count > 1 ? "first \(names[0]), then \(names[1])" : names.first ?? FacialExpression.neutral.phrase
    return (expression, motions.map(\.phrase))
  }

  private func gaze(at time: Double) -> (Double, Double) {
    var (x, y) = (glances.first?.x ?? 0, glances.first?.y ?? 0)
    for glance in glances.dropFirst() where glance.start < time {
      let share = smooth(time, glance.start, glance.start + 0.07)
      x += (glance.x - x) * share
      y += (glance.y - y) * share
    }
    return (x, y)
  }

  private func blink(at time: Double) -> Double {
    var closed = 0.0
    for blink in blinks where abs(blink - time) < 1 {
      let down = smooth(time, blink - Self.closing, blink)
      let up = smooth(time, blink + Self.closed, blink + Self.closed + Self.opening)
      closed = max(closed, min(down, 1 - up))
    }
    return closed
  }
}

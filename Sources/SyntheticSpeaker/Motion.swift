import Foundation

/// A movement that has a name. Left and right are the picture's.
package enum Motion: String, Codable, Sendable, CaseIterable {
  case nod, shake, tiltLeft, tiltRight, turnLeft, turnRight, lookLeft, lookRight, lookUp, lookDown, raiseBrows

  package enum Tempo: String, Codable, Sendable, CaseIterable {
    case slow, normal, quick

    /// Against the time that the movement takes at its usual tempo.
    var stretch: Double {
      switch self {
      case .slow: 1.5
      case .normal: 1
      case .quick: 0.7
      }
    }
  }

  /// As captions say it.
  package func phrase(_ tempo: Tempo) -> String {
    let adverb =
      switch tempo {
      case .slow: " slowly"
      case .normal: ""
      case .quick: " quickly"
      }
    return switch self {
    case .nod: "nods\(adverb)"
    case .shake: "shakes the head\(adverb)"
    case .tiltLeft: "tilts the head\(adverb) to the left"
    case .tiltRight: "tilts the head\(adverb) to the right"
    case .turnLeft: "turns\(adverb) to the left"
    case .turnRight: "turns\(adverb) to the right"
    case .lookLeft: "looks left"
    case .lookRight: "looks right"
    case .lookUp: "looks up"
    case .lookDown: "looks down"
    case .raiseBrows: "raises the eyebrows"
    }
  }

  /// Seconds at the usual tempo.
  var seconds: Double {
    switch self {
    case .nod: 1.3
    case .shake: 1.4
    case .tiltLeft, .tiltRight: 1.7
    case .turnLeft, .turnRight: 1.8
    case .lookLeft, .lookRight, .lookUp, .lookDown: 1.1
    case .raiseBrows: 0.9
    }
  }
}

/// What a movement adds to the pose: degrees, gaze −1…1, brows −1…1.
struct MotionOffset: Equatable {
  var yaw = 0.0
  var pitch = 0.0
  var roll = 0.0
  var gazeX = 0.0
  var gazeY = 0.0
  var brows = 0.0
}

/// A movement at its place in a clip.
package struct TimedMotion: Codable, Sendable, Equatable {
  package var name: Motion
  package var tempo: Motion.Tempo
  /// Seconds from the beginning of the clip.
  package var start: Double
  package var end: Double
  /// How far it goes; 1 is usual.
  package var strength: Double

  package init(name: Motion, tempo: Motion.Tempo, start: Double, end: Double, strength: Double) {
    (self.name, self.tempo, self.start, self.end, self.strength) = (name, tempo, start, end, strength)
  }

  package var phrase: String { name.phrase(tempo) }

  /// Nothing before `start` and after `end`, with soft beginnings and ends.
  func offset(at time: Double) -> MotionOffset {
    let share = (time - start) / max(end - start, 1e-6)
    guard share > 0, share < 1 else { return MotionOffset() }
    let hold = smooth(share, 0, 0.3) * (1 - smooth(share, 0.7, 1)) * strength
    let swing = smooth(share, 0, 0.15) * (1 - smooth(share, 0.85, 1)) * strength
    switch name {
    case .nod: return MotionOffset(pitch: 9 * swing * (1 - cos(share * 4 * .pi)))
    case .shake: return MotionOffset(yaw: 17 * swing * sin(share * 4 * .pi))
    case .tiltLeft: return MotionOffset(roll: -13 * hold)
    case .tiltRight: return MotionOffset(roll: 13 * hold)
    case .turnLeft: return MotionOffset(yaw: -25 * hold, gazeX: -0.3 * hold)
    case .turnRight: return MotionOffset(yaw: 25 * hold, gazeX: 0.3 * hold)
    case .lookLeft: return MotionOffset(yaw: -4 * hold, gazeX: -0.95 * hold)
    case .lookRight: return MotionOffset(yaw: 4 * hold, gazeX: 0.95 * hold)
    case .lookUp: return MotionOffset(pitch: -3 * hold, gazeY: -0.9 * hold, brows: 0.25 * hold)
    case .lookDown: return MotionOffset(pitch: 3 * hold, gazeY: 0.9 * hold)
    case .raiseBrows: return MotionOffset(brows: hold)
    }
  }
}

/// A caption for a clip that has none: it speaks of the motion, which is what the caption steers, and not of looks, which the
/// reference picture shows.
enum MotionCaption {
  /// Changes when the words do: clips of one folder are captioned alike.
  static let version = "1"

  /// - Parameter frames: packed RGB8 of one size.
  static func caption(_ frames: [[UInt8]]) -> String {
    let movement = self.movement(frames)
    let manner =
      switch movement {
      case ..<0.004: "almost still, only the lips moving"
      case ..<0.02: "with calm, natural movements of the head and the lips"
      default: "with lively movements of the head and the body"
      }
    return "A person faces the camera and speaks, \(manner)."
  }

  /// The mean difference of neighbouring frames, from 0 to 1, of every seventh byte.
  static func movement(_ frames: [[UInt8]]) -> Double {
    var sum = 0
    var count = 0
    for (one, next) in zip(frames, frames.dropFirst()) where one.count == next.count {
      one.withUnsafeBufferPointer { one in
        next.withUnsafeBufferPointer { next in
          var place = 0
          while place < one.count {
            sum += abs(Int(one[place]) - Int(next[place]))
            count += 1
            place += 7
          }
        }
      }
    }
    return count > 0 ? Double(sum) / Double(count) / 255 : 0
  }
}

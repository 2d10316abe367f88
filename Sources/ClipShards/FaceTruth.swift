/// What is known of the face in every frame of a drawn clip: the columns of the tensor `face`, float32 `[T, 32]`.
///
/// Landmarks are in pixels of the prepared frames, x before y; left and right are the picture's. Everything else is in the units of
/// the synthetic speaker's truth.
package enum FaceTruth {
  /// The name of the tensor.
  package static let tensor = "face"
  package static let columns = 2 * Landmark.allCases.count + Value.allCases.count

  package enum Landmark: Int, CaseIterable, Sendable {
    case leftEye, rightEye, nose, mouthLeft, mouthRight, lipTop, lipBottom, chin

    /// The column of x; y is the next one.
    package var column: Int { 2 * rawValue }
  }

  package enum Value: Int, CaseIterable, Sendable {
    /// 0…1.
    case mouthOpen, mouthWidth, mouthRound, teeth, tongue
    /// Degrees: to the picture's right, down, clockwise in the picture.
    case yaw, pitch, roll
    /// −1…1: to the picture's right and down.
    case gazeX, gazeY
    /// 0 open, 1 closed.
    case blink
    /// −1…1, but `lids` (1 at rest) and `cheeks` (0…1).
    case browRaise, browTilt, lids, cheeks, smile

    package var column: Int { 2 * Landmark.allCases.count + rawValue }
  }
}

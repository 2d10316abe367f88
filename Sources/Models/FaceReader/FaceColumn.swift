/// What is read off a picture of a face: the columns of `FaceReading.columns`, in the order of prepared truth.
///
/// Left and right are the picture's. Units: landmarks are shares of the picture's width and height from its upper left corner,
/// angles are parts of 20 degrees, all else is as drawn (0…1 or −1…1; see the synthetic speaker's `FrameState`).
package enum FaceColumn: Int, CaseIterable, Sendable {
  case leftEyeX, leftEyeY, rightEyeX, rightEyeY, noseX, noseY, mouthLeftX, mouthLeftY, mouthRightX, mouthRightY
  case lipTopX, lipTopY, lipBottomX, lipBottomY, chinX, chinY
  case mouthOpen, mouthWidth, mouthRound, teeth, tongue, yaw, pitch, roll, gazeX, gazeY, blink
  case browRaise, browTilt, lids, cheeks, smile

  package static let count = allCases.count
  /// Columns of landmarks, x and y in turn; they come first.
  package static let landmarks = chinY.rawValue + 1
  /// Degrees of an angle of 1.
  package static let degrees = 20.0

  package var isLandmark: Bool { rawValue < FaceColumn.landmarks }
  package var isAngle: Bool { self == .yaw || self == .pitch || self == .roll }

  /// The value of a face at rest in the middle of the picture.
  package var centre: Double {
    switch self {
    case .leftEyeX: 0.4
    case .rightEyeX: 0.6
    case .leftEyeY, .rightEyeY: 0.43
    case .noseX, .lipTopX, .lipBottomX, .chinX, .mouthWidth: 0.5
    case .noseY: 0.51
    case .mouthLeftX: 0.43
    case .mouthRightX: 0.57
    case .mouthLeftY, .mouthRightY, .lipTopY: 0.6
    case .lipBottomY: 0.63
    case .chinY: 0.74
    case .lids: 1
    default: 0
    }
  }

  /// About one standard deviation of the value over people and time: what an error is measured in.
  package var spread: Double {
    if isLandmark { return 0.03 }
    if isAngle { return 0.3 }
    return switch self {
    case .mouthOpen: 0.2
    case .mouthWidth: 0.15
    case .lids: 0.15
    case .browRaise, .browTilt: 0.4
    case .smile: 0.5
    default: 0.3
    }
  }
}

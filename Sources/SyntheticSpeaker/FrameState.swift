/// All that changes from picture to picture. A truth file holds one for each, as drawn.
package struct FrameState: Codable, Sendable, Equatable {
  /// Gap between the lips at their middle, 0…1 of `Head.widestGap`.
  package var mouthOpen = 0.0
  /// Distance of the mouth's corners, 0…1.
  package var mouthWidth = 0.5
  package var mouthRound = 0.0
  package var teeth = 0.0
  package var tongue = 0.0
  /// Degrees: to the picture's right, down, clockwise in the picture.
  package var yaw = 0.0
  package var pitch = 0.0
  package var roll = 0.0
  /// −1…1: to the picture's right and down.
  package var gazeX = 0.0
  package var gazeY = 0.0
  /// 0 open, 1 closed.
  package var blink = 0.0
  /// The one that is strongest.
  package var expression = FacialExpression.neutral
  package var face = ExpressionShape()

  package init() {}

  /// To so many decimals: what is drawn is then what a file holds.
  func rounded(_ decimals: Int) -> FrameState {
    var state = self
    for path in [
      \FrameState.mouthOpen, \.mouthWidth, \.mouthRound, \.teeth, \.tongue, \.yaw, \.pitch, \.roll, \.gazeX, \.gazeY,
      \.blink,
      \.face.browRaise, \.face.browTilt, \.face.lids, \.face.cheeks, \.face.smile,
    ] { state[keyPath: path] = state[keyPath: path].rounded(decimals) }
    return state
  }
}

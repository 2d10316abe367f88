import Foundation

/// The shape of a head and how it is turned: places on it, in head units, become places on the picture plane.
///
/// Head units: x to the picture's right, y down, z towards the camera; the centre of the head is 0, a head is about 0.9 high.
/// The face is the front of an ellipsoid, so that features turn with it (parallax); the outline keeps its place but for the
/// chin, which is in front of the axis. Roll is left to the canvas.
struct Head {
  /// The gap between the lips at their middle when the mouth is fully open.
  static let widestGap = 0.15
  /// Where the head turns for a roll.
  static let neck = Point(0, 0.5)

  let identity: Identity
  let state: FrameState
  private let sinYaw: Double
  private let cosYaw: Double
  private let sinPitch: Double
  private let cosPitch: Double
  /// How far the chin hangs.
  let jaw: Double

  init(_ identity: Identity, _ state: FrameState) {
    self.identity = identity
    self.state = state
    (sinYaw, cosYaw) = (sin(state.yaw * .pi / 180), cos(state.yaw * .pi / 180))
    (sinPitch, cosPitch) = (sin(state.pitch * .pi / 180), cos(state.pitch * .pi / 180))
    jaw = 0.4 * Self.widestGap * state.mouthOpen
  }

  /// A place on the face, or `lift` in front of it.
  func face(_ x: Double, _ y: Double, lift: Double = 0) -> Point {
    let (u, v) = (x / (identity.faceWidth * 1.12), y / 0.56)
    return solid(x, y, 0.27 * max(0.06, 1 - u * u - v * v).squareRoot() + lift)
  }

  /// A place anywhere.
  func solid(_ x: Double, _ y: Double, _ z: Double) -> Point {
    let depth = z * cosYaw - x * sinYaw
    return Point(x * cosYaw + z * sinYaw, y * cosPitch + depth * sinPitch)
  }

  /// A place on the outline of the skull or, with `grow` above 1, of what is on it.
  func outline(_ x: Double, _ y: Double, grow: Double = 1) -> Point {
    // The skull's top leans back and the chin forward.
    let depth = y > 0 ? 0.13 * smooth(y, 0, 0.45) : -0.1 * smooth(-y, 0.1, 0.5)
    return Point(x * grow + depth * sinYaw, y * (y < 0 ? grow : 1) + (depth + 0.04) * sinPitch)
  }

  /// The outline of the face, from the top clockwise.
  var outline: [Point] {
    let (a, chin) = (identity.faceWidth, identity.chin + jaw)
    let (jawX, chinX) = (a * identity.jawWidth, a * identity.chinWidth)
    let right = [
      Point(0.5 * a, -0.41), Point(0.9 * a, -0.24), Point(a, -0.05), Point(0.97 * a, 0.1),
      Point(jawX, 0.27 + jaw * 0.6),
      Point(chinX, chin - 0.055),
    ]
    let points = [Point(0, -0.45)] + right + [Point(0, chin)] + right.reversed().map { Point(-$0.x, $0.y) }
    return points.map { outline($0.x, $0.y) }
  }

  // MARK: Mouth

  /// The mouth's measures before it is turned.
  struct Mouth {
    /// Half the distance of the corners.
    let halfWidth: Double
    /// The gap at the middle.
    let gap: Double
    /// The upper and the lower lip's inner edge at the middle, and the corners.
    let top: Double
    let bottom: Double
    let corner: Double
  }

  var mouth: Mouth {
    let width = identity.mouthHalfWidth * (0.5 + state.mouthWidth)
    let gap = Self.widestGap * state.mouthOpen
    let rest = 0.235 * (identity.chin / 0.44)
    let smile = state.face.smile
    return Mouth(
      halfWidth: width, gap: gap, top: rest - 0.22 * gap + 0.006 * smile, bottom: rest + 0.78 * gap + 0.006 * smile,
      corner: rest + 0.16 * gap - 0.032 * smile)
  }
}

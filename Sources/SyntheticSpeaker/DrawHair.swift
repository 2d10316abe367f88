import Foundation

/// Hair that hangs or stands behind the face, the neck and the shoulders' front.
func drawHairBehind(_ head: Head, on canvas: Canvas) {
  let identity = head.identity
  let (a, v) = (identity.faceWidth, identity.hairVolume)
  let paint = identity.hair.darker(0.22)
  /// A point behind the head's axis.
  func back(_ x: Double, _ y: Double) -> Point { head.solid(x, y, -0.12) }
  if identity.hairStyle != .bald {
    // Under all styles, for what a turned head shows behind the hairline.
    canvas.begin()
    canvas.spline(
      [(-1, 0.0), (-0.95, -0.25), (-0.5, -0.42), (0, -0.45), (0.5, -0.42), (0.95, -0.25), (1, 0.0)].map {
        head.outline($0.0 * a, $0.1, grow: 1.02)
      })
    canvas.fill(paint)
  }
  canvas.begin()
  switch identity.hairStyle {
  case .bald, .buzzed, .short, .sidePart, .fringe: return
  case .bob:
    let w = a * (1.2 + 0.1 * v)
    canvas.spline([
      back(0, -0.5 - 0.03 * v), back(w * 0.8, -0.38), back(w, -0.08), back(w * 1.03, 0.2), back(w * 0.82, 0.36),
      back(0, 0.32), back(-w * 0.82, 0.36), back(-w * 1.03, 0.2), back(-w, -0.08), back(-w * 0.8, -0.38),
    ])
  case .long, .wavy:
    let w = a * (1.2 + 0.12 * v)
    let wave = identity.hairStyle == .wavy ? 0.05 * v : 0
    var right = [back(w * 0.8, -0.38), back(w * 1.0, -0.1)]
    for (index, y) in [0.1, 0.28, 0.46, 0.64, 0.8].enumerated() {
      right.append(back(w * 1.03 + (index % 2 == 0 ? wave : -wave), y))
    }
    let left = right.map { Point(2 * back(0, 0).x - $0.x, $0.y) }
    canvas.spline([back(0, -0.5 - 0.03 * v)] + right + [back(0, 0.84)] + left.reversed())
  case .bun:
    canvas.ellipse(back(0, -0.55 - 0.02 * v), 0.15 * v, 0.13 * v)
  case .ponytail:
    canvas.spline([
      back(0.1, -0.45), back(0.34, -0.42), back(a * 1.42, -0.1), back(a * 1.35, 0.3), back(a * 1.1, 0.52),
      back(a * 1.05, 0.2), back(a * 0.9, -0.2),
    ])
  case .curly:
    let (x, y) = (a * (1.14 + 0.1 * v), 0.47 + 0.06 * v)
    for index in 0..<22 {
      let angle = Double(index) / 22 * 2 * .pi
      canvas.ellipse(back(x * sin(angle), -0.1 - y * 0.9 * cos(angle)), 0.105, 0.105)
    }
    canvas.ellipse(back(0, -0.1), x, y * 0.92)
  }
  canvas.fill(paint)
}

/// Hair that covers the skull and falls on the forehead.
func drawHairInFront(_ head: Head, on canvas: Canvas) {
  let identity = head.identity
  let a = identity.faceWidth
  let paint = identity.hair
  let v = identity.hairVolume
  let grow: Double
  /// The hairline from the right temple to the left, on the face.
  let line: [(Double, Double)]
  /// Where the hair ends beside the face.
  var temple = 0.02
  switch identity.hairStyle {
  case .bald: return
  case .buzzed:
    grow = 1.03
    temple = -0.05
    line = [(0.92, -0.12), (0.8, -0.27), (0.4, -0.33), (0, -0.345), (-0.4, -0.33), (-0.8, -0.27), (-0.92, -0.12)]
  case .short:
    grow = 1.07 + 0.05 * v
    line = [(0.92, -0.08), (0.84, -0.25), (0.35, -0.3), (-0.2, -0.32), (-0.62, -0.27), (-0.86, -0.22), (-0.92, -0.08)]
  case .sidePart:
    grow = 1.08 + 0.05 * v
    line = [(0.93, -0.06), (0.86, -0.2), (0.5, -0.255), (0, -0.3), (-0.36, -0.38), (-0.8, -0.28), (-0.93, -0.08)]
  case .fringe:
    grow = 1.08 + 0.04 * v
    line = [(0.95, -0.02), (0.86, -0.17), (0.5, -0.195), (0, -0.19), (-0.5, -0.195), (-0.86, -0.17), (-0.95, -0.02)]
  case .bob, .long, .wavy:
    grow = 1.09 + 0.05 * v
    temple = 0.2
    line = [(0.97, 0.1), (0.88, -0.12), (0.6, -0.25), (0.1, -0.36), (-0.3, -0.33), (-0.82, -0.15), (-0.97, 0.1)]
  case .bun, .ponytail:
    grow = 1.06 + 0.02 * v
    line = [(0.94, -0.02), (0.86, -0.22), (0.45, -0.31), (0, -0.33), (-0.45, -0.31), (-0.86, -0.22), (-0.94, -0.02)]
  case .curly:
    grow = 1.09 + 0.03 * v
    line = [(0.95, -0.04), (0.84, -0.2), (0.42, -0.28), (0, -0.29), (-0.42, -0.28), (-0.84, -0.2), (-0.95, -0.04)]
  }
  // Over the skull from the left temple to the right, back along the hairline.
  let skull: [(Double, Double)] = [
    (-1, temple), (-1.01, -0.14), (-0.88, -0.32), (-0.5, -0.435), (0, -0.465), (0.5, -0.435), (0.88, -0.32),
    (1.01, -0.14), (1, temple),
  ]
  let outer = skull.map { head.outline($0.0 * a, $0.1, grow: grow) }
  // The far side of the hairline goes no further than the skull does.
  let inner = line.map { place -> Point in
    let (point, edge) = (head.face(place.0 * a, place.1, lift: 0.01), head.outline(0, place.1).x)
    return Point(min(max(point.x, edge - a), edge + a), point.y)
  }
  canvas.begin()
  canvas.spline(outer, isClosed: false)
  canvas.line(inner[0])
  for index in 0..<(inner.count - 1) {
    let before = inner[max(index - 1, 0)]
    let after = inner[min(index + 2, inner.count - 1)]
    let (start, end) = (inner[index], inner[index + 1])
    canvas.curve(start + (end - before) / 6, end - (after - start) / 6, end)
  }
  canvas.close()
  canvas.fill(paint, alpha: identity.hairStyle == .buzzed ? 0.85 : 1)
  if identity.hairStyle == .curly {
    canvas.begin()
    for (index, point) in line.enumerated() {
      canvas.ellipse(head.face(point.0 * a, point.1 - 0.035, lift: 0.01), 0.07, 0.06 + 0.008 * Double(index % 2))
    }
    canvas.fill(paint)
  }
  drawShine(head, grow, on: canvas)
}

private func drawShine(_ head: Head, _ grow: Double, on canvas: Canvas) {
  let identity = head.identity
  guard identity.hairStyle != .buzzed else { return }
  let a = identity.faceWidth
  canvas.begin()
  canvas.spline(
    [(-0.8, -0.25), (-0.62, -0.36), (-0.3, -0.425)].map { head.outline($0.0 * a, $0.1, grow: (grow + 1) / 2) },
    isClosed: false)
  canvas.stroke(identity.hair.lighter(0.28), width: 0.028, alpha: 0.55)
  guard identity.hairStyle == .fringe else { return }
  for x in [-0.55, -0.2, 0.15, 0.5] {
    canvas.begin()
    canvas.move(head.face(x * a, -0.19, lift: 0.01))
    canvas.line(head.face((x + 0.05) * a, -0.29, lift: 0.01))
    canvas.stroke(identity.hair.darker(0.35), width: 0.01, alpha: 0.7)
  }
}

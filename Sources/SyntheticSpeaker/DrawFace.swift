import Foundation

/// Ears, the face's surface, nose, cheeks and beard; all but eyes and mouth.
func drawFace(_ head: Head, on canvas: Canvas) {
  let identity = head.identity
  let skin = identity.skin
  drawEars(head, on: canvas)
  canvas.begin()
  canvas.spline(head.outline)
  canvas.fill(skin)
  canvas.saved {
    canvas.begin()
    canvas.spline(head.outline)
    canvas.clip()
    drawShades(head, on: canvas)
    drawBeard(head, on: canvas)
  }
  drawNose(head, on: canvas)
  drawLines(head, on: canvas)
}

private func drawEars(_ head: Head, on canvas: Canvas) {
  let identity = head.identity
  for side in [-1.0, 1.0] {
    let place = head.solid(side * identity.faceWidth * 1.0, 0.02, -0.05)
    canvas.begin()
    canvas.ellipse(place, 0.055, 0.088)
    canvas.fill(identity.skin.darker(0.07))
    canvas.begin()
    canvas.ellipse(place + Point(side * 0.006, 0.002), 0.028, 0.052)
    canvas.fill(identity.skin.darker(0.2))
    if identity.earrings {
      canvas.begin()
      canvas.ellipse(place + Point(side * 0.012, 0.115), 0.022, 0.028)
      canvas.fill(Paint(0xE2B84A))
    }
  }
}

private func drawShades(_ head: Head, on canvas: Canvas) {
  let identity = head.identity
  let skin = identity.skin
  // The side away from the light, which comes from the upper left.
  let points = head.outline
  canvas.saved {
    canvas.begin()
    canvas.spline(points)
    // What is left of the face outside the same outline moved to the left.
    let moved = points.map { Point($0.x - 0.07, $0.y - 0.035) }
    canvas.spline(moved.reversed())
    canvas.fill(skin.darker(0.28), alpha: 0.38)
  }
  for side in [-1.0, 1.0] {
    canvas.begin()
    canvas.ellipse(head.face(side * 0.2, 0.1), 0.075, 0.05)
    canvas.fill(skin.mixed(Paint(0xE0505A), 0.5), alpha: identity.gender == .woman ? 0.28 : 0.16)
  }
  guard identity.freckles else { return }
  for (index, x) in [-0.24, -0.2, -0.16, -0.12, 0.12, 0.16, 0.2, 0.24, -0.18, 0.18].enumerated() {
    canvas.begin()
    canvas.ellipse(head.face(x, 0.07 + 0.022 * Double(index % 3)), 0.007, 0.007)
    canvas.fill(skin.mixed(Paint(0x9A5A30), 0.6), alpha: 0.8)
  }
}

private func drawNose(_ head: Head, on canvas: Canvas) {
  let identity = head.identity
  let (w, tip) = (identity.noseWidth, 0.105 * identity.noseLength)
  func at(_ x: Double, _ y: Double, _ lift: Double) -> Point { head.face(x, y, lift: lift) }
  // A shade under the tip, and the right side of the bridge.
  canvas.begin()
  canvas.move(at(-w, tip + 0.012, 0.01))
  canvas.curve(at(-w * 0.7, tip - 0.05, 0.05), at(w * 0.7, tip - 0.05, 0.05), at(w, tip + 0.012, 0.01))
  canvas.curve(at(w * 0.6, tip + 0.046, 0.05), at(-w * 0.6, tip + 0.046, 0.05), at(-w, tip + 0.012, 0.01))
  canvas.close()
  canvas.fill(identity.skin.darker(0.13))
  canvas.begin()
  canvas.ellipse(at(-w * 0.12, tip - 0.014, 0.06), w * 0.42, 0.02)
  canvas.fill(identity.skin.lighter(0.3), alpha: 0.6)
  canvas.begin()
  canvas.move(at(w * 0.42, Eye.height + 0.01, 0.02))
  canvas.curve(at(w * 0.45, 0.0, 0.03), at(w * 0.6, tip - 0.05, 0.05), at(w * 0.95, tip - 0.005, 0.02))
  canvas.stroke(identity.skin.darker(0.28), width: 0.01, alpha: 0.7)
  for side in [-1.0, 1.0] {
    canvas.begin()
    canvas.ellipse(at(side * w * 0.42, tip + 0.022, 0.035), w * 0.2, 0.009)
    canvas.fill(identity.skin.darker(0.55), alpha: 0.8)
  }
}

private func drawLines(_ head: Head, on canvas: Canvas) {
  let identity = head.identity
  let depth = identity.age == .old ? 0.85 : 0.0
  let smile = max(head.state.face.smile, 0)
  let mouth = head.mouth
  let strength = max(depth, 0.6 * smile)
  if strength > 0.02 {
    for side in [-1.0, 1.0] {
      canvas.begin()
      canvas.move(head.face(side * 0.085, 0.115))
      canvas.curve(
        head.face(side * 0.125, 0.14), head.face(side * (mouth.halfWidth + 0.045), 0.17),
        head.face(side * (mouth.halfWidth + 0.045), mouth.corner - 0.005))
      canvas.stroke(identity.skin.darker(0.32), width: 0.009, alpha: strength * 0.8)
    }
  }
  guard identity.age == .old else { return }
  for (y, w) in [(-0.245, 0.14), (-0.285, 0.11)] {
    canvas.begin()
    canvas.move(head.face(-w, y))
    canvas.curve(head.face(-w * 0.4, y - 0.014), head.face(w * 0.4, y - 0.014), head.face(w, y))
    canvas.stroke(identity.skin.darker(0.26), width: 0.007, alpha: 0.6)
  }
  for side in [-1.0, 1.0] {
    let x = identity.eyeSpacing
    canvas.begin()
    canvas.move(head.face(side * (x - 0.04), 0.0))
    canvas.curve(
      head.face(side * (x - 0.01), 0.02), head.face(side * (x + 0.02), 0.02), head.face(side * (x + 0.05), 0.005))
    canvas.stroke(identity.skin.darker(0.26), width: 0.007, alpha: 0.6)
  }
}

private func drawBeard(_ head: Head, on canvas: Canvas) {
  let identity = head.identity
  guard identity.beard != .none else { return }
  let (a, mouth, chin) = (identity.faceWidth, head.mouth, identity.chin + head.jaw)
  let paint = identity.hair.mixed(identity.skin, 0.12)
  let lip = mouth.top - 0.034 * identity.lipThickness
  func moustache() {
    canvas.begin()
    canvas.move(head.face(0, lip - 0.045, lift: 0.03))
    for side in [1.0, -1.0] {
      if side < 0 { canvas.line(head.face(0, lip - 0.005, lift: 0.03)) }
      let tip = head.face(side * 0.15, mouth.corner + 0.01, lift: 0.015)
      let high = head.face(side * 0.085, lip - 0.062, lift: 0.03)
      let low = head.face(side * 0.07, lip - 0.004, lift: 0.03)
      if side > 0 { canvas.curve(head.face(0.03, lip - 0.062, lift: 0.03), high, tip) }
      if side > 0 { canvas.curve(low, low, head.face(0, lip - 0.005, lift: 0.03)) }
      if side < 0 { canvas.curve(low, low, tip) }
      if side < 0 {
        canvas.curve(high, head.face(-0.03, lip - 0.062, lift: 0.03), head.face(0, lip - 0.045, lift: 0.03))
      }
    }
    canvas.close()
    canvas.fill(paint)
  }
  func lower(_ alpha: Double, _ top: Double, _ width: Double) {
    // From ear to ear around the mouth, open above.
    var points: [Point] = []
    for side in [-1.0, 1.0] {
      let half = [
        head.outline(side * a * 1.05 * width, top), head.outline(side * a * 1.02 * width, 0.2),
        head.outline(side * a * 0.75 * width, chin),
      ]
      points += side < 0 ? half : half.reversed()
    }
    points.insert(head.outline(0, chin + 0.08), at: 3)
    let inner = [
      head.face(a * 0.88 * width, top + 0.08), head.face(a * 0.66 * width, 0.185), head.face(0.11 * width, lip - 0.035),
      head.face(-0.11 * width, lip - 0.035), head.face(-a * 0.66 * width, 0.185),
      head.face(-a * 0.88 * width, top + 0.08),
    ]
    canvas.begin()
    canvas.spline(points + inner)
    canvas.fill(paint, alpha: alpha)
  }
  switch identity.beard {
  case .none: break
  case .stubble: lower(0.22, -0.02, 1)
  case .moustache: moustache()
  case .goatee:
    moustache()
    canvas.begin()
    canvas.spline([
      head.face(-0.1, mouth.bottom + 0.075), head.face(0, mouth.bottom + 0.06), head.face(0.1, mouth.bottom + 0.075),
      head.outline(0.09, chin - 0.02), head.outline(0, chin + 0.02), head.outline(-0.09, chin - 0.02),
    ])
    canvas.fill(paint)
  case .full:
    lower(1, -0.04, 1)
  }
}

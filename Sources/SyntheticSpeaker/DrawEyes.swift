/// Measures of the eyes in head units.
enum Eye {
  static let height = -0.055
  static let halfWidth = 0.066
  static let halfHeight = 0.036
}

/// Eyes and brows.
func drawEyes(_ head: Head, on canvas: Canvas) {
  for side in [-1.0, 1.0] {
    drawEye(head, side, on: canvas)
    drawBrow(head, side, on: canvas)
  }
}

private func drawEye(_ head: Head, _ side: Double, on canvas: Canvas) {
  let (identity, state) = (head.identity, head.state)
  let (x, y) = (side * identity.eyeSpacing, Eye.height)
  let w = Eye.halfWidth * identity.eyeSize
  let h = Eye.halfHeight * identity.eyeSize
  let blink = state.blink
  // The upper lid comes down on the lower one, which rises a little.
  let lower = y + h * (0.78 - 0.5 * state.face.cheeks * 0.5 - 0.12 * blink)
  let upper = lower - (h * 0.78 + h * state.face.lids) * (1 - blink)
  let inner = Point(x - side * w, y + h * 0.22 + 0.35 * blink * h)
  let outer = Point(x + side * w, y - h * 0.02 + 0.5 * blink * h)
  func at(_ x: Double, _ y: Double, _ lift: Double = 0) -> Point { head.face(x, y, lift: lift) }
  // Controls of a cubic lie beyond the curve: its middle is three quarters of the way to them.
  func control(_ middle: Double) -> Double {
    let ends = (inner.y + outer.y) / 2
    return ends + (middle - ends) / 0.75
  }
  func upperLid() {
    canvas.curve(
      at(x - side * w * 0.5, control(upper)), at(x + side * w * 0.55, control(upper)), at(outer.x, outer.y))
  }
  func lowerLid() {
    canvas.curve(
      at(x + side * w * 0.55, control(lower)), at(x - side * w * 0.5, control(lower)), at(inner.x, inner.y))
  }
  let lash = identity.hair.mixed(Paint(0x201418), 0.8)
  if blink < 0.97 {
    canvas.saved {
      canvas.begin()
      canvas.move(at(inner.x, inner.y))
      upperLid()
      lowerLid()
      canvas.close()
      canvas.clip()
      canvas.begin()
      canvas.rectangle(-1, -1, 2, 2)
      canvas.fill(Paint(0xFBF8F4))
      // The eyeball turns behind the lids.
      let center = at(x + state.gazeX * w * 0.42, y + h * 0.02 + state.gazeY * h * 0.42, 0.005)
      let radius = h * 0.98
      canvas.begin()
      canvas.ellipse(center, radius, radius)
      canvas.fill(identity.eyes)
      canvas.begin()
      canvas.ellipse(center, radius * 0.9, radius * 0.9)
      canvas.stroke(identity.eyes.darker(0.5), width: radius * 0.22)
      canvas.begin()
      canvas.ellipse(center, radius * 0.48, radius * 0.48)
      canvas.fill(Paint(0x120C10))
      canvas.begin()
      canvas.ellipse(center + Point(radius * 0.34, -radius * 0.36), radius * 0.24, radius * 0.24)
      canvas.fill(Paint(0xFFFFFF))
      // The lid's shadow.
      canvas.begin()
      canvas.move(at(inner.x, inner.y))
      upperLid()
      canvas.stroke(Paint(0x503840), width: h * 0.5, alpha: 0.25)
    }
  }
  if blink < 0.97 {
    canvas.begin()
    canvas.move(at(outer.x, outer.y))
    lowerLid()
    canvas.stroke(identity.skin.darker(0.45), width: 0.006, alpha: 0.8)
  }
  canvas.begin()
  canvas.move(at(inner.x, inner.y))
  upperLid()
  if identity.gender == .woman {
    canvas.line(at(outer.x + side * 0.016, outer.y - 0.013 * (1 - 2 * blink)))
    canvas.stroke(lash, width: 0.017)
  } else {
    canvas.stroke(lash, width: 0.012)
  }
  // The fold above the lid.
  canvas.begin()
  let fold = -0.016 * (1 - 0.5 * blink)
  canvas.move(at(x - side * w * 0.75, (y - h * 0.55) + fold * 0.6))
  canvas.curve(
    at(x - side * w * 0.35, y - h * 1.25 * min(state.face.lids, 1.15) + fold),
    at(x + side * w * 0.5, y - h * 1.25 * min(state.face.lids, 1.15) + fold),
    at(x + side * w * 1.02, y - h * 0.45 + fold * 0.4))
  canvas.stroke(identity.skin.darker(0.35), width: 0.006, alpha: 0.7)
}

private func drawBrow(_ head: Head, _ side: Double, on canvas: Canvas) {
  let (identity, face) = (head.identity, head.state.face)
  let x = side * identity.eyeSpacing
  let y = Eye.height - 0.098 - 0.05 * face.browRaise
  let inner = y + 0.012 - 0.04 * face.browTilt
  let outer = y + 0.02 + 0.014 * face.browTilt
  let thick = identity.browThickness
  let arch = identity.browArch + 0.012 * max(face.browRaise, 0)
  func at(_ offset: Double, _ y: Double) -> Point { head.face(x + side * offset, y, lift: 0.015) }
  canvas.begin()
  canvas.move(at(-0.07, inner - thick * 0.5))
  canvas.curve(at(-0.02, y - arch - thick * 0.5), at(0.045, y - arch * 1.1 - thick * 0.5), at(0.092, outer))
  canvas.curve(
    at(0.045, y - arch * 1.1 + thick * 0.55), at(-0.02, y - arch + thick * 0.7), at(-0.07, inner + thick * 0.5))
  canvas.close()
  let paint = identity.age == .old ? identity.hair.darker(0.25) : identity.hair.mixed(Paint(0x2A1A16), 0.45)
  canvas.fill(paint)
}

/// Frames, glints and temples.
func drawGlasses(_ head: Head, on canvas: Canvas) {
  let identity = head.identity
  guard identity.glasses != .none else { return }
  let paint = identity.glassesPaint
  let lift = 0.06
  let y = Eye.height + 0.012
  let (w, h, corner): (Double, Double, Double) =
    switch identity.glasses {
    case .round: (0.098, 0.092, 1)
    case .square: (0.104, 0.078, 0.5)
    case .wide, .none: (0.112, 0.066, 0.65)
    }
  func at(_ x: Double, _ y: Double) -> Point { head.face(x, y, lift: lift) }
  for side in [-1.0, 1.0] {
    let x = side * (identity.eyeSpacing + 0.004)
    // A rounded rectangle whose corners take `corner` of its sides; 0.55 makes a cubic round.
    let (a, b) = (w * (1 - corner), h * (1 - corner))
    let (c, d) = (a + w * corner * 0.55, b + h * corner * 0.55)
    canvas.begin()
    canvas.move(at(x - a, y - h))
    canvas.line(at(x + a, y - h))
    canvas.curve(at(x + c, y - h), at(x + w, y - d), at(x + w, y - b))
    canvas.line(at(x + w, y + b))
    canvas.curve(at(x + w, y + d), at(x + c, y + h), at(x + a, y + h))
    canvas.line(at(x - a, y + h))
    canvas.curve(at(x - c, y + h), at(x - w, y + d), at(x - w, y + b))
    canvas.line(at(x - w, y - b))
    canvas.curve(at(x - w, y - d), at(x - c, y - h), at(x - a, y - h))
    canvas.close()
    canvas.stroke(paint, width: 0.017)
    canvas.begin()
    canvas.move(at(x - w * 0.55, y - h * 0.1))
    canvas.line(at(x - w * 0.1, y - h * 0.62))
    canvas.stroke(Paint(0xFFFFFF), width: 0.012, alpha: 0.35)
    canvas.begin()
    canvas.move(at(x + side * w, y - h * 0.35))
    canvas.line(head.outline(side * identity.faceWidth * 1.0, y - 0.02))
    canvas.stroke(paint, width: 0.015)
  }
  let gap = identity.eyeSpacing + 0.004 - w
  canvas.begin()
  canvas.move(at(-gap, y - h * 0.25))
  canvas.curve(at(-gap * 0.4, y - h * 0.55), at(gap * 0.4, y - h * 0.55), at(gap, y - h * 0.25))
  canvas.stroke(paint, width: 0.016)
}

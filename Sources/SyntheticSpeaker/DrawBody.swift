/// Neck, shoulders and clothes. They follow the head a little.
func drawBody(_ head: Head, on canvas: Canvas) {
  let identity = head.identity
  let sway = head.state.yaw * 0.0012 + head.state.roll * 0.0006
  let w = identity.shoulders
  let neck = identity.gender == .woman ? 0.135 : 0.172
  let cloth = identity.clothesPaint
  func at(_ x: Double, _ y: Double) -> Point { Point(x + sway * (1 - y), y) }
  let skin = identity.skin
  canvas.begin()
  canvas.move(at(-neck, 0.2))
  canvas.curve(at(-neck, 0.5), at(-neck * 1.05, 0.56), at(-neck * 1.9, 0.66))
  canvas.line(at(0, 0.95))
  canvas.line(at(neck * 1.9, 0.66))
  canvas.curve(at(neck * 1.05, 0.56), at(neck, 0.5), at(neck, 0.2))
  canvas.close()
  canvas.fill(skin.darker(0.1))
  // The chin's shadow.
  let chin = head.outline(0, identity.chin + head.jaw)
  canvas.begin()
  canvas.move(at(-neck, 0.3))
  canvas.line(at(-neck, 0.44))
  canvas.curve(
    Point(-neck * 0.5, chin.y + 0.1), Point(neck * 0.5, chin.y + 0.1), at(neck, 0.44))
  canvas.line(at(neck, 0.3))
  canvas.close()
  canvas.fill(skin.darker(0.3))

  let low: Double =
    switch identity.clothes {
    case .tshirt: 0.74
    case .shirt, .blazer: 0.86
    case .hoodie: 0.68
    case .turtleneck: 0.6
    }
  canvas.begin()
  canvas.move(at(-neck * 1.55, 0.6))
  canvas.curve(at(-w * 0.5, 0.68), at(-w * 0.95, 0.7), at(-w, 1.06))
  canvas.line(at(-w * 1.05, 1.7))
  canvas.line(at(w * 1.05, 1.7))
  canvas.line(at(w, 1.06))
  canvas.curve(at(w * 0.95, 0.7), at(w * 0.5, 0.68), at(neck * 1.55, 0.6))
  canvas.curve(at(neck * 1.3, low), at(neck * 0.5, low), at(0, low))
  canvas.curve(at(-neck * 0.5, low), at(-neck * 1.3, low), at(-neck * 1.55, 0.6))
  canvas.close()
  canvas.fill(from: at(-w, 0.7), cloth.lighter(0.06), to: at(w, 1.2), cloth.darker(0.22))

  let line = cloth.darker(cloth.lightness > 0.3 ? 0.3 : 0).lighter(cloth.lightness > 0.3 ? 0 : 0.18)
  switch identity.clothes {
  case .tshirt:
    canvas.begin()
    canvas.move(at(-neck * 1.55, 0.6))
    canvas.curve(at(-neck * 1.3, low), at(-neck * 0.5, low), at(0, low))
    canvas.curve(at(neck * 0.5, low), at(neck * 1.3, low), at(neck * 1.55, 0.6))
    canvas.stroke(line, width: 0.022)
  case .shirt:
    for side in [-1.0, 1.0] { lapel(side, [(1.5, 0.55), (0.1, 0.8), (1.2, 0.92), (2.1, 0.68)], cloth.lighter(0.2)) }
    canvas.begin()
    canvas.move(at(0, 0.84))
    canvas.line(at(0, 1.5))
    canvas.stroke(line, width: 0.012)
    for y in [0.96, 1.12] {
      canvas.begin()
      canvas.ellipse(at(0.03, y), 0.013, 0.013)
      canvas.fill(line)
    }
  case .blazer:
    let shirt = identity.accent.lightness > cloth.lightness ? identity.accent : identity.accent.lighter(0.6)
    canvas.begin()
    canvas.move(at(-neck * 1.5, 0.6))
    canvas.line(at(0, 1.32))
    canvas.line(at(neck * 1.5, 0.6))
    canvas.curve(at(neck, 0.78), at(neck * 0.3, 0.84), at(0, 0.84))
    canvas.curve(at(-neck * 0.3, 0.84), at(-neck, 0.78), at(-neck * 1.5, 0.6))
    canvas.close()
    canvas.fill(shirt)
    for side in [-1.0, 1.0] { lapel(side, [(1.55, 0.57), (0, 1.34), (1.7, 1.12), (2.5, 0.7)], cloth.darker(0.14)) }
  case .hoodie:
    canvas.begin()
    canvas.spline([
      at(-neck * 1.7, 0.52), at(-neck * 2.3, 0.66), at(-neck * 1.2, 0.78), at(0, 0.83), at(neck * 1.2, 0.78),
      at(neck * 2.3, 0.66), at(neck * 1.7, 0.52), at(neck * 1.2, 0.62), at(0, 0.73), at(-neck * 1.2, 0.62),
    ])
    canvas.fill(cloth.darker(0.12))
    for side in [-1.0, 1.0] {
      canvas.begin()
      canvas.move(at(side * 0.08, 0.8))
      canvas.line(at(side * 0.09, 1.02))
      canvas.stroke(cloth.lighter(0.6), width: 0.016)
    }
  case .turtleneck:
    canvas.begin()
    canvas.move(at(-neck * 1.12, 0.45))
    canvas.curve(at(-neck * 0.6, 0.51), at(neck * 0.6, 0.51), at(neck * 1.12, 0.45))
    canvas.line(at(neck * 1.6, 0.66))
    canvas.curve(at(neck * 0.6, 0.74), at(-neck * 0.6, 0.74), at(-neck * 1.6, 0.66))
    canvas.close()
    canvas.fill(cloth.lighter(0.07))
    canvas.begin()
    canvas.move(at(-neck * 1.6, 0.66))
    canvas.curve(at(-neck * 0.6, 0.74), at(neck * 0.6, 0.74), at(neck * 1.6, 0.66))
    canvas.stroke(line, width: 0.012)
  }

  func lapel(_ side: Double, _ corners: [(Double, Double)], _ paint: Paint) {
    canvas.begin()
    for (index, corner) in corners.enumerated() {
      let point = at(side * corner.0 * neck, corner.1)
      if index == 0 { canvas.move(point) } else { canvas.line(point) }
    }
    canvas.close()
    canvas.fill(paint)
  }
}

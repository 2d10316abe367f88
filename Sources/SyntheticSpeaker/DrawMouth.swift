/// The lips and what is between them. All inside colours are far from any skin's and lip's.
enum Lips {
  /// How far lips stand out from the face.
  static let lift = 0.02
  static let inside = Paint(0x3A0D16)
  static let teeth = Paint(0xF8F4EC)
  static let tongue = Paint(0xD0606C)
}

func drawMouth(_ head: Head, on canvas: Canvas) {
  let (identity, state, mouth) = (head.identity, head.state, head.mouth)
  let round = state.mouthRound
  let thick = identity.lipThickness
  let (upper, lower) = (0.034 * thick * (1 + 0.2 * round), 0.042 * thick * (1 + 0.25 * round))
  let (w, corner) = (mouth.halfWidth, mouth.corner)
  func at(_ x: Double, _ y: Double) -> Point { head.face(x, y, lift: Lips.lift) }
  func end(_ side: Double) -> Point { head.face(side * w, corner) }
  // Spread lips meet in sharp corners, rounded ones in round ones.
  let bulge = min(0.25 + 0.45 * round + 0.3 * state.mouthOpen, 0.8)

  /// An edge from one corner to the other through the middle at `y`: from left to right, or back.
  func edge(_ y: Double, _ fullness: Double, from side: Double) {
    let rise = (y - corner) * fullness
    canvas.curve(at(side * w * (1 - 0.08), corner + rise), at(side * w * 0.52, y), at(0, y))
    canvas.curve(at(-side * w * 0.52, y), at(-side * w * (1 - 0.08), corner + rise), end(-side))
  }
  func insidePath() {
    canvas.begin()
    canvas.move(end(-1))
    edge(mouth.top, bulge, from: -1)
    edge(mouth.bottom, bulge, from: 1)
    canvas.close()
  }

  // Lips: the upper one with its bow, the lower one fuller.
  canvas.begin()
  canvas.move(end(-1))
  let peak = mouth.top - upper
  canvas.curve(at(-w * 0.8, corner - upper * 0.5 * (1 + round)), at(-w * 0.42, peak), at(-w * 0.22, peak))
  canvas.curve(at(-w * 0.1, peak), at(-w * 0.08, peak + upper * 0.22), at(0, peak + upper * 0.24))
  canvas.curve(at(w * 0.08, peak + upper * 0.22), at(w * 0.1, peak), at(w * 0.22, peak))
  canvas.curve(at(w * 0.42, peak), at(w * 0.8, corner - upper * 0.5 * (1 + round)), end(1))
  edge(mouth.bottom + lower, bulge + 0.3, from: 1)
  canvas.close()
  canvas.fill(identity.lips)
  // A light on the lower lip.
  canvas.begin()
  canvas.ellipse(at(0, mouth.bottom + lower * 0.5), w * 0.35, lower * 0.16)
  canvas.fill(identity.lips.lighter(0.35), alpha: 0.7)

  guard mouth.gap > 0.004 else {
    canvas.begin()
    canvas.move(end(-1))
    edge((mouth.top + mouth.bottom) / 2, bulge, from: -1)
    canvas.stroke(identity.lips.darker(0.6), width: 0.011)
    return
  }
  canvas.saved {
    insidePath()
    canvas.clip()
    canvas.begin()
    canvas.rectangle(-1, -1, 2, 2)
    canvas.fill(Lips.inside)
    if state.tongue > 0.02 {
      let height = mouth.gap * (0.25 + 0.4 * state.tongue)
      canvas.begin()
      canvas.ellipse(at(0, mouth.bottom + mouth.gap * 0.12), w * 0.62, height)
      canvas.fill(Lips.tongue)
    }
    if state.teeth > 0.02 {
      let deep = min(mouth.gap * 0.62, 0.04) * min(1, state.teeth * 1.2)
      canvas.begin()
      canvas.move(at(-w * 0.86, mouth.top - 0.05))
      canvas.line(at(w * 0.86, mouth.top - 0.05))
      canvas.line(at(w * 0.8, mouth.top + deep * 0.8))
      canvas.curve(
        at(w * 0.4, mouth.top + deep * 1.05), at(-w * 0.4, mouth.top + deep * 1.05),
        at(-w * 0.8, mouth.top + deep * 0.8))
      canvas.close()
      canvas.fill(Lips.teeth)
    }
  }
}

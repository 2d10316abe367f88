/// What is behind a person; it does not change in a clip.
func drawBackdrop(_ identity: Identity, on canvas: Canvas) {
  let (width, height) = (Double(canvas.width), Double(canvas.height))
  let (paint, accent) = (identity.backdropPaint, identity.backdropAccent)
  func everything() {
    canvas.begin()
    canvas.rectangle(0, 0, width, height)
  }
  everything()
  canvas.fill(paint)
  switch identity.backdrop {
  case .plain: break
  case .gradient:
    everything()
    canvas.fill(from: Point(0, 0), paint.lighter(0.15), to: Point(width * 0.3, height), accent.darker(0.12))
  case .circle:
    canvas.begin()
    canvas.ellipse(Point(width * 0.5, height * 0.48), width * 0.42, height * 0.42)
    canvas.fill(accent)
  case .stripes:
    for index in stride(from: 0, to: 10, by: 2) {
      canvas.begin()
      canvas.rectangle(width * Double(index) / 10, 0, width / 10, height)
      canvas.fill(accent, alpha: 0.7)
    }
  case .wall:
    canvas.begin()
    canvas.rectangle(0, height * 0.72, width, height * 0.28)
    canvas.fill(paint.darker(0.25))
    canvas.begin()
    canvas.rectangle(width * 0.05, height * 0.1, width * 0.2, height * 0.3)
    canvas.fill(accent.lighter(0.35))
    canvas.begin()
    canvas.rectangle(width * 0.05, height * 0.1, width * 0.2, height * 0.3)
    canvas.stroke(paint.darker(0.5), width: width * 0.012)
  case .bokeh:
    everything()
    canvas.fill(from: Point(0, 0), paint.darker(0.25), to: Point(0, height), paint.darker(0.45))
    let places = [
      (0.1, 0.15, 0.08), (0.3, 0.08, 0.05), (0.85, 0.2, 0.1), (0.7, 0.06, 0.06), (0.06, 0.5, 0.06), (0.94, 0.52, 0.05),
      (0.2, 0.32, 0.04), (0.9, 0.75, 0.07), (0.04, 0.8, 0.09), (0.55, 0.12, 0.04),
    ]
    for (x, y, radius) in places {
      canvas.begin()
      canvas.ellipse(Point(x * width, y * height), radius * width, radius * width)
      canvas.fill(accent.lighter(0.3), alpha: 0.4)
    }
  }
}

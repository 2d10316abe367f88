import Basics
import CCairo
import Foundation
import Media

typealias Point = SIMD2<Double>

/// A picture being drawn: cairo's paths and colours. Used from one thread at a time.
final class Canvas {
  let width: Int
  let height: Int
  private let surface: OpaquePointer
  private let context: OpaquePointer

  /// - Throws: `LiveTalkError` when memory is exhausted.
  init(width: Int, height: Int) throws {
    guard let surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, Int32(width), Int32(height)) else {
      throw LiveTalkError("There is not enough memory for a picture of \(width) × \(height) pixels.")
    }
    guard cairo_surface_status(surface) == CAIRO_STATUS_SUCCESS, let context = cairo_create(surface),
      cairo_status(context) == CAIRO_STATUS_SUCCESS
    else {
      cairo_surface_destroy(surface)
      throw LiveTalkError("There is not enough memory for a picture of \(width) × \(height) pixels.")
    }
    (self.width, self.height) = (width, height)
    (self.surface, self.context) = (surface, context)
    cairo_set_line_cap(context, CAIRO_LINE_CAP_ROUND)
    cairo_set_line_join(context, CAIRO_LINE_JOIN_ROUND)
  }

  deinit {
    cairo_destroy(context)
    cairo_surface_destroy(surface)
  }

  // MARK: Places

  /// Draws `body` in other coordinates or within a clip, and goes back.
  func saved(_ body: () -> Void) {
    cairo_save(context)
    body()
    cairo_restore(context)
  }

  func translate(_ x: Double, _ y: Double) { cairo_translate(context, x, y) }
  func scale(_ x: Double, _ y: Double) { cairo_scale(context, x, y) }
  func rotate(_ radians: Double) { cairo_rotate(context, radians) }

  /// Where a point of the present coordinates lies, in pixels from the picture's corner.
  func pixel(_ point: Point) -> Point {
    var (x, y) = (point.x, point.y)
    cairo_user_to_device(context, &x, &y)
    return Point(x, y)
  }

  // MARK: Paths

  func begin() { cairo_new_path(context) }
  func move(_ point: Point) { cairo_move_to(context, point.x, point.y) }
  func line(_ point: Point) { cairo_line_to(context, point.x, point.y) }
  func curve(_ a: Point, _ b: Point, _ end: Point) { cairo_curve_to(context, a.x, a.y, b.x, b.y, end.x, end.y) }
  func close() { cairo_close_path(context) }

  func rectangle(_ x: Double, _ y: Double, _ width: Double, _ height: Double) {
    cairo_rectangle(context, x, y, width, height)
  }

  func ellipse(_ center: Point, _ radiusX: Double, _ radiusY: Double) {
    guard radiusX > 1e-6, radiusY > 1e-6 else { return }
    cairo_new_sub_path(context)
    cairo_save(context)
    cairo_translate(context, center.x, center.y)
    cairo_scale(context, radiusX, radiusY)
    cairo_arc(context, 0, 0, 1, 0, 2 * .pi)
    cairo_restore(context)
    cairo_close_path(context)
  }

  /// A smooth curve through points (Catmull–Rom), closed or open.
  func spline(_ points: [Point], isClosed: Bool = true, tension: Double = 1) {
    let count = points.count
    guard count > 1 else { return }
    func at(_ index: Int) -> Point {
      isClosed ? points[(index + count) % count] : points[min(max(index, 0), count - 1)]
    }
    move(points[0])
    for index in 0..<(isClosed ? count : count - 1) {
      let (start, end) = (at(index), at(index + 1))
      curve(start + (end - at(index - 1)) * (tension / 6), end - (at(index + 2) - start) * (tension / 6), end)
    }
    if isClosed { close() }
  }

  // MARK: Colours

  func fill(_ paint: Paint, alpha: Double = 1) {
    cairo_set_source_rgba(context, paint.red, paint.green, paint.blue, alpha)
    cairo_fill(context)
  }

  func stroke(_ paint: Paint, width: Double, alpha: Double = 1) {
    cairo_set_source_rgba(context, paint.red, paint.green, paint.blue, alpha)
    cairo_set_line_width(context, width)
    cairo_stroke(context)
  }

  /// Fills the path with colours that change from `start` to `end`.
  func fill(from start: Point, _ first: Paint, to end: Point, _ last: Paint) {
    guard let pattern = cairo_pattern_create_linear(start.x, start.y, end.x, end.y) else { return }
    cairo_pattern_add_color_stop_rgb(pattern, 0, first.red, first.green, first.blue)
    cairo_pattern_add_color_stop_rgb(pattern, 1, last.red, last.green, last.blue)
    cairo_set_source(context, pattern)
    cairo_pattern_destroy(pattern)
    cairo_fill(context)
  }

  /// From here on only what lies in the path is drawn.
  func clip() { cairo_clip(context) }

  /// Copies all of another canvas of the same size.
  func paint(_ other: Canvas) {
    cairo_set_source_surface(context, other.surface, 0, 0)
    cairo_set_operator(context, CAIRO_OPERATOR_SOURCE)
    cairo_paint(context)
    cairo_set_operator(context, CAIRO_OPERATOR_OVER)
  }

  // MARK: Pixels

  func picture() throws -> Picture {
    cairo_surface_flush(surface)
    guard cairo_status(context) == CAIRO_STATUS_SUCCESS, let data = cairo_image_surface_get_data(surface) else {
      throw LiveTalkError("cairo fails to draw: \(String(cString: cairo_status_to_string(cairo_status(context)))).")
    }
    let stride = Int(cairo_image_surface_get_stride(surface))
    let (width, height) = (width, height)
    let bytes = [UInt8](unsafeUninitializedCapacity: width * height * 3) { target, count in
      guard var place = target.baseAddress else { return }
      for y in 0..<height {
        UnsafeRawPointer(data + y * stride).withMemoryRebound(to: UInt32.self, capacity: width) { row in
          for x in 0..<width {
            let pixel = row[x]
            place[0] = UInt8(truncatingIfNeeded: pixel >> 16)
            place[1] = UInt8(truncatingIfNeeded: pixel >> 8)
            place[2] = UInt8(truncatingIfNeeded: pixel)
            place += 3
          }
        }
      }
      count = width * height * 3
    }
    return Picture(width: width, height: height, bytes: bytes)
  }
}

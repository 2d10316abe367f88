/// The parts of a `multipart/form-data` body (RFC 7578).
struct Multipart {
  struct Part {
    var name: String
    var body: ArraySlice<UInt8>
  }

  let parts: [Part]

  private static let mostParts = 32

  /// - Throws: `APIError` for a body that is not whole.
  init(_ body: [UInt8], contentType: String) throws(APIError) {
    guard let boundary = Self.parameter("boundary", of: contentType), (1...70).contains(boundary.utf8.count) else {
      throw APIError(.badRequest, "The multipart body names no boundary in its Content-Type.")
    }
    let dashes = Array("--\(boundary)".utf8)
    var place = 0
    guard let first = Self.find(dashes, in: body, from: 0) else { throw Self.damaged }
    place = first + dashes.count
    var parts: [Part] = []
    while true {
      if body.dropFirst(place).starts(with: Array("--".utf8)) { break }
      guard let head = Self.find(Array("\r\n\r\n".utf8), in: body, from: place), head - place < 8_192,
        let end = Self.find(Array("\r\n".utf8) + dashes, in: body, from: head + 2), parts.count < Self.mostParts
      else { throw Self.damaged }
      // An empty part: its end begins with the line's end that closes its head.
      let start = min(head + 4, max(end, head + 4))
      let content = end >= start ? body[start..<end] : []
      if let part = Self.part(String(decoding: body[place..<head], as: UTF8.self), content) { parts.append(part) }
      place = max(end, head + 2) + 2 + dashes.count
    }
    self.parts = parts
  }

  subscript(name: String) -> Part? { parts.first { $0.name == name } }

  /// The text of a field.
  func text(_ name: String) -> String? { self[name].map { String(decoding: $0.body, as: UTF8.self) } }

  private static let damaged = APIError(.badRequest, "The multipart body is not whole.")

  private static func part(_ head: String, _ body: ArraySlice<UInt8>) -> Part? {
    var disposition: String?
    for line in head.split(whereSeparator: { $0.isNewline }) {
      guard let colon = line.firstIndex(of: ":") else { continue }
      if line[..<colon].lowercased() == "content-disposition" {
        disposition = line[line.index(after: colon)...].trimmingWhitespace()
      }
    }
    guard let disposition, let name = parameter("name", of: disposition) else { return nil }
    return Part(name: name, body: body)
  }

  /// The value of `name=value` or `name="value"` in a header field.
  static func parameter(_ name: String, of field: String) -> String? {
    for piece in field.split(separator: ";").dropFirst() {
      let pair = piece.split(separator: "=", maxSplits: 1)
      guard pair.count == 2, pair[0].trimmingWhitespace().lowercased() == name else { continue }
      let value = pair[1].trimmingWhitespace()
      return value.count >= 2 && value.hasPrefix("\"") && value.hasSuffix("\"")
        ? String(value.dropFirst().dropLast()) : value
    }
    return nil
  }

  private static func find(_ pattern: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
    guard start >= 0, bytes.count - start >= pattern.count, let first = pattern.first else { return nil }
    return bytes.withUnsafeBufferPointer { bytes in
      var place = start
      while place + pattern.count <= bytes.count {
        if bytes[place] == first, bytes[place..<(place + pattern.count)].elementsEqual(pattern) { return place }
        place += 1
      }
      return nil
    }
  }
}

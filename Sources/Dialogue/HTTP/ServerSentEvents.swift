/// One event of a `text/event-stream`.
package struct ServerSentEvent: Hashable, Sendable {
  /// Empty where the server names none.
  package var name = ""
  package var data = ""
}

/// Reads server-sent events (HTML standard, 9.2) from bytes that may be cut anywhere.
package struct ServerSentEventParser {
  struct TooLong: Error {}

  /// A line with a minute of sound in base64 is shorter.
  private static let longestLine = 32 << 20

  private var line: [UInt8] = []
  private var event = ServerSentEvent()
  private var hasData = false
  private var lastWasReturn = false
  private var isFirstLine = true

  package init() {}

  /// - Returns: the events that these bytes complete.
  /// - Throws: `TooLong` for a line without an end.
  package mutating func append(_ bytes: some Collection<UInt8>) throws -> [ServerSentEvent] {
    var events: [ServerSentEvent] = []
    var rest = bytes[...]
    while let end = rest.firstIndex(where: { $0 == 0x0A || $0 == 0x0D }) {
      let isReturn = rest[end] == 0x0D
      // A line feed behind a carriage return ends the same line, even where it comes in the next piece.
      if !(rest[end] == 0x0A && lastWasReturn && end == rest.startIndex) {
        line += rest[..<end]
        take(&events)
      }
      lastWasReturn = isReturn
      rest = rest[rest.index(after: end)...]
    }
    if !rest.isEmpty { lastWasReturn = false }
    line += rest
    guard line.count <= Self.longestLine else { throw TooLong() }
    return events
  }

  private mutating func take(_ events: inout [ServerSentEvent]) {
    defer { line.removeAll(keepingCapacity: true) }
    if isFirstLine {
      isFirstLine = false
      if line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }
    }
    guard !line.isEmpty else {
      if hasData { events.append(event) }
      event = ServerSentEvent()
      hasData = false
      return
    }
    let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
    let field = String(decoding: line[..<colon], as: UTF8.self)
    var value = line[colon...].dropFirst()
    if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
    switch field {
    case "data":
      if hasData { event.data += "\n" }
      event.data += String(decoding: value, as: UTF8.self)
      hasData = true
    case "event": event.name = String(decoding: value, as: UTF8.self)
    default: break  // comments, ids, retry times
    }
  }
}

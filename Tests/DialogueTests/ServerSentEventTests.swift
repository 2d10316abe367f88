import Testing

@testable import Dialogue

@Suite struct ServerSentEventTests {
  static let stream =
    "\u{FEFF}: hello\nevent: one\ndata: {\"a\": \"é漢😀\"}\n\ndata:two\r\ndata: lines\r\rid: 3\n\ndata\n\ndata: last\n\n"
  static let events = [
    ServerSentEvent(name: "one", data: "{\"a\": \"é漢😀\"}"), ServerSentEvent(data: "two\nlines"),
    ServerSentEvent(data: ""),
    ServerSentEvent(data: "last"),
  ]

  @Test func `a stream that is cut at any two places gives the same events`() throws {
    let bytes = Array(Self.stream.utf8)
    for first in 0..<bytes.count {
      for second in first..<min(first + 6, bytes.count) {
        var parser = ServerSentEventParser()
        let events = try [bytes[..<first], bytes[first..<second], bytes[second...]].flatMap { try parser.append($0) }
        #expect(events == Self.events, "cut at \(first) and \(second)")
      }
    }
  }

  @Test func `a stream that comes byte by byte gives the same events`() throws {
    var parser = ServerSentEventParser()
    #expect(try Self.stream.utf8.flatMap { try parser.append([$0]) } == Self.events)
  }

  @Test func `an event that is not finished is none`() throws {
    var parser = ServerSentEventParser()
    #expect(try parser.append(Array("data: half\n".utf8)).isEmpty)
  }

  @Test func `a line without an end is refused`() throws {
    var parser = ServerSentEventParser()
    let piece = [UInt8](repeating: 65, count: 1 << 22)
    #expect(throws: ServerSentEventParser.TooLong.self) { for _ in 0..<9 { _ = try parser.append(piece) } }
  }
}

import Foundation
import NIOCore
import NIOPosix

/// A connection that sends and reads bytes as they are, so that tests can send what no client would.
final class RawClient: Sendable {
  struct TimedOut: Error {}

  private typealias Socket = NIOAsyncChannel<ByteBuffer, ByteBuffer>
  private let channel: any Channel
  private let bytes: AsyncStream<[UInt8]>.Iterator.Box
  private let reader: Task<Void, Never>

  static func connect(_ port: Int) async throws -> RawClient {
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connect(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture { try Socket(wrappingChannelSynchronously: channel) }
      }
    return RawClient(channel)
  }

  private init(_ socket: Socket) {
    channel = socket.channel
    let (stream, continuation) = AsyncStream.makeStream(of: [UInt8].self)
    bytes = .init(stream.makeAsyncIterator())
    reader = Task {
      try? await socket.executeThenClose { inbound, _ in
        for try await buffer in inbound { continuation.yield(Array(buffer: buffer)) }
      }
      continuation.finish()
    }
  }

  func send(_ bytes: some Sequence<UInt8>) async throws {
    try await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
  }

  func send(_ text: String) async throws { try await send(Array(text.utf8)) }

  /// The next bytes; nil at the end. - Throws: `TimedOut`.
  func next(within seconds: Double = 10) async throws -> [UInt8]? {
    try await withThrowingTaskGroup(of: [UInt8]?.self) { group in
      group.addTask { await self.bytes.next() }
      group.addTask {
        try await Task.sleep(for: .seconds(seconds))
        throw TimedOut()
      }
      defer { group.cancelAll() }
      return try await group.next() ?? nil
    }
  }

  /// All bytes up to the end of the connection.
  func rest(within seconds: Double = 10) async throws -> [UInt8] {
    var all: [UInt8] = []
    while let piece = try await next(within: seconds) { all += piece }
    return all
  }

  func close() async {
    try? await channel.close()
    reader.cancel()
  }
}

extension AsyncStream.Iterator where Element == [UInt8] {
  /// One reader at a time, which the tests keep to.
  final class Box: @unchecked Sendable {
    private var iterator: AsyncStream<[UInt8]>.Iterator
    init(_ iterator: AsyncStream<[UInt8]>.Iterator) { self.iterator = iterator }
    func next() async -> [UInt8]? { await iterator.next() }
  }
}

/// An answer of the server.
struct Reply {
  var status: Int
  /// Names in small letters.
  var headers: [String: String]
  var body: [UInt8]

  var text: String { String(decoding: body, as: UTF8.self) }

  func json() throws -> [String: Any] { try JSONSerialization.jsonObject(with: Data(body)) as? [String: Any] ?? [:] }

  /// `error.code` of the body.
  var code: String? { ((try? json())?["error"] as? [String: Any])?["code"] as? String }

  init?(_ bytes: [UInt8]) {
    guard let end = bytes.firstIndex(ofEndOfHead: ()) else { return nil }
    let lines = String(decoding: bytes[..<end], as: UTF8.self).components(separatedBy: "\r\n")
    guard let status = lines.first?.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else { return nil }
    self.status = status
    headers = [:]
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { continue }
      headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
    }
    body = Array(bytes[(end + 4)...])
    if headers["transfer-encoding"] == "chunked" { body = Self.unchunked(body) }
  }

  private static func unchunked(_ bytes: [UInt8]) -> [UInt8] {
    var (result, rest) = ([UInt8](), bytes[...])
    while let line = rest.firstIndex(of: 13) {
      guard let count = Int(String(decoding: rest[..<line], as: UTF8.self), radix: 16), count > 0 else { break }
      let start = line + 2
      result += rest[start..<min(start + count, rest.endIndex)]
      rest = rest.dropFirst(min(start + count + 2, rest.endIndex) - rest.startIndex)
    }
    return result
  }
}

extension [UInt8] {
  fileprivate func firstIndex(ofEndOfHead: Void) -> Int? {
    guard count >= 4 else { return nil }
    return (0...(count - 4)).first { self[$0] == 13 && self[$0 + 1] == 10 && self[$0 + 2] == 13 && self[$0 + 3] == 10 }
  }
}

/// A WebSocket of a client, frame by frame.
final class SocketClient: Sendable {
  struct Refused: Error { var reply: Reply? }

  enum Message: Equatable {
    case text(String)
    case binary([UInt8])
    case ping([UInt8])
    case close(Int)
  }

  let raw: RawClient
  private let buffer = Buffer()

  private final class Buffer: @unchecked Sendable { var bytes: [UInt8] = [] }

  private init(_ raw: RawClient) { self.raw = raw }

  static func connect(_ port: Int, _ path: String, headers: [String] = []) async throws -> SocketClient {
    let raw = try await RawClient.connect(port)
    let lines =
      [
        "GET \(path) HTTP/1.1", "Host: 127.0.0.1:\(port)", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
      ] + headers
    try await raw.send(lines.joined(separator: "\r\n") + "\r\n\r\n")
    let client = SocketClient(raw)
    while client.buffer.bytes.firstIndex(ofEndOfHead: ()) == nil {
      guard let piece = try await raw.next() else { break }
      client.buffer.bytes += piece
    }
    guard let end = client.buffer.bytes.firstIndex(ofEndOfHead: ()),
      let reply = Reply(Array(client.buffer.bytes[..<(end + 4)])), reply.status == 101
    else { throw Refused(reply: Reply(client.buffer.bytes)) }
    guard reply.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" else { throw Refused(reply: reply) }
    client.buffer.bytes.removeFirst(end + 4)
    return client
  }

  func send(_ text: String) async throws { try await raw.send(Self.frame(0x81, Array(text.utf8))) }
  func send(_ bytes: [UInt8]) async throws { try await raw.send(Self.frame(0x82, bytes)) }

  static func frame(_ first: UInt8, _ payload: [UInt8], mask: [UInt8]? = [1, 2, 3, 4]) -> [UInt8] {
    let bit: UInt8 = mask == nil ? 0 : 0x80
    var head = [first]
    switch payload.count {
    case ..<126: head.append(bit | UInt8(payload.count))
    case ..<65_536: head += [bit | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
    default: head += [bit | 127] + (0..<8).map { UInt8(payload.count >> (56 - 8 * $0) & 255) }
    }
    guard let mask else { return head + payload }
    return head + mask + payload.enumerated().map { $1 ^ mask[$0 % 4] }
  }

  /// The next message; nil at the end of the connection. Pings are answered, and returned.
  func next(within seconds: Double = 10) async throws -> Message? {
    while true {
      if let message = take() {
        if case .ping(let data) = message { try await raw.send(Self.frame(0x8A, data)) }
        return message
      }
      guard let piece = try await raw.next(within: seconds) else { return nil }
      buffer.bytes += piece
    }
  }

  private func take() -> Message? {
    let bytes = buffer.bytes
    guard bytes.count >= 2 else { return nil }
    var (length, start) = (Int(bytes[1] & 0x7F), 2)
    if length == 126 {
      guard bytes.count >= 4 else { return nil }
      (length, start) = (Int(bytes[2]) << 8 | Int(bytes[3]), 4)
    } else if length == 127 {
      guard bytes.count >= 10 else { return nil }
      (length, start) = (bytes[2..<10].reduce(0) { $0 << 8 | Int($1) }, 10)
    }
    guard bytes.count >= start + length else { return nil }
    let payload = Array(bytes[start..<(start + length)])
    buffer.bytes.removeFirst(start + length)
    switch bytes[0] & 0x0F {
    case 1: return .text(String(decoding: payload, as: UTF8.self))
    case 2: return .binary(payload)
    case 9: return .ping(payload)
    case 8: return .close(payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : 1005)
    default: return .ping([])
    }
  }

  /// The next text message of a type. - Throws: `RawClient.TimedOut`.
  func event(_ type: String, within seconds: Double = 10) async throws -> [String: Any] {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < deadline, let message = try await next(within: seconds) {
      guard case .text(let text) = message,
        let json = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
      else { continue }
      if json["type"] as? String == type { return json }
    }
    throw RawClient.TimedOut()
  }

  /// Reads on to the close frame, or the end.
  func closeCode(within seconds: Double = 10) async throws -> Int? {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < deadline, let message = try await next(within: seconds) {
      if case .close(let code) = message { return code }
    }
    return nil
  }

  func close() async { await raw.close() }
}

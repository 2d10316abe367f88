import Foundation
import Logging
import Media
import Metrics
import NIOCore
import NIOWebSocket
import Session
import Synchronization

/// One WebSocket of a session: commands and microphone sound come in, events and pictures with sound go out.
///
/// Text messages are JSON: `SessionCommand` in, `SessionEvent` out, the first one out being `session`. A binary message in is
/// microphone sound: 16-bit little-endian mono at 16 kHz. A binary message out is what `StreamMedia` says.
struct StreamConnection {
  static let soundRate = VoiceActivity.sampleRate
  /// A client that sends so much nonsense at a stretch is sent away.
  private static let mostMistakes = 50
  /// Bytes that the system may hold for a client that is slow: beyond it, frames are left out, not delayed.
  private static let sendBuffer = 131_072

  let conversation: OpenSession
  let limits: ServerLimits
  let media: StreamMedia
  let metrics: any MetricsFactory
  let logger: Logger

  typealias Socket = WebSocketChannel.Socket
  private typealias Writer = NIOAsyncChannelOutboundWriter<WebSocketFrame>

  /// Why a socket is closed, by the numbers of RFC 6455.
  private struct Ending: Error {
    var code: WebSocketErrorCode
    var reason: String
  }

  private final class LastHeard: Sendable {
    let time = Mutex(ContinuousClock.now)
  }

  /// The first message of a stream.
  private struct Greeting: Encodable {
    var type = "session"
    var id: String
    var avatar: String
    var prompt: String
    var format: StreamFormat
    var inputRate: Int
    /// Of a stream of fragmented MP4.
    var mimeType: String?

    private enum CodingKeys: String, CodingKey {
      case type, id, avatar, prompt, format
      case inputRate = "input_rate"
      case mimeType = "mime_type"
    }
  }

  /// Runs until the session or the connection ends; the session goes on without it.
  func run(_ socket: Socket) async {
    try? await socket.channel.setOption(.socketOption(.so_sndbuf), value: .init(Self.sendBuffer)).get()
    try? await socket.channel.setOption(.tcpOption(.tcp_nodelay), value: 1).get()
    do {
      try await socket.executeThenClose { inbound, outbound in
        let ending = await conversation.withConnection { await serve(inbound, outbound, socket.channel) }
        // The socket may be dead: nobody waits for it longer than for a ping.
        let deadline = socket.channel.eventLoop.scheduleTask(in: .milliseconds(Int64(limits.silentSeconds * 1_000))) {
          socket.channel.close(promise: nil)
        }
        defer { deadline.cancel() }
        var data = socket.channel.allocator.buffer(capacity: 125)
        data.write(webSocketErrorCode: ending.code)
        data.writeString(String(ending.reason.prefix(120)))
        try await outbound.write(WebSocketFrame(fin: true, opcode: .connectionClose, data: data))
      }
    } catch {
      logger.debug("A stream ends: \(error)")
    }
  }

  private func serve(
    _ inbound: NIOAsyncChannelInboundStream<WebSocketFrame>, _ writer: Writer, _ channel: any Channel
  ) async -> Ending {
    let encoder: MediaEncoder
    do { encoder = try MediaEncoder(media, conversation.handle.format) } catch {
      logger.error("A stream cannot be encoded: \(error)")
      return Ending(code: .unexpectedServerError, reason: "This server cannot encode the stream.")
    }
    let events = await conversation.handle.events()
    // Nothing comes before it: it says how to read what follows.
    let greeting = Greeting(
      id: conversation.id, avatar: conversation.avatar, prompt: conversation.prompt,
      format: conversation.handle.format, inputRate: Self.soundRate, mimeType: encoder.mimeType)
    do { try await writer.write(text(greeting)) } catch { return Ending(code: .goingAway, reason: "") }
    let lastHeard = LastHeard()
    return await withTaskGroup(of: Ending.self) { group in
      group.addTask { await ending { try await read(inbound, writer, lastHeard) } }
      group.addTask { await ending { try await sendEvents(events, writer) } }
      if media != .none {
        group.addTask { await ending { try await sendMedia(encoder, writer, channel) } }
      }
      group.addTask { await ending { try await ping(writer, channel, lastHeard) } }
      let first = await group.next() ?? Ending(code: .goingAway, reason: "")
      group.cancelAll()
      return first
    }
  }

  private func ending(_ body: () async throws -> Ending) async -> Ending {
    do { return try await body() } catch let ending as Ending {
      return ending
    } catch let error as NIOWebSocketFrameAggregator.Error {
      switch error {
      case .accumulatedFrameSizeIsTooLarge, .tooManyFragments:
        return Ending(code: .messageTooLarge, reason: "A message is too large.")
      default: return Ending(code: .protocolError, reason: "Frames are out of order.")
      }
    } catch {
      return Ending(code: .goingAway, reason: "")
    }
  }

  // MARK: in

  private func read(
    _ inbound: NIOAsyncChannelInboundStream<WebSocketFrame>, _ writer: Writer,
    _ lastHeard: LastHeard
  ) async throws -> Ending {
    var mistakes = 0
    for try await frame in inbound {
      lastHeard.time.withLock { $0 = .now }
      do {
        switch frame.opcode {
        case .text: try await command(frame.unmaskedData)
        case .binary: try await microphone(frame.unmaskedData)
        case .ping:
          try await writer.write(WebSocketFrame(fin: true, opcode: .pong, data: frame.unmaskedData))
          continue
        case .pong:
          recordRoundTrip(frame.unmaskedData)
          continue
        case .connectionClose: return Ending(code: .normalClosure, reason: "")
        default: return Ending(code: .protocolError, reason: "A frame is of an unknown kind.")
        }
        mistakes = 0
      } catch let error as APIError {
        mistakes += 1
        guard mistakes < Self.mostMistakes else { throw Ending(code: .policyViolation, reason: error.message) }
        try await writer.write(text(StreamMistake(error)))
      }
    }
    return Ending(code: .goingAway, reason: "")
  }

  private func command(_ data: ByteBuffer) async throws {
    guard let text = String(validating: data.readableBytesView, as: UTF8.self) else {
      throw Ending(code: .dataInconsistentWithMessage, reason: "A text message is not UTF-8.")
    }
    try await conversation.send(try JSON.read(SessionCommand.self, text.utf8))
  }

  private func microphone(_ data: ByteBuffer) async throws(APIError) {
    guard data.readableBytes.isMultiple(of: 2) else {
      throw APIError(
        .invalidSound, "Sound is of 16-bit samples: a message of \(data.readableBytes) bytes holds half a sample.")
    }
    guard data.readableBytes > 0 else { return }
    try await conversation.send(.appendUserAudio(PCM(int16: data.readableBytesView, rate: Self.soundRate)))
  }

  // MARK: out

  private func sendEvents(_ events: AsyncStream<SessionEvent>, _ writer: Writer) async throws -> Ending {
    for await event in events {
      try await writer.write(text(event))
      if case .closed(let reason) = event {
        return Ending(code: .normalClosure, reason: "The session is over: \(reason.rawValue).")
      }
    }
    return Task.isCancelled
      ? Ending(code: .goingAway, reason: "")
      : Ending(code: .unknown(1013), reason: "The client is too slow for its events.")
  }

  private func sendMedia(_ encoder: MediaEncoder, _ writer: Writer, _ channel: any Channel) async throws -> Ending {
    let sent = Counter(label: "livetalk_stream_frames", factory: metrics)
    func send(_ message: ByteBuffer?) async throws {
      guard let message else { return }
      try await writer.write(WebSocketFrame(fin: true, opcode: .binary, data: message))
    }
    try await send(encoder.header(channel.allocator))
    for await frame in await conversation.handle.frames() {
      try await send(try encoder.message(frame, channel.allocator))
      sent.increment()
    }
    try await send(try encoder.end(channel.allocator))
    // Events tell why; they are behind the frames.
    try await Task.sleep(for: .seconds(2))
    return Ending(code: .normalClosure, reason: "The session is over.")
  }

  // MARK: whether anybody is there

  private func ping(
    _ writer: Writer, _ channel: any Channel, _ lastHeard: LastHeard
  ) async throws -> Ending {
    let interval = Duration.seconds(limits.silentSeconds / 3)
    while true {
      try await Task.sleep(for: interval)
      guard ContinuousClock.now - lastHeard.time.withLock({ $0 }) < .seconds(limits.silentSeconds) else {
        // Writers wait for the dead socket; closing it wakes them.
        channel.close(promise: nil)
        return Ending(code: .goingAway, reason: "Nothing was heard from the client.")
      }
      var data = channel.allocator.buffer(capacity: 8)
      data.writeInteger(DispatchTime.now().uptimeNanoseconds)
      // Not waited for: where the socket is full, the check above must go on.
      channel.writeAndFlush(WebSocketFrame(fin: true, opcode: .ping, data: data), promise: nil)
    }
  }

  private func recordRoundTrip(_ data: ByteBuffer) {
    var data = data
    guard let sent = data.readInteger(as: UInt64.self) else { return }
    let now = DispatchTime.now().uptimeNanoseconds
    guard sent <= now, now - sent < 60_000_000_000 else { return }
    Metrics.Timer(label: "livetalk_stream_round_trip", dimensions: [], factory: metrics)
      .recordNanoseconds(Int64(now - sent))
  }

  private func text(_ value: some Encodable) -> WebSocketFrame {
    WebSocketFrame(fin: true, opcode: .text, data: ByteBuffer(string: JSON.text(value)))
  }
}

/// What was wrong with a message, in the shape of a session's own error event.
struct StreamMistake: Encodable {
  struct Fault: Encodable {
    var code, message: String
    var isFatal = false
  }
  var type = "error"
  var error: Fault

  init(_ error: APIError) { self.error = Fault(code: error.code.rawValue, message: error.message) }
}

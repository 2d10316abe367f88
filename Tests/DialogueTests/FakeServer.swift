import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import Synchronization

/// A real HTTP and WebSocket server on loopback that does what a test tells it to, mistakes included.
final class FakeServer: Sendable {
  struct Request: Sendable {
    let head: HTTPRequestHead
    let body: [UInt8]
    var text: String { String(decoding: body, as: UTF8.self) }
    var json: [String: Any] { (try? JSONSerialization.jsonObject(with: Data(body)) as? [String: Any]) ?? [:] }
  }

  /// The answer to one request.
  struct Responder: Sendable {
    fileprivate let channel: any Channel

    func head(_ status: Int = 200, type: String = "text/event-stream", _ more: [(String, String)] = []) async throws {
      let headers = HTTPHeaders([("content-type", type), ("transfer-encoding", "chunked")] + more)
      try await channel.writeAndFlush(
        HTTPServerResponsePart.head(.init(version: .http1_1, status: .init(statusCode: status), headers: headers)))
    }

    /// Writes bytes in pieces of so many, each a chunk of its own.
    func write(_ bytes: some Collection<UInt8>, by size: Int = .max, every pause: Duration? = nil) async throws {
      var rest = Array(bytes)[...]
      while !rest.isEmpty {
        let piece = rest.prefix(size)
        rest = rest.dropFirst(size)
        try await channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: piece))))
        if let pause { try await Task.sleep(for: pause) }
      }
    }

    func finish() async throws {
      try await channel.writeAndFlush(HTTPServerResponsePart.end(nil))
    }

    /// Sends a whole answer.
    func answer(_ status: Int = 200, type: String = "application/json", _ body: String, _ more: [(String, String)] = [])
      async throws
    {
      try await head(status, type: type, more)
      try await write(body.utf8)
      try await finish()
    }

    func answer(_ json: String) async throws { try await answer(200, json) }

    /// Closes the connection, whatever was said.
    func drop() async { try? await channel.close() }
  }

  /// The server's end of a WebSocket.
  final class Socket: Sendable {
    fileprivate let channel: any Channel
    let head: HTTPRequestHead
    private let messages: AsyncStream<String>

    fileprivate init(_ channel: any Channel, _ head: HTTPRequestHead, _ messages: AsyncStream<String>) {
      (self.channel, self.head, self.messages) = (channel, head, messages)
    }

    /// What the client sends, in order; each can be read once.
    func events() -> AsyncMapSequence<AsyncStream<String>, Event> { messages.map(Event.init) }

    struct Event: Sendable {
      let text: String
      init(_ text: String) { self.text = text }
      var json: [String: Any] { (try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]) ?? [:] }
      var type: String { json["type"] as? String ?? "" }
    }

    func send(_ text: String) async throws { try await frame(.text, ByteBuffer(string: text)) }

    /// A message in fragments of so many bytes.
    func send(_ text: String, fragments size: Int) async throws {
      var rest = Array(text.utf8)[...]
      var opcode = WebSocketOpcode.text
      while !rest.isEmpty {
        let piece = ByteBuffer(bytes: rest.prefix(size))
        rest = rest.dropFirst(size)
        try await channel.writeAndFlush(WebSocketFrame(fin: rest.isEmpty, opcode: opcode, data: piece))
        opcode = .continuation
      }
    }

    func frame(_ opcode: WebSocketOpcode, _ data: ByteBuffer) async throws {
      try await channel.writeAndFlush(WebSocketFrame(fin: true, opcode: opcode, data: data))
    }

    /// Ends the connection without a close frame.
    func drop() async { try? await channel.close() }

    func close(_ code: WebSocketErrorCode) async throws {
      var data = ByteBuffer()
      data.write(webSocketErrorCode: code)
      try await frame(.connectionClose, data)
    }
  }

  typealias HTTPHandler = @Sendable (Request, Responder) async throws -> Void
  typealias SocketHandler = @Sendable (Socket) async throws -> Void

  private let channel: any Channel
  private let log: RequestLog
  let port: Int

  /// The requests so far.
  var requests: [Request] { log.requests.withLock { $0 } }

  /// - Parameter socket: nil answers those who want a WebSocket like everybody else.
  init(http: @escaping HTTPHandler = { _, answer in try await answer.answer(404, "{}") }, socket: SocketHandler? = nil)
    async throws
  {
    let log = RequestLog()
    let bootstrap = ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          guard let socket else {
            // Not an upgrader that declines: NIO's forgets the head of the request that it declines.
            try channel.pipeline.syncOperations.configureHTTPServerPipeline()
            try channel.pipeline.syncOperations.addHandler(RequestReader(log, http))
            return
          }
          let upgrader = NIOTypedWebSocketServerUpgrader<Void>(
            maxFrameSize: 1 << 24,
            shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture(HTTPHeaders()) },
            upgradePipelineHandler: { channel, head in
              channel.eventLoop.makeCompletedFuture {
                let (messages, continuation) = AsyncStream.makeStream(of: String.self)
                try channel.pipeline.syncOperations.addHandler(SocketReader(continuation))
                let peer = Socket(channel, head, messages)
                Task { try? await socket(peer) }
              }
            })
          let configuration = NIOTypedHTTPServerUpgradeConfiguration(upgraders: [upgrader]) { channel in
            channel.eventLoop.makeCompletedFuture {
              try channel.pipeline.syncOperations.addHandler(RequestReader(log, http))
            }
          }
          _ = try channel.pipeline.syncOperations.configureUpgradableHTTPServerPipeline(
            configuration: .init(upgradeConfiguration: configuration))
        }
      }
    channel = try await bootstrap.bind(host: "127.0.0.1", port: 0).get()
    port = channel.localAddress?.port ?? 0
    self.log = log
  }

  deinit { channel.close(promise: nil) }

  /// A port on which nobody listens.
  static func freePort() async throws -> Int {
    let channel = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .bind(host: "127.0.0.1", port: 0).get()
    let port = channel.localAddress?.port ?? 0
    try await channel.close()
    return port
  }
}

final class RequestLog: Sendable {
  let requests = Mutex<[FakeServer.Request]>([])
}

private final class RequestReader: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  private let log: RequestLog
  private let handler: FakeServer.HTTPHandler
  private var head: HTTPRequestHead?
  private var body: [UInt8] = []

  init(_ log: RequestLog, _ handler: @escaping FakeServer.HTTPHandler) { (self.log, self.handler) = (log, handler) }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): (self.head, body) = (head, [])
    case .body(let bytes): body += bytes.readableBytesView
    case .end: answer(context)
    }
  }

  private func answer(_ context: ChannelHandlerContext) {
    guard let head else { return }
    self.head = nil
    let request = FakeServer.Request(head: head, body: body)
    log.requests.withLock { $0.append(request) }
    let answer = FakeServer.Responder(channel: context.channel)
    let handler = handler
    Task { try? await handler(request, answer) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

private final class SocketReader: ChannelInboundHandler {
  typealias InboundIn = WebSocketFrame
  typealias OutboundOut = WebSocketFrame
  private let messages: AsyncStream<String>.Continuation

  init(_ messages: AsyncStream<String>.Continuation) { self.messages = messages }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    switch frame.opcode {
    case .text: messages.yield(String(buffer: frame.unmaskedData))
    case .ping:
      context.writeAndFlush(
        wrapOutboundOut(WebSocketFrame(fin: true, opcode: .pong, data: frame.unmaskedData)), promise: nil)
    case .connectionClose:
      messages.finish()
      context.close(promise: nil)
    default: break
    }
  }

  func channelInactive(context: ChannelHandlerContext) { messages.finish() }
  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

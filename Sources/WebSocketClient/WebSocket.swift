package import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket

/// A WebSocket (RFC 6455) to a server.
package final class WebSocket: Sendable {
  package enum Message: Hashable, Sendable {
    case text(String)
    case binary([UInt8])
  }

  package enum Failure: Error, Hashable {
    /// The server answers, but not with a WebSocket.
    case refused(status: Int)
    case timedOut
    /// The connection ended without a close frame, or nothing came for too long.
    case dropped
    /// The server closed it, with its code.
    case closed(Int)
  }

  /// What the server sends. The stream ends when it closes the connection properly, and throws `Failure` otherwise.
  package let messages: AsyncThrowingStream<Message, any Error>
  private let channel: any Channel

  private init(_ channel: any Channel, _ messages: AsyncThrowingStream<Message, any Error>) {
    (self.channel, self.messages) = (channel, messages)
  }

  private enum Upgrade: Sendable {
    case socket(WebSocket)
    case refused(EventLoopFuture<Int>)
  }

  /// The longest message: a server may send much sound at once.
  private static let longestMessage = 32 << 20

  /// - Parameters:
  ///   - url: `ws` or `wss`.
  ///   - seconds: for the connection and the server's answer.
  /// - Throws: `Failure`, or an error of NIO.
  package static func connect(_ url: URL, headers: [(String, String)], seconds: Double) async throws -> WebSocket {
    let isSecure = url.scheme == "wss"
    let host = url.host ?? ""
    let port = url.port ?? (isSecure ? 443 : 80)
    let tls = isSecure ? try NIOSSLContext(configuration: .makeClientConfiguration()) : nil
    let isAddress = (try? SocketAddress(ipAddress: host, port: port)) != nil
    var path = url.path(percentEncoded: true)
    if path.isEmpty { path = "/" }
    if let query = url.query(percentEncoded: true) { path += "?\(query)" }
    var fields = HTTPHeaders(headers)
    fields.add(name: "host", value: (host.contains(":") ? "[\(host)]" : host) + (url.port.map { ":\($0)" } ?? ""))
    let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path, headers: fields)
    let start = ContinuousClock.now
    do {
      let upgrade = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
        .connectTimeout(.milliseconds(Int64(seconds * 1000)))
        .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        .connect(host: host, port: port) { channel in
          channel.eventLoop.makeCompletedFuture {
            if let tls {
              try channel.pipeline.syncOperations.addHandler(
                NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : host))
            }
            let upgrade = try Self.upgrade(channel, head)
            // Who waits for a server's answer cannot be cancelled, but the end of the connection ends the wait.
            let limit = channel.eventLoop.scheduleTask(in: .milliseconds(Int64(seconds * 1000))) {
              channel.close(promise: nil)
            }
            upgrade.whenSuccess { if case .socket = $0 { limit.cancel() } }
            return upgrade
          }
        }
      switch try await upgrade.get() {
      case .socket(let socket): return socket
      case .refused(let status): throw Failure.refused(status: try await status.get())
      }
    } catch  where ContinuousClock.now - start >= .seconds(seconds) {
      throw Failure.timedOut
    }
  }

  private static func upgrade(_ channel: any Channel, _ head: HTTPRequestHead) throws -> EventLoopFuture<Upgrade> {
    let upgrader = NIOTypedWebSocketClientUpgrader<Upgrade>(maxFrameSize: longestMessage) { channel, _ in
      channel.eventLoop.makeCompletedFuture {
        let (messages, continuation) = AsyncThrowingStream.makeStream(of: Message.self)
        try channel.pipeline.syncOperations.addHandlers([
          NIOWebSocketFrameAggregator(
            minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: 1 << 16, maxAccumulatedFrameSize: longestMessage),
          MessageHandler(continuation),
        ])
        return .socket(WebSocket(channel, messages))
      }
    }
    let configuration = NIOTypedHTTPClientUpgradeConfiguration(upgradeRequestHead: head, upgraders: [upgrader]) {
      channel in
      channel.eventLoop.makeCompletedFuture {
        let status = channel.eventLoop.makePromise(of: Int.self)
        try channel.pipeline.syncOperations.addHandler(RefusalHandler(status))
        return .refused(status.futureResult)
      }
    }
    var pipeline = NIOUpgradableHTTPClientPipelineConfiguration(upgradeConfiguration: configuration)
    // A server that speaks first may send its first message together with the upgrade.
    pipeline.leftOverBytesStrategy = .forwardBytes
    return try channel.pipeline.syncOperations.configureUpgradableHTTPClientPipeline(configuration: pipeline)
  }

  /// Sends a message, behind those that were sent before. A connection that is gone tells so where it is read.
  package func send(_ message: Message) {
    let frame =
      switch message {
      case .text(let text):
        WebSocketFrame(fin: true, opcode: .text, maskKey: .random(), data: ByteBuffer(string: text))
      case .binary(let bytes):
        WebSocketFrame(fin: true, opcode: .binary, maskKey: .random(), data: ByteBuffer(bytes: bytes))
      }
    channel.writeAndFlush(frame, promise: nil)
  }

  package func close() {
    var code = ByteBuffer()
    code.write(webSocketErrorCode: .normalClosure)
    let frame = WebSocketFrame(fin: true, opcode: .connectionClose, maskKey: .random(), data: code)
    channel.writeAndFlush(frame, promise: nil)
    channel.close(promise: nil)
  }
}

/// Gives on the messages of a socket, answers pings, and sends pings to notice a peer that is gone.
private final class MessageHandler: ChannelInboundHandler {
  typealias InboundIn = WebSocketFrame
  typealias OutboundOut = WebSocketFrame

  private static let pingInterval = TimeAmount.seconds(5)
  /// Without anything from the peer.
  private static let longestSilence = TimeAmount.seconds(20)

  private let messages: AsyncThrowingStream<WebSocket.Message, any Error>.Continuation
  private var lastRead = NIODeadline.now()
  private var pings: RepeatedTask?

  init(_ messages: AsyncThrowingStream<WebSocket.Message, any Error>.Continuation) { self.messages = messages }

  func handlerAdded(context: ChannelHandlerContext) {
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    pings = context.eventLoop.scheduleRepeatedTask(initialDelay: Self.pingInterval, delay: Self.pingInterval) { _ in
      let (handler, context) = bound.value
      guard NIODeadline.now() - handler.lastRead < Self.longestSilence else {
        handler.messages.finish(throwing: WebSocket.Failure.dropped)
        context.close(promise: nil)
        return
      }
      handler.write(.ping, ByteBuffer(), context)
    }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    lastRead = .now()
    let frame = unwrapInboundIn(data)
    switch frame.opcode {
    case .text: messages.yield(.text(String(buffer: frame.unmaskedData)))
    case .binary: messages.yield(.binary(Array(buffer: frame.unmaskedData)))
    case .ping: write(.pong, frame.unmaskedData, context)
    case .connectionClose:
      var data = frame.unmaskedData
      let code = data.readWebSocketErrorCode() ?? .normalClosure
      if code == .normalClosure || code == .goingAway {
        messages.finish()
      } else {
        messages.finish(throwing: WebSocket.Failure.closed(Int(UInt16(webSocketErrorCode: code))))
      }
      var answer = ByteBuffer()
      answer.write(webSocketErrorCode: code)
      write(.connectionClose, answer, context)
      context.close(promise: nil)
    default: break
    }
  }

  private func write(_ opcode: WebSocketOpcode, _ data: ByteBuffer, _ context: ChannelHandlerContext) {
    let frame = WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: data)
    context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    pings?.cancel()
    messages.finish(throwing: WebSocket.Failure.dropped)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    messages.finish(throwing: error)
    context.close(promise: nil)
  }
}

/// The status with which a server refuses a WebSocket.
private final class RefusalHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart
  private let status: EventLoopPromise<Int>

  init(_ status: EventLoopPromise<Int>) { self.status = status }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .head(let head) = unwrapInboundIn(data) else { return }
    status.succeed(Int(head.status.code))
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    status.fail(WebSocket.Failure.dropped)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    status.fail(error)
    context.close(promise: nil)
  }
}

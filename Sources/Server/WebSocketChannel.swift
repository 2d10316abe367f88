import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOWebSocket

/// HTTP/1.1 whose requests may become WebSockets, on the one port of the server.
///
/// A request for a WebSocket that is refused goes on as a plain request, so that the router answers it with its error.
struct WebSocketChannel: ServerChildChannel, HTTPChannelHandler {
  typealias Socket = NIOAsyncChannel<WebSocketFrame, WebSocketFrame>
  typealias Plain = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

  /// What a client asks for with its upgrade.
  struct Request: Sendable {
    var path: String
    var headers: HTTPHeaders

    var protocols: [String] {
      headers["Sec-WebSocket-Protocol"].flatMap { $0.split(separator: ",") }.map { $0.trimmingWhitespace() }
    }
  }

  /// Runs one WebSocket to its end.
  typealias Handler = @Sendable (Socket) async -> Void

  enum Upgraded: Sendable {
    case socket(Socket, Handler)
    case plain(Plain)
  }

  struct Value: ServerChildChannelValue {
    let upgraded: EventLoopFuture<Upgraded>
    let channel: any Channel
  }

  let responder: Responder
  let limits: ServerLimits
  /// The handler of a WebSocket that is wanted and allowed, else nil. Called on the event loop.
  let accept: @Sendable (Request) -> Handler?

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
    channel.eventLoop.makeCompletedFuture {
      let upgrade = NIOTypedHTTPServerUpgradeConfiguration<Upgraded>(
        upgraders: [upgrader()],
        notUpgradingCompletionHandler: { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(HTTP1ToHTTPServerCodec(secure: false))
            try channel.pipeline.syncOperations.addHandler(
              HTTPConnectionStateHandler(idleTimeout: .seconds(limits.requestSeconds), logger: logger))
            return .plain(
              try NIOAsyncChannel(
                wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true)))
          }
        })
      var configuration = NIOUpgradableHTTPServerPipelineConfiguration(upgradeConfiguration: upgrade)
      // NIOAsyncChannel takes one request after the other.
      configuration.enablePipelining = false
      configuration.enableResponseHeaderValidation = false
      configuration.decoderConfiguration.maxHeaderFieldSize = limits.headerBytes
      configuration.decoderConfiguration.maxHeaderListSize = limits.headerBytes
      configuration.decoderConfiguration.maxHeaderFieldCount = limits.headerFields
      let result = try channel.pipeline.syncOperations.configureUpgradableHTTPServerPipeline(
        configuration: configuration)
      let handler = try channel.pipeline.syncOperations.handler(type: NIOTypedHTTPServerUpgradeHandler<Upgraded>.self)
      try channel.pipeline.syncOperations.addHandler(UpgradeFilter(accept: accept), position: .before(handler))
      // What is no HTTP got its 400; nothing more is to be said to it.
      let closer = ErrorCloser()
      try channel.pipeline.syncOperations.addHandler(closer)
      result.assumeIsolated().whenSuccess { _ in channel.pipeline.syncOperations.removeHandler(closer, promise: nil) }
      // A connection that never sends the head of its first request.
      let deadline = channel.eventLoop.scheduleTask(in: .seconds(limits.requestSeconds)) { channel.close(promise: nil) }
      result.whenComplete { _ in deadline.cancel() }
      return Value(upgraded: result, channel: channel)
    }
  }

  private func upgrader() -> NIOTypedWebSocketServerUpgrader<Upgraded> {
    // Both closures run on the channel's event loop, first one, then the other; the head is the same.
    NIOTypedWebSocketServerUpgrader(
      maxFrameSize: StreamLimits.messageBytes,
      shouldUpgrade: { channel, head in
        let request = Request(head)
        guard accept(request) != nil else { return channel.eventLoop.makeSucceededFuture(nil) }
        var headers = HTTPHeaders()
        if request.protocols.contains(Authorization.subprotocol) {
          headers.add(name: "Sec-WebSocket-Protocol", value: Authorization.subprotocol)
        }
        return channel.eventLoop.makeSucceededFuture(headers)
      },
      upgradePipelineHandler: { channel, head in
        channel.eventLoop.makeCompletedFuture {
          guard let handler = accept(Request(head)) else { throw ChannelError.ioOnClosedChannel }
          try channel.pipeline.syncOperations.addHandlers([
            ClientFrameCheck(),
            NIOWebSocketFrameAggregator(
              minNonFinalFragmentSize: 1, maxAccumulatedFrameCount: 64,
              maxAccumulatedFrameSize: StreamLimits.messageBytes),
          ])
          return .socket(try NIOAsyncChannel(wrappingChannelSynchronously: channel), handler)
        }
      })
  }

  func handle(value: Value, logger: Logger) async {
    do {
      switch try await value.upgraded.get() {
      case .socket(let socket, let handler): await handler(socket)
      case .plain(let plain): await handleHTTP(asyncChannel: plain, logger: logger)
      }
    } catch {
      // The connection ended, or was no HTTP, before its first request was whole.
      logger.trace("A connection ended before its first request: \(error)")
      try? await value.channel.close()
    }
  }
}

extension WebSocketChannel.Request {
  init(_ head: HTTPRequestHead) {
    path = head.uri
    headers = head.headers
  }
}

/// What a WebSocket may send at once.
enum StreamLimits {
  /// Bytes of a message: 2 seconds of microphone sound, or a command.
  static let messageBytes = 65_536
}

/// Closes a connection in which something fails before its first request is whole.
private final class ErrorCloser: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = Any

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    context.fireErrorCaught(error)
    context.close(promise: nil)
  }
}

/// Lets the first request ask for a WebSocket only if it will get one; it goes on as a plain one otherwise.
///
/// NIO's upgrade handler drops the head of a request whose upgrade it cannot make, so that nobody could answer it.
private final class UpgradeFilter: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart

  private let accept: @Sendable (WebSocketChannel.Request) -> WebSocketChannel.Handler?

  init(accept: @escaping @Sendable (WebSocketChannel.Request) -> WebSocketChannel.Handler?) { self.accept = accept }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .head(var head) = unwrapInboundIn(data) else { return context.fireChannelRead(data) }
    if !isUpgrade(head) {
      head.headers.remove(name: "Upgrade")
      head.headers.remove(name: "HTTP2-Settings")
    }
    context.fireChannelRead(wrapInboundOut(.head(head)))
    context.pipeline.syncOperations.removeHandler(self, promise: nil)
  }

  private func isUpgrade(_ head: HTTPRequestHead) -> Bool {
    let headers = head.headers
    return head.method == .GET && head.version == .http1_1
      && headers[canonicalForm: "Upgrade"].map { $0.lowercased() } == ["websocket"]
      && headers["Sec-WebSocket-Key"].count == 1 && headers["Sec-WebSocket-Version"] == ["13"]
      && !headers.contains(name: "Transfer-Encoding") && (headers.first(name: "Content-Length") ?? "0") == "0"
      && accept(WebSocketChannel.Request(head)) != nil
  }
}

/// Ends a connection whose frames are not masked or use reserved bits, as RFC 6455 demands (5.1, 5.2).
private final class ClientFrameCheck: ChannelInboundHandler {
  typealias InboundIn = WebSocketFrame
  typealias InboundOut = WebSocketFrame

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    guard frame.maskKey != nil, !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
      var reason = context.channel.allocator.buffer(capacity: 2)
      reason.write(webSocketErrorCode: .protocolError)
      let close = WebSocketFrame(fin: true, opcode: .connectionClose, data: reason)
      let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
      context.writeAndFlush(NIOAny(close)).whenComplete { _ in bound.value.close(promise: nil) }
      return
    }
    context.fireChannelRead(data)
  }
}

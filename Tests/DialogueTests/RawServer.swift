import NIOCore
import NIOPosix

/// A server that answers whatever comes first with bytes that a test chooses, and leaves the connection open or closes it.
final class RawServer: Sendable {
  private let channel: any Channel
  let port: Int

  init(_ answer: String, closes: Bool) async throws {
    channel = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(Answerer(answer, closes))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    port = channel.localAddress?.port ?? 0
  }

  func close() async { try? await channel.close() }

  private final class Answerer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let answer: String
    private let closes: Bool
    private var hasAnswered = false

    init(_ answer: String, _ closes: Bool) { (self.answer, self.closes) = (answer, closes) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      guard !hasAnswered else { return }
      hasAnswered = true
      let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
      context.channel.writeAndFlush(ByteBuffer(string: answer)).whenComplete { [closes] _ in
        if closes { bound.value.close(promise: nil) }
      }
    }
  }
}

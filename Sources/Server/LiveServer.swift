package import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle
package import Session
package import UnixSignals

/// The server: HTTP, WebSockets and the page on one port, until it is told to stop.
package struct LiveServer: Sendable {
  private let settings: LiveServerSettings
  private let registry: SessionRegistry
  private let videos: VideoQueue
  private let metrics: PrometheusRegistry
  private let logger: Logger
  /// All there is to be asked for.
  package let routes: [Route]

  /// - Parameters:
  ///   - voice: reads the texts of videos aloud.
  ///   - videoFolder: where videos lie, across restarts.
  ///   - open: opens a session: engine, dialogue and turn-taking together.
  /// - Throws: `LiveServerSettingsError`.
  package init(
    settings: LiveServerSettings, engine: any AvatarEngine, avatars: AvatarStore, voice: (any Voice)?, videoFolder: URL,
    metrics: PrometheusRegistry, logger: Logger, open: @escaping SessionRegistry.Open
  ) throws {
    try settings.check()
    (self.settings, self.metrics, self.logger) = (settings, metrics, logger)
    registry = SessionRegistry(
      engine: engine, avatars: avatars, limits: settings.limits, metrics: metrics, logger: logger, open: open)
    let maker = VideoMaker(engine: engine, voice: voice)
    videos = try VideoQueue(folder: videoFolder, maker: maker, limits: settings.limits, logger: logger)
    let gateway = WebRTCGateway(settings: settings.webRTC, logger: logger)
    routes =
      SystemRoutes(registry: registry, metrics: metrics, page: WebPage(folder: settings.webFolder)).all
      + SessionRoutes(registry: registry, settings: settings).all
      + WebRTCRoutes(gateway: gateway, registry: registry, settings: settings).all
      + LiveKitRoutes(gateway: gateway, registry: registry, settings: settings, logger: logger).all
      + AvatarRoutes(avatars: avatars, limits: settings.limits).all
      + VideoRoutes(queue: videos, maker: maker, avatars: avatars, limits: settings.limits).all
  }

  /// Serves until a signal to stop; then lets answers end, and returns.
  ///
  /// - Parameters:
  ///   - stop: an element of it stops the server as a signal does.
  ///   - onRunning: told the port once connections are taken.
  /// - Throws: what keeps the port from being opened.
  package func run(
    signals: [UnixSignal] = [.sigterm, .sigint, .sighup], stop: AsyncStream<Void>? = nil,
    onRunning: @escaping @Sendable (Int) -> Void = { _ in }
  ) async throws {
    let application = Application(
      router: router(), server: .init { responder in channel(responder) },
      configuration: .init(address: .hostname(settings.host, port: settings.port), serverName: "livetalk"),
      onServerRunning: { onRunning($0.localAddress?.port ?? settings.port) }, logger: logger)
    // Stopped from the last to the first: sessions end before the port is closed, so that health checks see it coming.
    let group = ServiceGroup(
      configuration: .init(services: [application, videos, registry], gracefulShutdownSignals: signals, logger: logger))
    let stopper = Task {
      if let stop, await stop.first(where: { _ in true }) != nil { await group.triggerGracefulShutdown() }
    }
    defer { stopper.cancel() }
    try await group.run()
  }

  private func router() -> Router<LiveContext> {
    let router = Router(context: LiveContext.self)
    router.add(middleware: RequestMetrics(metrics: metrics))
    router.add(middleware: ErrorMiddleware(routes: routes))
    router.add(middleware: AuthorizationMiddleware(authorization: Authorization(settings)))
    router.add(routes)
    return router
  }

  private func channel(_ responder: @escaping HTTPChannelHandler.Responder) -> WebSocketChannel {
    let (authorization, registry) = (Authorization(settings), registry)
    let (limits, metrics, logger) = (settings.limits, metrics, logger)
    return WebSocketChannel(responder: responder, limits: limits) { request in
      let uri = URI(request.path)
      let pieces = uri.path.split(separator: "/")
      guard pieces.count == 4, pieces[0] == "v1", pieces[1] == "sessions", pieces[3] == "stream",
        let caller = try? authorization.check(
          path: uri.path, authorization: request.headers.first(name: "Authorization"), protocols: request.protocols,
          host: request.headers.first(name: "Host"), origin: request.headers.first(name: "Origin")),
        let conversation = registry.index.find(String(pieces[2])), caller.mayUse(conversation),
        let media = try? StreamMedia(uri)
      else { return nil }
      let connection = StreamConnection(
        conversation: conversation, limits: limits, media: media, metrics: metrics, logger: logger)
      return { await connection.run($0) }
    }
  }
}

import Basics
import CoreMetrics
import HTTPTypes
import Hummingbird
import NIOCore

/// Health, metrics, and the page.
struct SystemRoutes: Sendable {
  let registry: SessionRegistry
  let metrics: PrometheusRegistry
  let page: WebPage

  var all: [Route] {
    [
      Route(.get, "/healthz") { _, _ in .json(["status": "ok"]) },
      Route(.get, "/readyz") { _, _ in
        try await registry.checkReady()
        return .json(["status": "ready"])
      },
      Route(.get, "/metrics") { _, _ in
        for (name, value) in await registry.gauges() {
          metrics.makeMeter(label: name, dimensions: []).set(value)
        }
        metrics.makeMeter(label: "process_resident_memory_bytes", dimensions: []).set(Int64(residentBytes()))
        return Response(
          status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8", .cacheControl: "no-store"],
          body: .init(byteBuffer: ByteBuffer(string: metrics.page())))
      },
    ]
      + WebPage.names.sorted().map { name in
        Route(.get, name) { _, _ in page.response(name) ?? Response(status: .notFound) }
      }
  }
}

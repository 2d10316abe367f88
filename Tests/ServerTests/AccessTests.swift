import Foundation
import HTTPTypes
import Testing

@testable import Server

@Suite(.serialized) struct AccessTests {
  static let token = "0123456789abcdef0123"

  @Test func everyRouteButHealthAndThePageNeedsTheToken() async throws {
    try await RunningServer.with(token: Self.token) { server in
      for route in server.server.routes {
        let path = route.path.replacing(/\{\w+\}/, with: "x")
        let reply = try await server.send(route.method.rawValue, path, headers: ["Authorization: Bearer wrong"])
        let isOpen = ["/healthz", "/readyz"].contains(path) || WebPage.names.contains(path)
        #expect((reply.status == 401) != isOpen, "\(route.method) \(path) answers \(reply.status)")
        if !isOpen { #expect(reply.code == "unauthorized" && reply.headers["www-authenticate"] == "Bearer") }
      }
      #expect(try await server.send("GET", "/v1/avatars").status == 200)
      #expect(try await server.send("GET", "/nothing", headers: ["Authorization: Basic x"]).status == 401)
    }
  }

  @Test func webSocketTakesTheTokenAsSubprotocolAndRefusesOthers() async throws {
    try await RunningServer.with(token: Self.token) { server in
      let id = try await server.session()
      let path = "/v1/sessions/\(id)/stream"
      for headers in [
        [], ["Sec-WebSocket-Protocol: livetalk.v1, bearer.wrong"], ["Authorization: Bearer \(Self.token)x"],
      ] {
        let refusal = await #expect(throws: SocketClient.Refused.self) {
          _ = try await SocketClient.connect(server.port, path, headers: headers)
        }
        #expect(refusal?.reply?.status == 401)
      }
      let socket = try await SocketClient.connect(
        server.port, path, headers: ["Sec-WebSocket-Protocol: livetalk.v1, bearer.\(Self.token)"])
      #expect(try await socket.event("session")["id"] as? String == id)
      await socket.close()
    }
  }

  @Test func withoutATokenOnlyLoopbackMayBeBoundAndNamed() async throws {
    var settings = LiveServerSettings()
    settings.host = "0.0.0.0"
    #expect(throws: LiveServerSettingsError.self) { try settings.check() }
    settings.token = Self.token
    #expect(throws: Never.self) { try settings.check() }
    settings.token = "short"
    #expect(throws: LiveServerSettingsError.self) { try settings.check() }
    try await RunningServer.with { server in
      let rebound = try await RawClient.connect(server.port)
      try await rebound.send("GET /v1/avatars HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
      #expect(Reply(try await rebound.rest())?.code == "forbidden_origin")
    }
  }

  @Test func pagesOfOtherSitesAreRefused() async throws {
    try await RunningServer.with { server in
      let foreign = try await server.send("POST", "/v1/sessions", headers: ["Origin: https://evil.example"])
      #expect(foreign.status == 403 && foreign.code == "forbidden_origin")
      #expect(foreign.headers["access-control-allow-origin"] == nil)
      let own = try await server.send("GET", "/v1/avatars", headers: ["Origin: http://127.0.0.1:\(server.port)"])
      #expect(own.status == 200)
      let id = try await server.session()
      await #expect(throws: SocketClient.Refused.self) {
        _ = try await SocketClient.connect(
          server.port, "/v1/sessions/\(id)/stream", headers: ["Origin: https://evil.example"])
      }
    }
  }

  @Test func wrongPathsAndMethodsAreToldApart() async throws {
    try await RunningServer.with { server in
      let nowhere = try await server.send("GET", "/v1/nothing")
      #expect(nowhere.status == 404 && nowhere.code == "not_found")
      let wrong = try await server.send("PUT", "/v1/sessions")
      #expect(wrong.status == 405 && wrong.code == "method_not_allowed")
      #expect(wrong.headers["allow"]?.contains("POST") == true)
      for path in ["/v1/avatars/../../etc/passwd/picture", "/v1/avatars/%2e%2e%2fada/picture", "/../app.css"] {
        #expect(try await server.send("GET", path).status == 404)
      }
    }
  }
}

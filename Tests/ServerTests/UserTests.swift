import Foundation
import Media
import Testing

@testable import Server

/// Users of signed tokens, over real connections.
@Suite(.serialized) struct UserTests {
  private static let operatorToken = "0123456789abcdef0123"

  private func with(
    token: String? = operatorToken, _ body: @Sendable @escaping (RunningServer, TokenExamples) async throws -> Void
  ) async throws {
    let examples = try TokenExamples()
    defer { examples.remove() }
    let verifier = try examples.verifier()
    try await RunningServer.with(token: token, change: { $0.verifier = verifier }) { try await body($0, examples) }
  }

  private func bearer(_ token: String) -> [String] { ["Authorization: Bearer \(token)"] }

  @Test func signedTokensAreTakenBesideTheServersOwnAndForgedOnesAreNot() async throws {
    try await with { server, examples in
      for name in ["HS256", "RS256", "ES256"] {
        #expect(try await server.send("GET", "/v1/avatars", headers: bearer(examples[name])).status == 200)
      }
      #expect(try await server.send("GET", "/v1/avatars").status == 200)
      let expired = try examples.token(["exp": 1_000_000_000])
      let foreign = try examples.token(["aud": "another"])
      for token in [examples["none"], examples["RS256 by a stranger"], expired, foreign, "x", "a.b.c"] {
        let reply = try await server.send("GET", "/v1/avatars", headers: bearer(token))
        #expect(reply.status == 401 && reply.code == "unauthorized" && reply.headers["www-authenticate"] == "Bearer")
      }
      #expect(try await server.send("GET", "/v1/avatars", headers: bearer(expired)).text.contains("has expired"))
    }
  }

  @Test func serverWithSignedTokensAloneNeedsOne() async throws {
    try await with(token: nil) { server, examples in
      #expect(try await server.send("GET", "/v1/avatars").status == 401)
      #expect(try await server.send("GET", "/healthz").status == 200)
      #expect(try await server.send("GET", "/v1/avatars", headers: bearer(examples["ES256"])).status == 200)
      // With tokens the name under which the server is called is nobody's business.
      var settings = LiveServerSettings()
      settings.host = "0.0.0.0"
      #expect(throws: LiveServerSettingsError.self) { try settings.check() }
      settings.verifier = try examples.verifier()
      #expect(throws: Never.self) { try settings.check() }
    }
  }

  @Test func usersSeeOnlyWhatIsTheirs() async throws {
    try await with { server, examples in
      let ada = bearer(try examples.token(["sub": "ada", "livetalk": ["sessions": 1, "session_seconds": 60]]))
      let bob = bearer(try examples.token(["sub": "bob"]))
      let created = try await server.send("POST", "/v1/sessions", headers: ada)
      #expect(created.status == 201, "\(created.text)")
      let json = try created.json()
      let id = try #require(json["id"] as? String)
      let (made, end) = (json["created_at"] as? Int ?? 0, json["expires_at"] as? Int ?? 0)
      #expect((59...61).contains(end - made))
      // Her token allows one at a time, his as many as the server does.
      let second = try await server.send("POST", "/v1/sessions", headers: ada)
      #expect(second.status == 429 && second.code == "too_many_sessions", "\(second.text)")
      let other = try await server.send("POST", "/v1/sessions", headers: bob)
      #expect(other.status == 201)

      func sessions(_ headers: [String]) async throws -> [String] {
        let list = try await server.send("GET", "/v1/sessions", headers: headers).json()["data"] as? [[String: Any]]
        return (list ?? []).compactMap { $0["id"] as? String }
      }
      #expect(try await sessions(ada) == [id])
      #expect(try await sessions(bob).count == 1)
      #expect(try await sessions([]).count == 2)
      for (method, path) in [
        ("GET", ""), ("DELETE", ""), ("POST", "/interrupt"), ("GET", "/events"), ("OPTIONS", "/whep"),
      ] {
        let reply = try await server.send(method, "/v1/sessions/\(id)\(path)", headers: bob)
        #expect(reply.status == 404, "\(method) \(path) answers \(reply.status)")
      }
      await #expect(throws: SocketClient.Refused.self) {
        _ = try await SocketClient.connect(server.port, "/v1/sessions/\(id)/stream", headers: bob)
      }
      let hers = ada[0].replacing("Authorization: Bearer ", with: "")
      let socket = try await SocketClient.connect(
        server.port, "/v1/sessions/\(id)/stream", headers: ["Sec-WebSocket-Protocol: livetalk.v1, bearer.\(hers)"])
      #expect(try await socket.event("session")["id"] as? String == id)
      await socket.close()
      #expect(try await server.send("GET", "/metrics", headers: ada).code == "forbidden")
      #expect(try await server.send("GET", "/metrics").status == 200)
    }
  }

  @Test func picturesAndVideosOfAUserAreNobodyElses() async throws {
    try await with { server, examples in
      let ada = bearer(try examples.token(["sub": "ada"]))
      let bob = bearer(try examples.token(["sub": "bob"]))
      let picture = try await server.send(
        "POST", "/v1/avatars", try RunningServer.picture().jpeg(), type: "image/jpeg", headers: ada)
      let avatar = try #require(try picture.json()["id"] as? String)
      let path = "/v1/avatars/\(avatar)"
      #expect(try await server.send("GET", path + "/picture", headers: bob).status == 404)
      #expect(try await server.send("DELETE", path, headers: bob).status == 404)
      let using = Array(#"{"avatar": "\#(avatar)"}"#.utf8)
      #expect(try await server.send("POST", "/v1/sessions", using, headers: bob).status == 404)
      #expect(try await server.send("GET", "/v1/avatars", headers: bob).text.contains(avatar) == false)
      #expect(try await server.send("GET", "/v1/avatars", headers: ada).text.contains(avatar))
      let form = RunningServer.form([("avatar", nil, Array(avatar.utf8)), ("text", nil, Array("Hello.".utf8))])
      #expect(try await server.send("POST", "/v1/videos", form.body, type: form.type, headers: bob).status == 404)
      let job = try await server.send("POST", "/v1/videos", form.body, type: form.type, headers: ada)
      let video = try #require(try job.json()["id"] as? String)
      for suffix in ["", "/content"] {
        #expect(try await server.send("GET", "/v1/videos/\(video)\(suffix)", headers: bob).status == 404)
      }
      #expect(try await server.send("GET", "/v1/videos", headers: bob).text.contains(video) == false)
      #expect(try await server.send("DELETE", "/v1/videos/\(video)", headers: bob).status == 404)
      #expect(try await server.send("GET", "/v1/videos/\(video)", headers: ada).status == 200)
      #expect(try await server.send("DELETE", "/v1/videos/\(video)", headers: ada).status == 200)
      #expect(try await server.send("DELETE", path, headers: ada).status == 204)
    }
  }

  @Test func tokenForOneSessionOpensNothingElse() async throws {
    try await with { server, examples in
      let id = try await server.session()
      let other = try await server.session()
      let guest = bearer(try examples.token(["sub": "guest", "livetalk": ["session": id]]))
      #expect(try await server.send("GET", "/v1/sessions/\(id)", headers: guest).status == 200)
      #expect(try await server.send("POST", "/v1/sessions/\(id)/interrupt", headers: guest).status == 202)
      for (method, path) in [
        ("POST", "/v1/sessions"), ("GET", "/v1/sessions"), ("GET", "/v1/sessions/\(other)"), ("GET", "/v1/avatars"),
        ("GET", "/v1/sessions/\(id)x"), ("POST", "/v1/videos"), ("GET", "/metrics"), ("GET", "//v1/avatars"),
      ] {
        let reply = try await server.send(method, path, headers: guest)
        #expect(reply.status == 403 && reply.code == "forbidden", "\(method) \(path) answers \(reply.status)")
      }
      #expect(try await server.send("GET", "/openapi.json", headers: guest).status == 200)
    }
  }
}

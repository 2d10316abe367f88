import Foundation
import Media
import MockEngine
import Testing

@testable import Server

@Suite(.serialized) struct VideoTests {
  /// Waits until a job has a status.
  static func wait(_ server: RunningServer, _ id: String, _ status: String, seconds: Double = 20) async throws
    -> [String: Any]
  {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while true {
      let job = try await server.send("GET", "/v1/videos/\(id)").json()
      if job["status"] as? String == status || ContinuousClock.now > deadline {
        #expect(job["status"] as? String == status, "\(job)")
        return job
      }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  static func create(_ server: RunningServer, _ parts: [(String, String?, [UInt8])]) async throws -> Reply {
    let form = RunningServer.form(parts)
    return try await server.send("POST", "/v1/videos", form.body, type: form.type)
  }

  @Test func pictureAndRecordingBecomeAnMP4() async throws {
    try await RunningServer.with { server in
      let wav = server.folder.appendingPathComponent("voice.wav").path
      // A sixth of a picture longer than 24 pictures.
      try Sound(samples: (0..<36_240).map { 0.2 * Float($0 % 100) / 100 }, sampleRate: 24_000).writeWAV(to: wav)
      let voice = try [UInt8](Data(contentsOf: URL(fileURLWithPath: wav)))
      let reply = try await Self.create(
        server,
        [
          ("image", "a.jpg", try RunningServer.picture().jpeg()), ("audio", "a.wav", voice),
          ("prompt", nil, Array("A woman sings.".utf8)), ("seed", nil, Array("7".utf8)),
        ])
      #expect(reply.status == 202, "\(reply.text)")
      let job = try reply.json()
      let id = try #require(job["id"] as? String)
      #expect(job["object"] as? String == "video" && job["seconds"] as? String == "1.51" && job["seed"] as? Int == 7)
      let done = try await Self.wait(server, id, "completed")
      #expect(done["progress"] as? Int == 100 && done["completed_at"] != nil)
      let content = try await server.send("GET", "/v1/videos/\(id)/content")
      #expect(content.status == 200 && content.headers["content-type"] == "video/mp4")
      let file = server.folder.appendingPathComponent("got.mp4")
      try Data(content.body).write(to: file)
      let reader = try VideoReader(path: file.path)
      var frames = 0
      while try reader.next() != nil { frames += 1 }
      #expect(frames == 24)
      #expect(abs(try Sound(contentsOf: file.path).seconds - 1.5) < 0.05)
      let list = try await server.send("GET", "/v1/videos?limit=5").json()["data"] as? [Any]
      #expect(list?.count == 1)
      #expect(try await server.send("DELETE", "/v1/videos/\(id)").json()["deleted"] as? Bool == true)
      #expect(try await server.send("GET", "/v1/videos/\(id)/content").status == 404)
      let left = try FileManager.default.contentsOfDirectory(
        atPath: server.folder.appendingPathComponent("videos").path)
      #expect(left.isEmpty)
      #expect(server.engine.openSessions == 0)
    }
  }

  @Test func textIsReadAloudForAnAvatar() async throws {
    try await RunningServer.with { server in
      let reply = try await Self.create(
        server, [("avatar", nil, Array("ada".utf8)), ("text", nil, Array("Hello you".utf8))])
      let job = try await Self.wait(server, try #require(try reply.json()["id"] as? String), "completed")
      #expect(job["prompt"] as? String == "A woman nods." && job["seconds"] as? String == "0.9")
    }
  }

  @Test func runningJobIsCancelledByDeletingIt() async throws {
    var faults = MockEngine.Faults()
    faults.blockSeconds = 0.2
    try await RunningServer.with(faults: faults) { server in
      let words = Array(String(repeating: "word ", count: 10).utf8)
      let reply = try await Self.create(server, [("avatar", nil, Array("ada".utf8)), ("text", nil, words)])
      let id = try #require(try reply.json()["id"] as? String)
      _ = try await Self.wait(server, id, "in_progress")
      #expect(try await server.send("GET", "/v1/videos/\(id)/content").code == "conflict")
      #expect(try await server.send("DELETE", "/v1/videos/\(id)").status == 200)
      try await Task.sleep(for: .seconds(1))
      #expect(server.engine.openSessions == 0)
      #expect(try await server.send("GET", "/v1/videos/\(id)").status == 404)
    }
  }

  @Test func jobsSurviveARestart() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("livetalk-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let ids = folder.appendingPathComponent("ids")
    var faults = MockEngine.Faults()
    faults.blockSeconds = 0.3
    try await RunningServer.with(faults: faults, folder: folder) { server in
      var made: [String] = []
      for _ in 0..<2 {
        let words = Array(String(repeating: "word ", count: 10).utf8)
        let reply = try await Self.create(server, [("avatar", nil, Array("ada".utf8)), ("text", nil, words)])
        made.append(try #require(try reply.json()["id"] as? String))
      }
      _ = try await Self.wait(server, made[0], "in_progress")
      try Data(made.joined(separator: "\n").utf8).write(to: ids)
    }
    // Something that is no job of ours lies beside them.
    try Data("{}".utf8).write(to: folder.appendingPathComponent("videos/other.json"))
    try await RunningServer.with(folder: folder) { server in
      for id in try String(contentsOf: ids, encoding: .utf8).split(separator: "\n") {
        _ = try await Self.wait(server, String(id), "completed")
      }
    }
  }

  @Test func failedJobSaysWhyAndOthersGoOn() async throws {
    var faults = MockEngine.Faults()
    faults.failsOnSpeech = true
    try await RunningServer.with(faults: faults) { server in
      let reply = try await Self.create(server, [("avatar", nil, Array("ada".utf8)), ("text", nil, Array("Hi".utf8))])
      let job = try await Self.wait(server, try #require(try reply.json()["id"] as? String), "failed")
      #expect((job["error"] as? [String: Any])?["code"] as? String == "engine_failed")
    }
  }

  @Test func formsThatLackSomethingAreRefused() async throws {
    try await RunningServer.with { server in
      let (ada, hello) = (("avatar", nil as String?, Array("ada".utf8)), ("text", nil as String?, Array("Hello".utf8)))
      let cases: [([(String, String?, [UInt8])], String)] = [
        ([ada], "bad_request"), ([hello], "bad_request"), ([("avatar", nil, Array("eve".utf8)), hello], "not_found"),
        ([ada, ("audio", "a.wav", Array("no sound".utf8))], "invalid_sound"),
        ([("image", "a.png", Array("no picture".utf8)), hello], "invalid_picture"),
        ([ada, hello, ("seed", nil, Array("many".utf8))], "bad_request"),
        ([ada, hello, ("prompt", nil, Array(String(repeating: "x", count: 1_001).utf8))], "too_large"),
      ]
      for (parts, code) in cases {
        let reply = try await Self.create(server, parts)
        #expect(reply.code == code && (400..<500).contains(reply.status), "\(reply.text)")
        #expect(!reply.text.contains("/tmp"))
      }
      #expect(try await server.send("POST", "/v1/videos", json: "{}").status == 415)
      #expect(try await server.send("GET", "/v1/videos?limit=0").status == 400)
    }
  }
}

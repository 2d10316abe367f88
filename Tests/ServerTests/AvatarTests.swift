import Basics
import Foundation
import Media
import Testing

@testable import Server

@Suite(.serialized) struct AvatarTests {
  @Test func folderIsListedWithDirectionsAndPictures() async throws {
    try await RunningServer.with { server in
      let list = try await server.send("GET", "/v1/avatars").json()["data"] as? [[String: Any]]
      let ada = try #require(list?.first)
      #expect(ada["id"] as? String == "ada" && ada["name"] as? String == "Ada")
      #expect(ada["prompt"] as? String == "A woman nods." && ada["width"] as? Int == 80)
      let picture = try await server.send("GET", "/v1/avatars/ada/picture")
      #expect(try Picture(decoding: picture.body, name: "ada").height == 64)
      #expect(try await server.send("DELETE", "/v1/avatars/ada").status == 409)
    }
  }

  @Test func uploadIsMadeAnewUsedAndDeleted() async throws {
    try await RunningServer.with { server in
      // Something behind the picture, such as its place in EXIF, must not come back.
      let file = try RunningServer.picture().jpeg() + Array("the owner's secret".utf8)
      let form = RunningServer.form([("image", "me.jpg", file), ("name", nil, Array("Me\r\n<b>".utf8))])
      let reply = try await server.send("POST", "/v1/avatars", form.body, type: form.type)
      #expect(reply.status == 201, "\(reply.text)")
      let id = try #require(try reply.json()["id"] as? String)
      #expect(try reply.json()["name"] as? String == "Me<b>")
      let back = try await server.send("GET", "/v1/avatars/\(id)/picture")
      #expect(back.status == 200 && !back.text.contains("secret"))
      let session = try await server.send("POST", "/v1/sessions", json: #"{"avatar": "\#(id)"}"#)
      #expect(session.status == 201)
      #expect(try await server.send("DELETE", "/v1/avatars/\(id)").status == 204)
      #expect(try await server.send("GET", "/v1/avatars/\(id)/picture").status == 404)
      let plain = try await server.send("POST", "/v1/avatars", try RunningServer.picture().jpeg(), type: "image/jpeg")
      #expect(plain.status == 201)
    }
  }

  @Test func whatIsNoPictureIsRefused() async throws {
    try await RunningServer.with(change: {
      $0.limits.pictureBytes = 50_000; $0.limits.picturePixels = 100_000
    }) { server in
      let jpeg = try RunningServer.picture().jpeg()
      let large = try Picture(width: 400, height: 300, bytes: Array(repeating: 9, count: 360_000)).jpeg()
      let narrow = try Picture(width: 400, height: 64, bytes: Array(repeating: 9, count: 76_800)).jpeg()
      let cases: [([UInt8], String, Int, String)] = [
        ([], "image/jpeg", 400, "invalid_picture"), (Array("GIF89a".utf8), "image/png", 400, "invalid_picture"),
        (Array(jpeg.prefix(jpeg.count / 2)), "image/jpeg", 400, "invalid_picture"),
        (large, "image/jpeg", 400, "invalid_picture"), (narrow, "image/jpeg", 400, "invalid_picture"),
        (Array(repeating: 0, count: 200_000), "image/jpeg", 413, "too_large"),
        (jpeg, "text/plain", 415, "unsupported_media_type"), (jpeg, "multipart/form-data", 400, "bad_request"),
        (jpeg, "multipart/form-data; boundary=XX", 400, "bad_request"),
      ]
      for (body, type, status, code) in cases {
        let reply = try await server.send("POST", "/v1/avatars", body, type: type)
        #expect(reply.status == status && reply.code == code, "\(type), \(body.count) bytes: \(reply.text)")
      }
    }
  }

  @Test func pictureOfOneColourIsRefusedInASentence() async throws {
    let flat = Picture(width: 80, height: 80, bytes: Array(repeating: 90, count: 19_200))
    try await RunningServer.with { server in
      let reply = try await server.send("POST", "/v1/avatars", try flat.jpeg(), type: "image/jpeg")
      #expect(
        reply.status == 400 && reply.code == "invalid_picture" && reply.text.contains("has one colour everywhere"))
      let damaged = try await server.send("POST", "/v1/avatars", Array("no picture".utf8), type: "image/jpeg")
      let message = (try damaged.json()["error"] as? [String: String])?["message"] ?? ""
      #expect(message.hasSuffix(".") && !message.contains("Error"), "\(message)")
    }
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("livetalk-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try Data(flat.jpeg()).write(to: folder.appendingPathComponent("grey.jpg"))
    #expect(throws: LiveServerSettingsError.self) { try AvatarStore(folder: folder) }
  }

  @Test func oldestUploadGoesWhenTooManyCome() throws {
    var limits = ServerLimits()
    limits.uploads = 2
    let store = try AvatarStore(folder: nil, limits: limits)
    let file = try RunningServer.picture().jpeg()
    let ids = try (0..<3).map { _ in try store.add(file, name: nil, caller: .administrator).id }
    #expect(store.all(for: .administrator).map(\.id) == Array(ids.dropFirst()))
  }

  @Test func reducedPictureKeepsItsMeanAndShape() {
    // Channels of 0, 40 and 80, every other row brighter by 20.
    let bytes = (0..<180_000).map { (index: Int) -> UInt8 in
      let (channel, row) = (index % 3, index / 900)
      return UInt8(channel * 40 + row % 2 * 20)
    }
    let picture = Picture(width: 300, height: 200, bytes: bytes)
    let small = picture.reduced(to: 30)
    #expect(small.width == 30 && small.height == 20)
    #expect(Array(small.bytes.prefix(3)) == [10, 50, 90])
    #expect(picture.reduced(to: 300) == picture)
  }
}

import Basics
import Foundation
import HTTPTypes
import Hummingbird
import Media
import NIOCore
import Session

/// Videos that are made in the background, in the shape of vLLM-Omni's `/v1/videos`.
struct VideoRoutes: Sendable {
  let queue: VideoQueue
  let maker: VideoMaker
  let avatars: AvatarStore
  let limits: ServerLimits

  private static let longestSeconds = 600.0
  private static let pieceBytes = 65_536

  var all: [Route] {
    [
      Route(.post, "/v1/videos") { request, context in
        .json(try await create(request, context.caller), status: .accepted)
      },
      Route(.get, "/v1/videos") { request, context in try await list(request, context.caller) },
      Route(.get, "/v1/videos/{id}") { _, context in .json(try await job(context)) },
      Route(.get, "/v1/videos/{id}/content") { _, context in try await content(try await job(context).id) },
      Route(.delete, "/v1/videos/{id}") { _, context in
        let job = try await job(context)
        try await queue.remove(job.id)
        return .json(Deleted(id: job.id))
      },
    ]
  }

  private struct Deleted: Encodable {
    var id: String
    var object = "video.deleted"
    var deleted = true
  }

  private func job(_ context: LiveContext) async throws -> VideoJob {
    try await queue.job(context.parameters.get("id") ?? "", for: context.caller)
  }

  private func create(_ request: Request, _ caller: Caller) async throws -> VideoJob {
    guard let type = request.headers[.contentType], type.lowercased().hasPrefix("multipart/form-data") else {
      throw APIError(
        .unsupportedMediaType,
        "Send a form (multipart/form-data) with 'image' or 'avatar', 'audio' or 'text', and 'prompt'.")
    }
    let form = try Multipart(
      try await request.bytes(limits.soundBytes + limits.pictureBytes + 65_536), contentType: type)
    let prompt = form.text("prompt")
    if let prompt { try TextLimit.prompt.check(prompt) }
    var seed: UInt64 = 0
    if let text = form.text("seed") {
      guard let number = UInt64(text) else { throw APIError(.badRequest, "The field 'seed' is a whole number.") }
      seed = number
    }
    let (picture, usual) = try picture(form, caller)
    let sound = try await sound(form)
    guard sound.seconds <= Self.longestSeconds else {
      throw APIError(.tooLarge, "The sound is longer than \(Int(Self.longestSeconds / 60)) minutes.")
    }
    return try await queue.add(picture, sound, prompt: prompt ?? usual, seed: seed, owner: caller.user)
  }

  private func picture(_ form: Multipart, _ caller: Caller) throws(APIError) -> (Picture, prompt: String) {
    // vLLM-Omni calls the picture `input_reference`.
    if let image = form["image"] ?? form["input_reference"] {
      return (try AvatarStore.uploaded(Array(image.body), limits), AvatarStore.usualPrompt)
    }
    guard let name = form.text("avatar") else {
      throw APIError(.badRequest, "The form needs a picture as 'image', or the name of an 'avatar'.")
    }
    guard let avatar = avatars.avatar(name, for: caller), let picture = try? avatars.picture(name) else {
      throw APIError(.notFound, "There is no avatar '\(name.prefix(60))': GET /v1/avatars lists them.")
    }
    return (picture, avatar.prompt)
  }

  private func sound(_ form: Multipart) async throws -> Sound {
    if let audio = form["audio"] {
      guard audio.body.count <= limits.soundBytes else {
        throw APIError(.tooLarge, "A recording has at most \(limits.soundBytes >> 20) MiB.")
      }
      // FFmpeg reads files; this one has a name of ours and is gone before the answer.
      let file = FileManager.default.temporaryDirectory.appendingPathComponent("livetalk-\(Identifier.make()).sound")
      defer { try? FileManager.default.removeItem(at: file) }
      try Data(audio.body).write(to: file)
      do {
        return try Sound(
          contentsOf: file.path, sampleRate: maker.engine.information.sampleRate, maximumSeconds: Self.longestSeconds)
      } catch let error as LiveTalkError {
        throw APIError(.invalidSound, error.description.replacing(file.path, with: "'audio'"))
      }
    }
    guard let text = form.text("text"), text.contains(where: { !$0.isWhitespace }) else {
      throw APIError(.badRequest, "The form needs a recording as 'audio', or a 'text' to be read aloud.")
    }
    try TextLimit.text.check(text)
    do { return try await maker.sound(of: text) } catch let error as SessionError {
      throw APIError(.internalError, error.message)
    }
  }

  private func list(_ request: Request, _ caller: Caller) async throws -> Response {
    let query = request.uri.queryParameters
    var jobs = await queue.all.filter { caller.mayUse(ownedBy: $0.owner) }
    if query["order"].map(String.init) != "asc" { jobs.reverse() }
    if let after = query["after"].map(String.init), let index = jobs.firstIndex(where: { $0.id == after }) {
      jobs = Array(jobs[(index + 1)...])
    }
    if let text = query["limit"].map(String.init) {
      guard let limit = Int(text), (1...100).contains(limit) else {
        throw APIError(.badRequest, "The limit is a number from 1 to 100.")
      }
      jobs = Array(jobs.prefix(limit))
    }
    return .json(SessionRoutes.List(data: jobs))
  }

  private func content(_ id: String) async throws -> Response {
    let url = try await queue.content(id)
    guard let handle = try? FileHandle(forReadingFrom: url), let length = try? handle.seekToEnd() else {
      throw APIError(.internalError, "The video's file is gone.")
    }
    try handle.seek(toOffset: 0)
    return Response(
      status: .ok,
      headers: [
        .contentType: "video/mp4", .contentDisposition: "attachment; filename=\"\(id).mp4\"", .cacheControl: "private",
      ],
      body: .init(contentLength: Int(length)) { writer in
        while let piece = try handle.read(upToCount: Self.pieceBytes), !piece.isEmpty {
          try await writer.write(ByteBuffer(bytes: piece))
        }
        try handle.close()
        try await writer.finish(nil)
      })
  }
}

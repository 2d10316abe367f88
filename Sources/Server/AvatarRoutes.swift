import HTTPTypes
import Hummingbird
import NIOCore

/// The people one can talk to, and pictures of others.
struct AvatarRoutes: Sendable {
  let avatars: AvatarStore
  let limits: ServerLimits

  var all: [Route] {
    [
      Route(.get, "/v1/avatars") { _, context in
        .json(SessionRoutes.List(data: avatars.all(for: context.caller)))
      },
      Route(.post, "/v1/avatars") { request, context in
        let (file, name) = try await upload(request)
        return .json(try avatars.add(file, name: name, caller: context.caller), status: .created)
      },
      Route(.get, "/v1/avatars/{id}/picture") { _, context in
        guard let file = avatars.file(context.parameters.get("id") ?? "", for: context.caller) else {
          throw Self.unknown
        }
        return Response(
          status: .ok, headers: [.contentType: "image/jpeg", .cacheControl: "private, max-age=3600"],
          body: .init(byteBuffer: ByteBuffer(bytes: file)))
      },
      Route(.delete, "/v1/avatars/{id}") { _, context in
        let id = context.parameters.get("id") ?? ""
        guard let avatar = avatars.avatar(id, for: context.caller) else { throw Self.unknown }
        guard avatar.kind == .upload else { throw APIError(.conflict, "Only uploaded avatars can be deleted.") }
        guard avatars.removeUpload(id) else { throw Self.unknown }
        return Response(status: .noContent)
      },
    ]
  }

  private static let unknown = APIError(.notFound, "There is no such avatar: GET /v1/avatars lists them.")

  /// The picture of a request: the part `image` of a form, or the whole body.
  private func upload(_ request: Request) async throws -> (file: [UInt8], name: String?) {
    let type = request.headers[.contentType]?.lowercased() ?? ""
    // A form is a little larger than what it holds.
    let bytes: [UInt8]
    do { bytes = try await request.bytes(limits.pictureBytes + 65_536) } catch let error as APIError
      where error.code == .tooLarge
    { throw AvatarStore.tooLarge(limits) }
    if type.hasPrefix("multipart/form-data") {
      let form = try Multipart(bytes, contentType: request.headers[.contentType] ?? "")
      guard let image = form["image"] else {
        throw APIError(.badRequest, "The form has no part 'image' with the picture.")
      }
      return (Array(image.body), form.text("name"))
    }
    guard type.hasPrefix("image/") || type.hasPrefix("application/octet-stream") else {
      throw APIError(.unsupportedMediaType, "Send the picture as image/jpeg, image/png or image/webp, or as a form.")
    }
    return (bytes, nil)
  }
}

import Foundation
import Hummingbird
import NIOCore

/// The page and the document of the API: built into the program, or read from a folder while one works on them.
struct WebPage: Sendable {
  private struct File {
    var name: String
    var type: String
    var bytes: [UInt8]
  }

  private static let files: [String: File] = [
    "/": File(name: "index.html", type: "text/html; charset=utf-8", bytes: PackageResources.index_html),
    "/app.css": File(name: "app.css", type: "text/css; charset=utf-8", bytes: PackageResources.app_css),
    "/app.js": File(name: "app.js", type: "text/javascript; charset=utf-8", bytes: PackageResources.app_js),
    "/captions.js": File(
      name: "captions.js", type: "text/javascript; charset=utf-8", bytes: PackageResources.captions_js),
    "/stream.js": File(name: "stream.js", type: "text/javascript; charset=utf-8", bytes: PackageResources.stream_js),
    "/webrtc.js": File(name: "webrtc.js", type: "text/javascript; charset=utf-8", bytes: PackageResources.webrtc_js),
    "/player-worklet.js": File(
      name: "player-worklet.js", type: "text/javascript; charset=utf-8", bytes: PackageResources.player_worklet_js),
    "/microphone-worklet.js": File(
      name: "microphone-worklet.js", type: "text/javascript; charset=utf-8",
      bytes: PackageResources.microphone_worklet_js),
    "/openapi.json": File(
      name: "openapi.json", type: "application/json; charset=utf-8", bytes: PackageResources.openapi_json),
  ]

  /// The paths that hold nothing of anybody's and need no token.
  static let names: Set<String> = Set(files.keys)
  static let openAPI = PackageResources.openapi_json

  /// A folder to read the files from; their names are those above, whatever a request says.
  let folder: String?

  func response(_ path: String) -> Response? {
    guard let file = Self.files[path] else { return nil }
    let bytes =
      folder.flatMap { try? [UInt8](Data(contentsOf: URL(fileURLWithPath: "\($0)/\(file.name)"))) } ?? file.bytes
    return Response(
      status: .ok,
      headers: [
        .contentType: file.type, .cacheControl: "no-cache",
        // The page runs its own files only, and speaks to this server only.
        .contentSecurityPolicy:
          "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
          + "media-src 'self' blob:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      ],
      body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
  }
}

package import Basics
package import Foundation
import Media
import Session
import Synchronization

/// The people whom a conversation can be had with: those of a folder, and pictures that clients have left here.
///
/// Requests name an avatar by its id, which is looked up here; no part of a request becomes a path.
package final class AvatarStore: Sendable {
  package struct Avatar: Sendable, Encodable {
    package enum Kind: String, Sendable, Encodable { case bundled, upload }

    package let id: String
    package let name: String
    package let kind: Kind
    /// The direction that suits the picture.
    package let prompt: String
    package let width: Int
    package let height: Int

    private enum Key: String, CodingKey { case id, object, name, kind, prompt, width, height, picture }

    package func encode(to encoder: any Encoder) throws {
      var fields = encoder.container(keyedBy: Key.self)
      try fields.encode(id, forKey: .id)
      try fields.encode("avatar", forKey: .object)
      try fields.encode(name, forKey: .name)
      try fields.encode(kind, forKey: .kind)
      try fields.encode(prompt, forKey: .prompt)
      try fields.encode(width, forKey: .width)
      try fields.encode(height, forKey: .height)
      try fields.encode("/v1/avatars/\(id)/picture", forKey: .picture)
    }
  }

  private struct Entry {
    var avatar: Avatar
    /// The user of a signed token that has left it here.
    var owner: String?
    /// JPEG: pictures in memory would be many times as large.
    var file: [UInt8]
  }

  package static let usualPrompt = "A person with a friendly face looks into the camera and speaks calmly."
  private static let pictureEndings: Set<String> = ["png", "jpg", "jpeg", "webp"]
  /// The longest side that is kept of an upload: more than any engine makes.
  private static let longestSide = 1_024

  private let limits: ServerLimits
  private let bundled: [Entry]
  private let uploads = Mutex<[Entry]>([])

  /// - Parameter folder: pictures, each with its direction in a text file of the same name beside it, if it has one.
  /// - Throws: `LiveTalkError` for a picture that cannot be read, `LiveServerSettingsError` for a folder without any.
  package init(folder: URL?, limits: ServerLimits = ServerLimits()) throws {
    self.limits = limits
    guard let folder else {
      bundled = []
      return
    }
    let files = (try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)) ?? []
    let pictures = files.filter { Self.pictureEndings.contains($0.pathExtension.lowercased()) }
    guard !pictures.isEmpty else {
      throw LiveServerSettingsError(
        "The folder \(folder.path) has no avatars: it should hold PNG, JPEG or WebP pictures.")
    }
    bundled = try pictures.sorted { $0.lastPathComponent < $1.lastPathComponent }.map { url in
      let name = url.deletingPathExtension().lastPathComponent
      let picture = try Picture(contentsOf: url.path)
      guard !picture.hasOneColour else {
        throw LiveServerSettingsError("The picture \(url.path) has one colour everywhere; give one of a face.")
      }
      let prompt = try? String(contentsOf: url.deletingPathExtension().appendingPathExtension("txt"), encoding: .utf8)
      return try Self.entry(
        picture, id: Self.identifier(name), name: name.prefix(1).uppercased() + name.dropFirst(),
        kind: .bundled, prompt: prompt?.trimmingCharacters(in: .whitespacesAndNewlines))
    }
  }

  /// Those that a caller may use: the folder's and its own.
  func all(for caller: Caller) -> [Avatar] {
    (bundled + uploads.withLock { $0.filter { caller.mayUse(ownedBy: $0.owner) } }).map(\.avatar)
  }

  func avatar(_ id: String, for caller: Caller) -> Avatar? { entry(id, for: caller)?.avatar }

  /// The picture as a JPEG file.
  func file(_ id: String, for caller: Caller) -> [UInt8]? { entry(id, for: caller)?.file }

  /// The picture of an avatar, for the engine; nil where there is none of that name.
  package func picture(_ id: String) throws -> Picture? {
    guard let entry = entry(id) else { return nil }
    return try Picture(decoding: entry.file, name: id)
  }

  static func tooLarge(_ limits: ServerLimits) -> APIError {
    APIError(.tooLarge, "A picture has at most \(limits.pictureBytes >> 20) MiB.")
  }

  /// A client's picture: decoded, turned upright and made smaller.
  ///
  /// - Throws: `APIError`.
  static func uploaded(_ file: [UInt8], _ limits: ServerLimits) throws(APIError) -> Picture {
    guard file.count <= limits.pictureBytes else {
      throw tooLarge(limits)
    }
    let picture: Picture
    do { picture = try Picture(decoding: file, name: "that was sent", mostPixels: limits.picturePixels) } catch {
      throw APIError(.invalidPicture, userSentence(error))
    }
    let (short, long) = (min(picture.width, picture.height), max(picture.width, picture.height))
    guard short >= 64, long <= 4 * short else {
      throw APIError(
        .invalidPicture,
        "The picture is \(picture.width) × \(picture.height) pixels: it needs 64 a side, and no side four times the other."
      )
    }
    guard !picture.hasOneColour else {
      throw APIError(.invalidPicture, "The picture has one colour everywhere; give one of a face.")
    }
    return picture.reduced(to: longestSide)
  }

  /// Takes in a picture, encoded anew, so that nothing of the file remains.
  ///
  /// - Throws: `APIError`.
  func add(_ file: [UInt8], name: String?, caller: Caller) throws(APIError) -> Avatar {
    let picture = try Self.uploaded(file, limits)
    // The name is shown, never used.
    let shown = name.map { String($0.filter { !$0.isNewline }.prefix(40)) }.flatMap { $0.isEmpty ? nil : $0 }
    var entry: Entry
    do {
      entry = try Self.entry(
        picture, id: "upload-\(Identifier.make())", name: shown ?? "Your picture", kind: .upload, prompt: nil)
    } catch {
      throw APIError(.invalidPicture, userSentence(error))
    }
    entry.owner = caller.user
    uploads.withLock { uploads in
      uploads.append(entry)
      if uploads.count > limits.uploads { uploads.removeFirst() }
    }
    return entry.avatar
  }

  /// - Returns: whether there was such an upload.
  func removeUpload(_ id: String) -> Bool {
    uploads.withLock { uploads in
      let count = uploads.count
      uploads.removeAll { $0.avatar.id == id }
      return uploads.count < count
    }
  }

  private func entry(_ id: String, for caller: Caller) -> Entry? {
    entry(id).flatMap { $0.avatar.kind == .bundled || caller.mayUse(ownedBy: $0.owner) ? $0 : nil }
  }

  private func entry(_ id: String) -> Entry? {
    bundled.first { $0.avatar.id == id } ?? uploads.withLock { $0.first { $0.avatar.id == id } }
  }

  private static func entry(_ picture: Picture, id: String, name: String, kind: Avatar.Kind, prompt: String?) throws
    -> Entry
  {
    Entry(
      avatar: Avatar(
        id: id, name: name, kind: kind, prompt: prompt ?? usualPrompt, width: picture.width, height: picture.height),
      file: try picture.jpeg(quality: 95))
  }

  /// A file's name as an id: what would need escaping in a URL becomes a dash.
  private static func identifier(_ name: String) -> String {
    String(name.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") ? $0 : "-" })
  }
}

extension Picture {
  /// The picture with its longer side brought to at most `side` pixels, each the mean of those it replaces.
  func reduced(to side: Int) -> Picture {
    let long = max(width, height)
    guard long > side else { return self }
    let (newWidth, newHeight) = (max(1, width * side / long), max(1, height * side / long))
    var result = [UInt8](repeating: 0, count: newWidth * newHeight * 3)
    bytes.withUnsafeBufferPointer { source in
      for y in 0..<newHeight {
        let rows = (y * height / newHeight)..<max(y * height / newHeight + 1, (y + 1) * height / newHeight)
        for x in 0..<newWidth {
          let columns = (x * width / newWidth)..<max(x * width / newWidth + 1, (x + 1) * width / newWidth)
          var (red, green, blue) = (0, 0, 0)
          for row in rows {
            for column in columns {
              let place = (row * width + column) * 3
              red += Int(source[place])
              green += Int(source[place + 1])
              blue += Int(source[place + 2])
            }
          }
          let (count, place) = (rows.count * columns.count, (y * newWidth + x) * 3)
          result[place] = UInt8((red + count / 2) / count)
          result[place + 1] = UInt8((green + count / 2) / count)
          result[place + 2] = UInt8((blue + count / 2) / count)
        }
      }
    }
    return Picture(width: newWidth, height: newHeight, bytes: result)
  }
}

/// Names that nobody can guess: 128 random bits.
enum Identifier {
  static func make() -> String {
    var generator = SystemRandomNumberGenerator()
    return (0..<2).map { _ in
      let text = String(generator.next(), radix: 16)
      return String(repeating: "0", count: 16 - text.count) + text
    }.joined()
  }
}

import Basics
import Foundation

/// A video that is to be made, and what became of it. As JSON it has the shape that vLLM-Omni documents for `/v1/videos`.
package struct VideoJob: Sendable, Codable, Equatable {
  package enum Status: String, Sendable, Codable {
    case queued
    case inProgress = "in_progress"
    case completed, failed
  }

  package struct Fault: Sendable, Codable, Equatable {
    package var code, message: String
  }

  package var id: String
  package var object = "video"
  package var model: String
  package var status = Status.queued
  /// From 0 to 100.
  package var progress = 0
  /// Seconds since 1970.
  package var createdAt: Int
  package var completedAt: Int?
  package var prompt: String
  package var seed: UInt64
  /// As text, such as "4.5".
  package var seconds: String
  /// Such as "512x512": width by height.
  package var size: String
  package var error: Fault?
  /// The user of a signed token whose it is.
  package var owner: String?

  private enum CodingKeys: String, CodingKey {
    case id, object, model, status, progress, prompt, seed, seconds, size, error, owner
    case createdAt = "created_at"
    case completedAt = "completed_at"
  }
}

/// Where jobs lie: for each one `ID.json`, its picture `ID.jpg`, its sound `ID.wav`, and when done `ID.mp4`.
struct VideoFolder: Sendable {
  let folder: URL

  init(_ folder: URL) throws {
    self.folder = folder
    do { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) } catch {
      throw LiveServerSettingsError(
        "The folder \(folder.path) for videos cannot be made: \(userSentence(error))")
    }
  }

  /// - Parameter id: made here, or checked by `load` when it was read; never text of a request.
  func url(_ id: String, _ ending: String) -> URL { folder.appendingPathComponent("\(id).\(ending)") }

  func save(_ job: VideoJob) throws { try writeAtomically(Data(JSON.text(job).utf8), to: url(job.id, "json")) }

  func remove(_ id: String, _ endings: [String] = ["json", "jpg", "wav", "mp4"]) {
    for ending in endings { try? FileManager.default.removeItem(at: url(id, ending)) }
  }

  /// The jobs of earlier runs, the oldest first; files that are none of ours are passed over.
  func load() -> [VideoJob] {
    let files = (try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)) ?? []
    return files.filter { $0.pathExtension == "json" }.compactMap { file in
      guard let data = try? Data(contentsOf: file), let job = try? JSONDecoder().decode(VideoJob.self, from: data),
        job.id == file.deletingPathExtension().lastPathComponent
      else { return nil }
      return job
    }.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
  }
}

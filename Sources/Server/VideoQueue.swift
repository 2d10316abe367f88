import Basics
import Foundation
import Logging
import Media
import ServiceLifecycle
import Session

/// Makes videos one after the other. Jobs lie on the disk: those that a stop broke off are made when the server runs again.
package actor VideoQueue: Service {
  private let folder: VideoFolder
  private let maker: VideoMaker
  private let limits: ServerLimits
  private let logger: Logger
  /// The oldest first.
  private var jobs: [VideoJob]
  private var running: (id: String, task: Task<Void, Never>)?
  private var news: AsyncStream<Void>.Continuation?

  /// - Parameter folder: of the server's own; made if it is not there.
  init(folder: URL, maker: VideoMaker, limits: ServerLimits, logger: Logger) throws {
    self.folder = try VideoFolder(folder)
    (self.maker, self.limits, self.logger) = (maker, limits, logger)
    jobs = self.folder.load()
    for index in jobs.indices where jobs[index].status == .inProgress {
      jobs[index].status = .queued
      jobs[index].progress = 0
    }
  }

  package var all: [VideoJob] { jobs }

  func job(_ id: String, for caller: Caller = .administrator) throws -> VideoJob {
    guard let job = jobs.first(where: { $0.id == id && caller.mayUse(ownedBy: $0.owner) }) else {
      throw APIError(.notFound, "There is no such video: it may have been deleted, or been the oldest of too many.")
    }
    return job
  }

  /// - Throws: `APIError` where the queue is full or the disk is.
  func add(_ picture: Picture, _ sound: Sound, prompt: String, seed: UInt64, owner: String?) throws -> VideoJob {
    guard jobs.count(where: { $0.status == .queued }) < limits.queuedJobs else {
      throw APIError(.full, "\(limits.queuedJobs) videos wait already.", retryAfter: 30)
    }
    let size = size(for: picture)
    let job = VideoJob(
      id: "video_\(Identifier.make())", model: maker.engine.information.model,
      createdAt: Int(Date().timeIntervalSince1970),
      prompt: prompt, seed: seed, seconds: "\((sound.seconds * 100).rounded() / 100)",
      size: "\(size.width)x\(size.height)", owner: owner)
    do {
      try Data(picture.jpeg(quality: 95)).write(to: folder.url(job.id, "jpg"))
      try sound.writeWAV(to: folder.url(job.id, "wav").path)
      try folder.save(job)
    } catch {
      folder.remove(job.id)
      logger.error("A job cannot be kept: \(error)")
      throw APIError(.internalError, "The job cannot be kept on the server's disk.")
    }
    jobs.append(job)
    forgetOldest()
    news?.yield()
    return job
  }

  /// The finished video's file. - Throws: `APIError`.
  func content(_ id: String) throws -> URL {
    let job = try job(id)
    guard job.status == .completed else {
      throw APIError(
        .conflict, "The video is \(job.status.rawValue.replacing("_", with: " ")): it has no content.", retryAfter: 2)
    }
    return folder.url(id, "mp4")
  }

  /// Takes the job away, and stops it if it is running.
  func remove(_ id: String) throws {
    _ = try job(id)
    if running?.id == id { running?.task.cancel() }
    jobs.removeAll { $0.id == id }
    folder.remove(id)
  }

  package func run() async throws {
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    news = continuation
    continuation.yield()
    await withGracefulShutdownHandler {
      for await _ in stream {
        while let next = jobs.first(where: { $0.status == .queued }), !Task.isShuttingDownGracefully {
          await make(next)
        }
      }
    } onGracefulShutdown: {
      continuation.finish()
      Task { await self.stop() }
    }
  }

  private func stop() { running?.task.cancel() }

  private func make(_ job: VideoJob) async {
    update(job.id) { $0.status = .inProgress }
    let task = Task {
      do {
        let picture = try Picture(contentsOf: folder.url(job.id, "jpg").path)
        let sound = try Sound(
          contentsOf: folder.url(job.id, "wav").path, sampleRate: maker.engine.information.sampleRate)
        let request = AvatarRequest(
          picture: picture, prompt: job.prompt,
          seed: job.seed, size: size(for: picture))
        try await makeWhenFree(request, sound, job.id)
        finish(job.id, nil)
      } catch is CancellationError {
        // Deleted, or the server is being stopped: then the job waits for its next run.
        update(job.id) { ($0.status, $0.progress) = (.queued, 0) }
      } catch {
        finish(job.id, error)
      }
    }
    running = (job.id, task)
    await task.value
    running = nil
  }

  /// Live conversations go first: while they take all places, the job waits.
  private func makeWhenFree(_ request: AvatarRequest, _ sound: Sound, _ id: String) async throws {
    while true {
      do {
        return try await maker.make(request, sound, into: folder.url(id, "mp4")) { share in
          await self.update(id) { $0.progress = min(99, Int(share * 100)) }
        }
      } catch is AdmissionError {
        try await Task.sleep(for: .seconds(1))
      }
    }
  }

  private func finish(_ id: String, _ error: (any Error)?) {
    if let error { logger.warning("The video \(id) failed: \(error)") }
    update(id) { job in
      job.completedAt = Int(Date().timeIntervalSince1970)
      job.status = error == nil ? .completed : .failed
      if error == nil { job.progress = 100 }
      job.error = error.map { fault in
        let code = (fault as? SessionError)?.code.rawValue ?? "internal_error"
        // A path of this machine is nobody's business.
        return .init(code: code, message: (fault as? SessionError)?.message ?? "The video could not be made.")
      }
    }
    folder.remove(id, ["jpg", "wav"])
    // Deleted while its last block was made.
    if !jobs.contains(where: { $0.id == id }) { folder.remove(id) }
  }

  private func update(_ id: String, _ change: (inout VideoJob) -> Void) {
    guard let index = jobs.firstIndex(where: { $0.id == id }) else { return }
    let before = jobs[index]
    change(&jobs[index])
    // Progress is not worth a write.
    guard before.status != jobs[index].status else { return }
    do { try folder.save(jobs[index]) } catch { logger.error("The state of the video \(id) cannot be kept: \(error)") }
  }

  private func forgetOldest() {
    while jobs.count > limits.keptJobs, let old = jobs.first(where: { $0.status == .completed || $0.status == .failed })
    {
      jobs.removeAll { $0.id == old.id }
      folder.remove(old.id)
    }
  }

  /// The size of a picture's video: of the engine's the closest in shape.
  private func size(for picture: Picture) -> VideoSize {
    let shape = Double(picture.width) / Double(picture.height)
    return maker.engine.information.videoSizes.min { one, other in
      abs(log(Double(one.width) / Double(one.height) / shape))
        < abs(log(Double(other.width) / Double(other.height) / shape))
    } ?? VideoSize(width: picture.width, height: picture.height)
  }
}

import Basics
import Foundation

/// Writes frames as `frame_000000.png`, `frame_000001.png`, … into a directory, with `sound.wav` (16 bits, the rate
/// of the sound appended) in it. It is filled under a hidden name beside its place and renamed when whole. The
/// destination may exist only as an empty directory.
package final class FrameDirectoryWriter: VideoSink {
  private let destination: String
  private let folder: PartialFolder
  private var directory: String { folder.url.path }
  private let format: VideoFormat
  private let encoder: PNGEncoder
  private var sound: WAVFile?
  private var frameCount = 0
  private var isEnded = false

  package init(path: String, format: VideoFormat) throws {
    try format.check(path)
    var destination = URL(fileURLWithPath: path).path
    while destination.count > 1, destination.hasSuffix("/") { destination.removeLast() }
    destination = linkTarget(URL(fileURLWithPath: destination)).path
    var status = stat()
    if stat(destination, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFDIR else {
        throw LiveTalkError.unwritable(path, "a file of that name is in the way")
      }
      guard let content = try? FileManager.default.contentsOfDirectory(atPath: destination), content.isEmpty else {
        throw LiveTalkError.unwritable(path, "the directory is not empty")
      }
    }
    self.destination = destination
    self.format = format
    encoder = try PNGEncoder(width: format.width, height: format.height, comment: madeByAI)
    folder = try writingOutput(path) { try PartialFolder(URL(fileURLWithPath: destination)) }
    sound = nil
    if let rate = format.soundSampleRate {
      do { sound = try WAVFile("\(directory)/sound.wav", sampleRate: rate, comment: madeByAI) } catch {
        folder.discard()
        throw error
      }
    }
  }

  deinit { cancel() }

  package func append(frame: [UInt8]) throws {
    try step {
      try format.check(frame, destination)
      let number = String(frameCount)
      let name = "frame_\(String(repeating: "0", count: max(0, 6 - number.count)))\(number).png"
      let path = "\(directory)/\(name)"
      let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
      guard descriptor >= 0 else { throw LiveTalkError.unwritable(destination, systemReason()) }
      defer { close(descriptor) }
      let bytes = try encoder.encode(frame)
      try writingOutput(destination) {
        try bytes.withUnsafeBytes { try writeAll($0, to: descriptor, URL(fileURLWithPath: path)) }
      }
      frameCount += 1
    }
  }

  package func append(sound samples: [Float]) throws {
    try step {
      guard let sound else { throw LiveTalkError.unwritable(destination, "this video was begun without sound") }
      try named { try sound.append(samples) }
    }
  }

  package func finish() throws {
    try step {
      guard frameCount > 0 else { throw LiveTalkError.unwritable(destination, "no frame was written") }
      if let sound, let rate = format.soundSampleRate {
        let due = format.soundSamples(frames: frameCount, rate: rate)
        try named { try sound.finish(samples: due) }
      }
      try writingOutput(destination) { try folder.commit() }
      isEnded = true
    }
  }

  package func cancel() {
    guard !isEnded else { return }
    isEnded = true
    sound = nil
    folder.discard()
  }

  /// Any error ends the writer and removes what it wrote.
  private func step(_ body: () throws -> Void) throws {
    guard !isEnded else { throw LiveTalkError.unwritable(destination, "it was already ended") }
    do { try body() } catch {
      cancel()
      throw error
    }
  }

  /// The sound file lies under the hidden name; the sentence is to name the destination.
  private func named(_ body: () throws -> Void) throws {
    do { try body() } catch let error as LiveTalkError {
      throw LiveTalkError(error.description.replacingOccurrences(of: "\(directory)/sound.wav", with: destination))
    }
  }
}

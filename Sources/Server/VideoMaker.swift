import Basics
import Foundation
import Media
import Session

/// Makes a video from a picture, sound and a direction with a session of the engine: as live, but not held back to real time.
struct VideoMaker: Sendable {
  let engine: any AvatarEngine
  let voice: (any Voice)?
  /// Seconds of sound that are handed to the session at once.
  private static let piece = 1.0

  /// The sound of a text. - Throws: `APIError`, `SessionError`.
  func sound(of text: String) async throws -> Sound {
    guard let voice else { throw APIError(.notSupported, "This server has no voice: send the sound as 'audio'.") }
    var all = PCM([], rate: 0)
    for try await event in voice.speech(of: text) {
      guard case .sound(let piece) = event else { continue }
      if all.rate == 0 { all.rate = piece.rate }
      all.samples += piece.samples
    }
    guard !all.samples.isEmpty else { throw SessionError(.voiceFailed, "The voice said nothing.") }
    return Sound(samples: all.samples, sampleRate: all.rate)
  }

  /// - Parameters:
  ///   - file: written whole or not at all; as long as the sound to within half a picture.
  ///   - progress: the share that is done, after every block.
  /// - Throws: what the engine or the encoder says; `CancellationError` when cancelled.
  func make(
    _ request: AvatarRequest, _ sound: Sound, into file: URL, progress: @Sendable (Double) async -> Void
  ) async throws {
    let session = try await engine.open(request)
    do {
      try await generate(session, sound, file, progress)
    } catch {
      await session.close()
      throw error
    }
    await session.close()
  }

  private func generate(
    _ session: any EngineSession, _ sound: Sound, _ file: URL, _ progress: @Sendable (Double) async -> Void
  ) async throws {
    let information = engine.information
    let format = VideoFormat(
      width: session.size.width, height: session.size.height, framesPerSecond: information.framesPerSecond,
      soundSampleRate: information.sampleRate)
    let writer = try VideoWriter(path: file.path, format: format)
    defer { writer.cancel() }
    let utterance = UtteranceID(rawValue: 1)
    let step = max(1, Int(Self.piece * Double(sound.sampleRate)))
    for start in stride(from: 0, to: sound.samples.count, by: step) {
      let piece = Array(sound.samples[start..<min(start + step, sound.samples.count)])
      await session.append(PCM(piece, rate: sound.sampleRate), to: utterance)
    }
    await session.finish(utterance)
    let wanted = max(1, Int((sound.seconds * Double(information.framesPerSecond)).rounded()))
    var made = 0
    while made < wanted {
      try Task.checkCancellation()
      for frame in try await session.nextBlock().frames where made < wanted {
        // A picture that stands for several frames: the engine is slow, the video need not be.
        let count = max(1, Int((Double(frame.samples.count) / samplesPerFrame(information)).rounded()))
        for _ in 0..<min(count, wanted - made) { try writer.append(frame: frame.picture.bytes) }
        try writer.append(sound: frame.samples)
        made += count
      }
      await progress(min(1, Double(made) / Double(wanted)))
    }
    try writer.finish()
  }

  private func samplesPerFrame(_ information: EngineInformation) -> Double {
    Double(information.sampleRate) / Double(information.framesPerSecond)
  }
}

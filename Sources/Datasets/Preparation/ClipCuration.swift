import Basics
import ClipShards
import Foundation
import Generation
import Media
import Torch

/// A part of a clip, ready to be encoded.
struct ClipPiece: Sendable {
  let id: String
  /// Packed RGB8, `PreparationSettings.videoFrames` of them.
  let frames: [[UInt8]]
  /// As long as the frames.
  let samples: [Float]
  let metadata: ClipMetadata
  /// `[1, 3, 1, H, W]` in [-1, 1]; nil where none is wanted.
  let reference: Tensor?
  /// `FaceTruth` of the frames; nil where it is not known.
  let faces: Tensor?
}

/// What became of one line of the metadata.
struct CuratedClip: Sendable {
  var pieces: [ClipPiece] = []
  /// Ids, of the clip or its pieces, and why they cannot be used.
  var rejected: [(id: String, reason: String)] = []
  /// Seconds of the clip, and of what is left behind its last piece.
  var seconds = 0.0
  var restSeconds = 0.0
  /// What no other clip would fare better with, such as exhausted memory.
  var failure: TorchError?
}

/// Reads a clip, cuts it, and finds its conditions: the reference picture and the caption.
struct ClipCurator: Sendable {
  let settings: PreparationSettings
  /// Before every path of the dataset, which reasons do without.
  let root: URL

  func curate(_ source: ClipSource) -> CuratedClip {
    var result = CuratedClip()
    do {
      try withTorchErrors { try withInferenceMode { try curate(source, into: &result) } }
    } catch let error as TorchError {
      result.failure = error
    } catch {
      result.pieces = []
      result.rejected = [(source.id, reason(error))]
    }
    return result
  }

  private func reason(_ error: any Error) -> String {
    userSentence(error).replacingOccurrences(of: root.path + "/", with: "")
  }

  private func curate(_ source: ClipSource, into result: inout CuratedClip) throws {
    let truth = try source.truth.map { try ClipTruth(contentsOf: $0) }
    let size = settings.requirements.size
    let wantsReference = settings.kind != .media
    var score: (([UInt8], Double) -> Double)?
    if wantsReference, source.reference == nil {
      score = { ReferenceChoice.score($0, size, pose: truth?.frame(at: $1)) }
    }
    let clip = try ClipReader(requirements: settings.requirements).read(source, score: score)
    let rate = Double(settings.requirements.framesPerSecond)
    result.seconds = Double(clip.frames.count) / rate
    let count = clip.frames.count / settings.videoFrames
    guard count > 0 else {
      throw LiveTalkError(
        "The clip is too short: it has \(clip.frames.count) frames at \(Int(rate)) a second, and "
          + "\(settings.videoFrames) are needed.")
    }
    result.restSeconds = Double(clip.frames.count - count * settings.videoFrames) / rate
    let reference = wantsReference ? try self.reference(source, clip) : nil
    let caption = try self.caption(source, truth)
    for number in 0..<count {
      let start = number * settings.videoFrames
      let frames = Array(clip.frames[start..<start + settings.videoFrames])
      let id = count == 1 ? source.id : "\(source.id).\(number)"
      if let reference, settings.consistency > 0 {
        let score = ReferenceChoice.consistency((reference.squeeze(2) + 1) / 2, frames, size)
        guard score >= settings.consistency else {
          let text = String(
            format:
              "The reference picture does not show what the clip shows: their likeness is %.2f, and at least %.2f is needed.",
            score, settings.consistency)
          result.rejected.append((id, text))
          continue
        }
      }
      let samplesPerFrame = settings.requirements.sampleRate / settings.requirements.framesPerSecond
      let samples = Array(clip.samples[start * samplesPerFrame..<(start + settings.videoFrames) * samplesPerFrame])
      result.pieces.append(
        ClipPiece(
          id: id, frames: frames, samples: samples,
          metadata: ClipMetadata(
            caption: caption ?? MotionCaption.caption(frames), speaker: source.speaker,
            phonemes: truth?.phonemes(from: Double(start) / rate, seconds: settings.seconds)),
          reference: reference,
          faces: truth?.faces(
            from: Double(start) / rate, count: settings.videoFrames, framesPerSecond: rate, size)))
    }
  }

  private func reference(_ source: ClipSource, _ clip: ReadClip) throws -> Tensor {
    var picture: Picture
    if let url = source.reference {
      picture = try Picture(contentsOf: url.path)
    } else if let best = clip.best {
      picture = best.picture
    } else {
      throw LiveTalkError("No frame of the clip can serve as its reference picture.")
    }
    if let upscaler = settings.upscaler { picture = try upscaled(picture, upscaler) }
    try settings.requirements.check(width: picture.width, height: picture.height, "reference picture")
    return ReferencePicture.prepared(picture, settings.requirements.size)
  }

  private func upscaled(_ picture: Picture, _ tool: ExternalTool) throws -> Picture {
    let manager = FileManager.default
    let folder = manager.temporaryDirectory.appendingPathComponent("livetalk-upscale-\(UUID().uuidString)")
    try manager.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? manager.removeItem(at: folder) }
    let (input, output) = (folder.appendingPathComponent("in.png").path, folder.appendingPathComponent("out.png").path)
    try picture.writePNG(to: input)
    _ = try tool.run(["in": input, "out": output], seconds: settings.toolSeconds)
    guard manager.fileExists(atPath: output) else { throw LiveTalkError("The up-scaler made no picture.") }
    do { return try Picture(contentsOf: output) } catch {
      throw LiveTalkError("The up-scaler made a picture that cannot be read.")
    }
  }

  /// The caption that is given, the captioner's, or the one of the truth; nil for none of them.
  private func caption(_ source: ClipSource, _ truth: ClipTruth?) throws -> String? {
    if let caption = source.caption { return caption }
    guard let captioner = settings.captioner else { return truth?.caption }
    let output = try captioner.run(["video": source.pictures.url.path], seconds: settings.toolSeconds)
    let lines = output.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
      .filter { !$0.isEmpty }
    guard lines.count == 1 else {
      throw LiveTalkError("The captioner printed \(lines.count) lines, and one is needed.")
    }
    return lines[0]
  }
}

import Basics
package import ClipShards
package import Foundation
import Generation
import Torch

/// Makes shards of a dataset folder: several threads read clips, one encodes and writes them in the order of the metadata, so
/// that a run that is stopped and continued makes the very files of one that is not.
package struct Preparation {
  package let dataset: DatasetFolder
  package let settings: PreparationSettings
  package let writer: ShardWriter

  /// How far it is.
  package struct Progress: Sendable {
    /// Lines of the metadata that are done, of so many in this run.
    package var done = 0
    package var total = 0
    /// Clips that are in the folder, those of earlier runs too.
    package var prepared = 0
    package var rejected = 0
  }

  package struct Summary: Sendable {
    /// Lines of the metadata that were done when the run began.
    package var earlier = 0
    package var clips: [ClipRecord] = []
    package var rejected: [RejectedClip] = []
    /// Seconds of the clips that were read in this run, and of them what is left behind the last whole piece.
    package var seconds = 0.0
    package var restSeconds = 0.0
  }

  /// - Parameter description: see `PreparationSettings.description`.
  /// - Throws: `LiveTalkError` for a folder with other settings or other things in it, `FileError` for one that cannot be written.
  package init(
    _ dataset: DatasetFolder, to output: URL, _ settings: PreparationSettings, _ description: ShardDescription
  ) throws {
    self.dataset = dataset
    self.settings = settings
    writer = try ShardWriter(output, description, shardLimit: settings.shardLimit)
  }

  /// Prepares what is not yet.
  ///
  /// - Parameters:
  ///   - encoder: makes the encoder of `kind` latents; called once, if there is something to encode.
  ///   - rejected: told of each clip that cannot be used.
  /// - Throws: `LiveTalkError` where no clip at all can be used, `FileError` for a full disk, `TorchError` for exhausted memory:
  ///   what was saved before stays.
  package func run(
    encoder: () throws -> ClipEncoder?, progress: (Progress) -> Void = { _ in },
    rejected: (RejectedClip) -> Void = { _ in }
  ) throws -> Summary {
    let remaining = self.remaining()
    var state = Progress(total: remaining.count)
    var summary = Summary(earlier: dataset.clips.count - remaining.count)
    func count() {
      (state.prepared, state.rejected) = (writer.index.clips.count, writer.index.rejected.count)
      progress(state)
    }
    count()
    if !remaining.isEmpty {
      let encoder = try encoder()
      try writeShared(encoder)
      let curator = ClipCurator(settings: settings, root: dataset.root)
      let clips = OrderedPrefetch(count: remaining.count, threads: settings.readers) { curator.curate(remaining[$0]) }
      defer { clips.stop() }
      var saved = Date()
      while let clip = clips.take() {
        if let failure = clip.failure { throw failure }
        let id = remaining[state.done].id
        if settings.retriesRejected { writer.forgetRejected { Preparation.stem($0) == id || $0 == id } }
        for piece in clip.pieces where !writer.isDone(piece.id) {
          if let reason = try append(piece, encoder) { reject(piece.id, reason, rejected) }
        }
        for (id, reason) in clip.rejected { reject(id, reason, rejected) }
        summary.seconds += clip.seconds
        summary.restSeconds += clip.restSeconds
        state.done += 1
        count()
        if Date().timeIntervalSince(saved) >= settings.saveInterval {
          try writer.flush()
          saved = Date()
        }
      }
    }
    try writer.flush()
    (summary.clips, summary.rejected) = (writer.index.clips, writer.index.rejected)
    guard !summary.clips.isEmpty else {
      let first = summary.rejected.first.map { " The first, '\($0.id)': \($0.reason)" } ?? ""
      throw LiveTalkError("None of the \(dataset.clips.count) clips of \(dataset.root.path) can be used.\(first)")
    }
    return summary
  }

  private func reject(_ id: String, _ reason: String, _ tell: (RejectedClip) -> Void) {
    guard !writer.isDone(id) else { return }
    writer.reject(id, reason)
    if let clip = writer.index.rejected.last { tell(clip) }
  }

  /// The clips of which not every piece is in the folder.
  ///
  /// How many pieces a clip has is known only when it is read. Clips are written in order, so that of all that have pieces in the
  /// folder only the last may lack some.
  private func remaining() -> [ClipSource] {
    let index = writer.index
    let rejected = index.rejected.map(\.id)
    let begun = Set((index.clips.map(\.id) + rejected).flatMap { [$0, Preparation.stem($0)] })
    let tried = Set(settings.retriesRejected ? rejected.flatMap { [$0, Preparation.stem($0)] } : [])
    let last = dataset.clips.lastIndex { begun.contains($0.id) }
    return dataset.clips.enumerated().filter { place, clip in
      tried.contains(clip.id) || !begun.contains(clip.id) || (place == last && !writer.isDone(clip.id))
    }.map(\.element)
  }

  /// The clip that "<id>.<number>" is a piece of; the id itself where it is of no piece.
  private static func stem(_ id: String) -> String {
    guard let dot = id.lastIndex(of: "."), Int(id[id.index(after: dot)...]) != nil else { return id }
    return String(id[..<dot])
  }

  private func writeShared(_ encoder: ClipEncoder?) throws {
    guard let encoder, writer.index.shared == nil else { return }
    let negative = try withTorchErrors { try withInferenceMode { try encoder.text(settings.negativePrompt) } }
    try writer.writeShared(["negativeText": negative])
  }

  /// - Returns: why the piece cannot be used; nil when it was written.
  private func append(_ piece: ClipPiece, _ encoder: ClipEncoder?) throws -> String? {
    let size = settings.requirements.size
    if piece.frames.allSatisfy(haveOneColour) {
      return "Its pictures have one colour: there is no face in them."
    }
    var tensors = try withTorchErrors {
      try withInferenceMode { () -> [String: Tensor] in
        guard let encoder, let reference = piece.reference else {
          return ["video": videoTensor(piece.frames, size), "sound": Tensor(piece.samples)]
        }
        var encoded = try encoder.encode(
          piece.frames, size, reference: reference, piece.samples, latentFrames: settings.latentFrames
        ).mapValues { $0.to(.cpu) }
        encoded["text"] = try encoder.text(piece.metadata.caption)
        return encoded
      }
    }
    tensors[FaceTruth.tensor] = piece.faces
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) where tensor.dtype.isFloatingPoint {
      guard tensor.isFinite().to(.float32).min().item == 1 else {
        return "Its '\(name)' hold values that are no numbers."
      }
    }
    try writer.append(piece.id, piece.metadata, tensors)
    return nil
  }
}

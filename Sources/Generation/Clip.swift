package import Models
package import Torch

/// A clip to generate: how long, under which sound.
package struct Clip: Sendable {
  /// Samples at the model's rate that the clip plays, cut to its length.
  package let samples: [Float]
  /// Video frames of the clip.
  package let videoFrames: Int
  /// Blocks that are generated for them.
  package let blocks: Int

  package let geometry: LatentGeometry
  let framesPerBlock: Int

  /// A clip as long as the sound, or as `seconds` if that is shorter.
  ///
  /// The frames are shown for as long as the sound plays, to within half a frame: 80 for 5 seconds at 16 a second, where the published
  /// systems write one more. The last block is cut to it.
  /// - Throws: `TorchError` for no sound, or a length that is not positive.
  package init(
    samples: [Float], seconds: Double?, geometry: LatentGeometry = .livetalk, framesPerBlock: Int? = nil
  ) throws {
    let rate = Double(geometry.sampleRate)
    let framesPerBlock = framesPerBlock ?? geometry.framesPerBlock
    guard !samples.isEmpty else { throw TorchError("The sound is empty.") }
    if let seconds, !(seconds > 0) {
      throw TorchError("A clip of \(seconds) seconds has no picture; give a positive length.")
    }
    let length = min(Double(samples.count) / rate, seconds ?? .infinity)
    self.samples = Array(samples.prefix(Int((length * rate).rounded())))
    // Rounded to a thousandth of a frame first: 5 s of sound must not lose a frame to the last bit of a division.
    let frames = (length * Double(geometry.framesPerSecond) * 1000).rounded() / 1000
    videoFrames = max(1, Int((frames - 0.5).rounded(.up)))
    let latentFrames = geometry.latentFrames(holding: videoFrames)
    blocks = (latentFrames + framesPerBlock - 1) / framesPerBlock
    self.framesPerBlock = framesPerBlock
    self.geometry = geometry
  }

  package var latentFrames: Int { blocks * framesPerBlock }
  /// Video frames that the blocks give; those past the clip's end are cut off.
  package var generatedFrames: Int { geometry.videoFrames(latentFrames: latentFrames) }

  /// The samples that the blocks take, silence behind the clip's end.
  ///
  /// The speech encoder stretches what it is given over the frames: without the silence a clip whose end is not that of a block
  /// would run late.
  package var paddedSamples: [Float] {
    let count = geometry.sampleCount(latentFrames: latentFrames)
    return samples.prefix(count) + [Float](repeating: 0, count: max(0, count - samples.count))
  }
}

extension Clip {
  /// Delivers the clip's frames block by block.
  ///
  /// While one block decodes, the next is asked for, where the device can do both; the first one is delivered at once.
  /// - Parameters:
  ///   - next: gives each block in order.
  ///   - deliver: takes each frame in order, packed RGB; what it throws ends the generation.
  ///   - progress: told how many blocks are done.
  package func deliver(
    _ next: () throws -> PendingFrames, to deliver: ([UInt8]) throws -> Void, progress: (Int) -> Void = { _ in }
  ) throws {
    var remaining = videoFrames
    func finish(_ pending: PendingFrames, block: Int) throws {
      for frame in try pending.read().prefix(remaining) { try deliver(frame) }
      remaining -= min(remaining, pending.count)
      progress(block + 1)
    }
    var waiting: (frames: PendingFrames, block: Int)?
    for block in 0..<blocks {
      let frames = try next()
      if let waiting { try finish(waiting.frames, block: waiting.block) }
      waiting = (frames, block)
      if block == 0 {
        try finish(frames, block: 0)
        waiting = nil
      }
    }
    if let waiting { try finish(waiting.frames, block: waiting.block) }
  }
}

extension BlockSession {
  /// Generates a clip block by block.
  ///
  /// - Parameters:
  ///   - audioFeatures: asked once for each block in order; see `SessionModels.audioFeatures`.
  ///   - deliver: takes each frame in order, packed RGB; what it throws ends the generation.
  ///   - progress: told how many blocks are done.
  package func generate(
    _ clip: Clip, audioFeatures: () throws -> Tensor, deliver: ([UInt8]) throws -> Void,
    progress: (Int) -> Void = { _ in }
  ) throws {
    try clip.deliver({ next(audioFeatures: try audioFeatures()) }, to: deliver, progress: progress)
  }
}

extension Clip {
  /// The features of the clip's blocks for LiveTalk, one after the other.
  ///
  /// A minute of sound is encoded as a whole, as published; a longer one as it would be heard live, so that memory does not grow with its
  /// length.
  /// - Parameter isLive: whether a short one is encoded so too.
  /// - Throws: `LiveTalkError` for a sound too short to be encoded.
  package func audioFeatures(_ encoder: Wav2Vec2, isLive: Bool = false) throws -> () throws -> Tensor {
    if isLive || generatedFrames > Wav2Vec2.Windows.standard.longest {
      return audioFeatures(SpeechFeatureStream(encoder, geometry: geometry, framesPerBlock: framesPerBlock))
    }
    let whole = try encoder.encode(paddedSamples, frameCount: generatedFrames).checked(as: "features of the sound")
    var (row, block) = (0, 0)
    return {
      let rows = geometry.videoFrames(inBlock: block, framesPerBlock: framesPerBlock)
      defer { (row, block) = (row + rows, block + 1) }
      return whole.narrow(1, row, rows)
    }
  }

  /// The same by a stream that hears the clip second by second.
  func audioFeatures(_ stream: SpeechFeatureStream) -> () throws -> Tensor {
    var stream = stream
    // What the stream has not forgotten yet is all that it moves.
    var rest = samples[...]
    return {
      while true {
        if let features = try stream.next() { return features }
        if rest.isEmpty {
          stream.end()
        } else {
          stream.append(rest.prefix(geometry.sampleRate))
          rest = rest.dropFirst(geometry.sampleRate)
        }
      }
    }
  }
}

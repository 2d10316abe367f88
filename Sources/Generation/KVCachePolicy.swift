package import Models
import Torch

/// What a session remembers: which latent frames keep their keys and values.
package enum KVCachePolicy: Hashable, Sendable, CustomStringConvertible {
  /// Everything, up to the clip's length.
  case full
  /// The newest `window` frames, the block in work included.
  case rolling(window: Int)
  /// The first `sinks` frames for ever, and the newest others up to `window` frames in all (AHIS of the LiveTalk paper).
  case anchorHeavy(sinks: Int, window: Int)

  /// As published: 9 sinks in a window of 15.
  package static let livetalk = KVCachePolicy.anchorHeavy(sinks: 9, window: 15)

  package var description: String {
    switch self {
    case .full: "full"
    case .rolling(let window): "rolling:\(window)"
    case .anchorHeavy(let sinks, let window): "anchor:\(sinks)/\(window)"
    }
  }

  /// Reads what `description` writes: `full`, `rolling:W` or `anchor:S/W`.
  package init?(_ text: String) {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let fields = parts.count == 2 ? parts[1].split(separator: "/", omittingEmptySubsequences: false) : []
    let numbers = fields.compactMap { Int($0) }
    guard numbers.count == fields.count else { return nil }
    switch (parts[0], numbers.count) {
    case ("full", 0) where parts.count == 1: self = .full
    case ("rolling", 1): self = .rolling(window: numbers[0])
    case ("anchor", 2): self = .anchorHeavy(sinks: numbers[0], window: numbers[1])
    default: return nil
    }
  }

  var sinks: Int { if case .anchorHeavy(let sinks, _) = self { sinks } else { 0 } }

  /// Frames that the cache must hold for a clip of the given length; nil where only the clip's length tells and there is none.
  package func window(clipFrames: Int?) -> Int? {
    switch self {
    case .full: clipFrames
    case .rolling(let window), .anchorHeavy(_, let window): window
    }
  }

  /// Why blocks of `framesPerBlock` cannot be generated under this policy, or nil.
  ///
  /// In a smaller window the reference silently writes over its sinks.
  package func problem(framesPerBlock: Int) -> String? {
    switch self {
    case .full: return nil
    case .rolling(let window), .anchorHeavy(_, let window):
      if sinks < 0 { return "a policy cannot have \(sinks) sinks" }
      if max(sinks, window) > 1 << 16 { return "a policy keeps at most \(1 << 16) latent frames" }
      return window >= sinks + framesPerBlock
        ? nil : "a window of \(window) frames does not hold \(sinks) sinks and a block of \(framesPerBlock)"
    }
  }

  /// The memory of a session under this policy.
  ///
  /// - Parameters:
  ///   - clipFrames: latent frames of the whole clip, for a policy that keeps them all; nil for an endless session.
  ///   - positionLimit: see `TimePositions.limit`.
  /// - Throws: `TorchError` for a policy that cannot hold a block, a full one without a clip's length, or a position limit under
  ///   which the window would run into its sinks.
  package func memory(
    _ shape: MemoryShape, framesPerBlock: Int, clipFrames: Int? = nil,
    positionLimit: Int? = TimePositions.publishedLimit
  ) throws -> RingMemory {
    if let problem = problem(framesPerBlock: framesPerBlock) {
      throw TorchError("The cache policy is impossible: \(problem).")
    }
    guard let window = window(clipFrames: clipFrames) else {
      throw TorchError(
        "The cache policy 'full' needs a clip of known length; use a rolling or anchored window for an endless one.")
    }
    if let positionLimit, sinks > 0, positionLimit < window {
      throw TorchError("A limit of \(positionLimit) time positions is less than the window of \(window) frames.")
    }
    return RingMemory(
      shape, windowFrames: max(window, sinks + framesPerBlock), sinkFrames: sinks, holdsWholeClip: self == .full,
      positionLimit: self == .full ? nil : positionLimit)
  }
}

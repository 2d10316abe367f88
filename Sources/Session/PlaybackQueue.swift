import Basics
import Foundation

/// What was generated and waits to be played: at most the block that was asked for ahead of time.
struct PlaybackQueue {
  struct Frame {
    var picture: Picture
    var samples: [Float]
    var utterance: UtteranceID?
    /// Seconds of the utterance that are played when the frame is over.
    var end = 0.0
    var endsUtterance = false
    /// Whether its speech was stopped: it is shown without sound until anything newer is there, so that the picture does not freeze.
    var isStale = false
    /// Whether the sound of stopped speech fades in it: it is played in any case.
    var isFading = false
  }

  private(set) var frames: [Frame] = []
  /// Samples per second.
  let rate: Int

  init(rate: Int) { self.rate = rate }

  /// Seconds that wait to be played.
  var seconds: Double { Double(frames.reduce(0) { $0 + $1.samples.count }) / Double(rate) }

  /// Whether all of it may give way to speech.
  var isReplaceable: Bool { frames.allSatisfy { $0.utterance == nil } }
  var hasStale: Bool { frames.contains { $0.isStale } }

  /// Takes a block. What was stopped gives way to it, and silence gives way to speech.
  ///
  /// - Parameter keepsSilence: it does not, because the speech is not to be played yet.
  mutating func append(_ block: [Frame], keepsSilence: Bool = false) {
    if block.contains(where: { !$0.isStale }) { frames.removeAll { $0.isStale } }
    if block.first?.utterance != nil, !keepsSilence {
      let kept = frames.lastIndex { $0.utterance != nil || $0.isFading }.map { $0 + 1 } ?? 0
      frames.removeSubrange(kept...)
    }
    frames += block
  }

  /// Lets speech be played at once that waited behind silence.
  mutating func dropSilenceBeforeSpeech() {
    guard let speech = frames.firstIndex(where: { $0.utterance != nil }) else { return }
    let kept = frames[..<speech].lastIndex { $0.isFading }.map { $0 + 1 } ?? 0
    frames.removeSubrange(kept..<speech)
  }

  /// - Parameter holdsSpeech: speech is not to be played yet.
  mutating func next(holdsSpeech: Bool = false) -> Frame? {
    guard let first = frames.first, !holdsSpeech || first.utterance == nil else { return nil }
    return frames.removeFirst()
  }

  /// Takes the sound from all speech that waits; it fades within 10 ms.
  mutating func silence() {
    var isFirst = true
    for index in frames.indices where frames[index].utterance != nil {
      frames[index] = PlaybackQueue.silenced(frames[index], fades: isFirst && index == 0, rate: rate)
      isFirst = false
    }
  }

  static func silenced(_ frame: Frame, fades: Bool, rate: Int) -> Frame {
    var frame = frame
    let fade = fades ? min(rate / 100, frame.samples.count) : 0
    for index in frame.samples.indices {
      frame.samples[index] *= index < fade ? Float(fade - index) / Float(fade) : 0
    }
    (frame.utterance, frame.endsUtterance) = (nil, false)
    (frame.isStale, frame.isFading) = (!fades, fades)
    return frame
  }
}

/// A gain that moves without a click.
struct Gain {
  private var value: Float = 1
  var target: Float = 1
  /// Change per sample: all of it within 20 ms.
  private let step: Float

  init(rate: Int) { step = 50 / Float(rate) }

  static func factor(decibels: Double) -> Float { Float(pow(10, decibels / 20)) }

  mutating func apply(to samples: inout [Float]) {
    if value == target, value == 1 { return }
    for index in samples.indices {
      value = value < target ? min(target, value + step) : max(target, value - step)
      samples[index] *= value
    }
  }
}

package import Basics

/// The number of an utterance of the avatar within its session, from 1.
package struct UtteranceID: RawRepresentable, Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
  package let rawValue: Int

  package init(rawValue: Int) { self.rawValue = rawValue }

  package var description: String { "\(rawValue)" }
  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// One picture with the very samples that drove it.
package struct OutputFrame: Sendable {
  package var picture: Picture
  /// At the engine's rate; as many as the picture is shown for.
  package var samples: [Float]
  /// Whose sound it is; nil for silence between utterances.
  package var utterance: UtteranceID?
  /// Place of the first sample in its utterance, at the engine's rate; 0 without one.
  package var offset: Int
  /// Whether the utterance's last sample is in it.
  package var endsUtterance: Bool

  package init(
    picture: Picture, samples: [Float], utterance: UtteranceID? = nil, offset: Int = 0, endsUtterance: Bool = false
  ) {
    self.picture = picture
    self.samples = samples
    self.utterance = utterance
    self.offset = offset
    self.endsUtterance = endsUtterance
  }
}

/// What is generated together.
package struct OutputBlock: Sendable {
  /// Its number in the session, from 0; none is left out.
  package var index: Int
  package var frames: [OutputFrame]
  /// How it was made.
  package var metrics: BlockMetrics

  package init(index: Int, frames: [OutputFrame], metrics: BlockMetrics) {
    (self.index, self.frames, self.metrics) = (index, frames, metrics)
  }

  /// Whether anybody speaks in it.
  package var hasSpeech: Bool { frames.contains { $0.utterance != nil } }
}

package struct BlockMetrics: Hashable, Sendable, Codable {
  /// Seconds from the request to the finished pictures, waiting for the device included.
  package var seconds: Double
  /// Seconds of sound in the block.
  package var duration: Double
  /// Denoising steps, and pictures per second, that it was made with: fewer where the machine is too slow for more.
  package var steps: Int
  package var framesPerSecond: Int

  package init(seconds: Double, duration: Double, steps: Int, framesPerSecond: Int) {
    (self.seconds, self.duration, self.steps, self.framesPerSecond) = (seconds, duration, steps, framesPerSecond)
  }
}

/// One avatar that is generated: sound goes in, blocks of pictures with that sound come out, for as long as somebody asks for them.
///
/// Blocks are made on request, so that nothing is computed further ahead than the one who plays them wants. Where no sound is there, a
/// block is made from silence: the avatar moves and keeps its lips closed.
package protocol EngineSession: AnyObject, Sendable {
  /// Of the pictures that come out.
  var size: VideoSize { get }

  /// Further sound of an utterance, of any length and rate; every utterance keeps to one rate.
  ///
  /// Utterances are spoken in the order in which they begin. Sound of an interrupted utterance is ignored.
  func append(_ sound: PCM, to utterance: UtteranceID) async

  /// Says that no more sound of the utterance will come. Its last frame says so; one that had no sound ends without any frame.
  func finish(_ utterance: UtteranceID) async

  /// Drops all sound that is not in a block yet, and all that will come for utterances begun so far.
  func interrupt() async

  /// Seconds of sound that wait to be spoken.
  var pending: Double { get async }

  /// Whether a block of speech could be made now: there is enough sound for it, or the utterance has ended. To be waited for
  /// before silence is cut short for speech.
  var hasSpeechReady: Bool { get async }

  /// Makes the next block: of speech where enough of it is there, of silence otherwise. One request at a time.
  ///
  /// - Throws: `SessionError` where the computation failed: the session is then over, and its place is given back.
  func nextBlock() async throws -> OutputBlock

  /// Another direction, from the next block on.
  ///
  /// - Throws: `SessionError` for a prompt that cannot be encoded; the old one then holds.
  func setPrompt(_ prompt: String) async throws

  /// Another person, from the next block on; the size of the video stays.
  ///
  /// - Throws: `SessionError` for a picture that cannot be encoded; the old one then stays.
  func setAvatar(_ picture: Picture) async throws

  /// Ends the session and gives back its place and memory. Later calls do nothing; a request under way throws.
  func close() async
}

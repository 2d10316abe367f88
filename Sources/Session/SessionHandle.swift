package import Basics

/// What leaves a session in real time: one picture with the very samples that drove it, and one time stamp for both.
///
/// Frames follow one another without a gap: each begins at the sample at which the one before ends.
package struct MediaFrame: Sendable {
  /// Its number, from 0.
  package var index: Int
  /// The session's sample at which its sound begins and its picture is shown: seconds are `sample / rate`.
  package var sample: Int
  package var picture: Picture
  /// Sound at the session's rate; as long as the picture is shown.
  package var samples: [Float]
  /// Whose sound it is.
  package var utterance: UtteranceID?

  package init(index: Int, sample: Int, picture: Picture, samples: [Float], utterance: UtteranceID?) {
    (self.index, self.sample, self.picture, self.samples, self.utterance) = (index, sample, picture, samples, utterance)
  }
}

/// What a transport knows of a session before its first frame.
package struct StreamFormat: Hashable, Sendable, Codable {
  package var size: VideoSize
  /// Pictures per second. A slow machine makes fewer: what counts is each frame's time stamp.
  package var framesPerSecond: Int
  /// Samples per second of the sound.
  package var sampleRate: Int

  package init(size: VideoSize, framesPerSecond: Int, sampleRate: Int) {
    (self.size, self.framesPerSecond, self.sampleRate) = (size, framesPerSecond, sampleRate)
  }
}

/// A session as its transports see it; `LiveSession` is the real one.
package protocol SessionHandle: AnyObject, Sendable {
  nonisolated var format: StreamFormat { get }

  /// Takes a command. What is wrong with it comes as an event.
  func send(_ command: SessionCommand) async

  /// Events from now on, the state first. Any number of readers; one that falls far behind is cut off: its stream ends.
  func events() async -> AsyncStream<SessionEvent>

  /// Frames from now on, in real time: a frame leaves when it is due, at most `LiveSettings.lead` before. Any number of readers; one that
  /// is slow loses the oldest frames, never the time stamps.
  func frames() async -> AsyncStream<MediaFrame>

  /// Tells an error of a transport's as an event; a fatal one ends the session.
  func report(_ error: SessionError) async

  /// Ends the session, for whatever reason. Event and frame streams end after `closed`.
  func close(_ reason: CloseReason) async
}

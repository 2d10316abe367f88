package import Basics

/// Of a video, in pixels.
package struct VideoSize: Hashable, Sendable, Codable, CustomStringConvertible {
  package var width, height: Int

  package init(width: Int, height: Int) { (self.width, self.height) = (width, height) }

  package var description: String { "\(width)×\(height)" }
}

extension Picture {
  package var size: VideoSize { VideoSize(width: width, height: height) }
}

/// What an engine has, said before any session starts.
package struct EngineInformation: Hashable, Sendable, Codable {
  /// The name of the model.
  package var model: String
  /// Where its weights come from and what it was made for, one sentence.
  package var provenance: String?
  /// Where it runs, such as `cuda:0`.
  package var devices: [String]
  /// Pictures per second of its sessions, before any degradation.
  package var framesPerSecond: Int
  /// Samples per second of the sound that comes out with the pictures.
  package var sampleRate: Int
  /// Pictures that are made together.
  package var framesPerBlock: Int
  /// Sizes of video that it makes; the first is the usual one.
  package var videoSizes: [VideoSize]
  /// Pixels along each side of a picture of an avatar.
  package var pictureSides: ClosedRange<Int>
  /// Bytes that a session of the largest size needs, beside the models that all share.
  package var memoryPerSession: Int
  /// Sessions that fit at a time.
  package var maxSessions: Int

  package init(
    model: String, provenance: String? = nil, devices: [String], framesPerSecond: Int, sampleRate: Int,
    framesPerBlock: Int, videoSizes: [VideoSize], pictureSides: ClosedRange<Int> = 16...8192, memoryPerSession: Int,
    maxSessions: Int
  ) {
    self.model = model
    self.provenance = provenance
    self.devices = devices
    self.framesPerSecond = framesPerSecond
    self.sampleRate = sampleRate
    self.framesPerBlock = framesPerBlock
    self.videoSizes = videoSizes
    self.pictureSides = pictureSides
    self.memoryPerSession = memoryPerSession
    self.maxSessions = maxSessions
  }
}

/// What an engine is doing.
package struct EngineLoad: Hashable, Sendable, Codable {
  /// Whether its models are loaded and warm, so that it takes sessions.
  package var isReady: Bool
  package var sessions: Int
  /// Sessions that could be opened now.
  package var free: Int
  /// Bytes in use on its devices; on the processor, of the process.
  package var memory: Int

  package init(isReady: Bool, sessions: Int, free: Int, memory: Int) {
    (self.isReady, self.sessions, self.free, self.memory) = (isReady, sessions, free, memory)
  }
}

/// What a session is opened with.
package struct AvatarRequest: Sendable {
  package var picture: Picture
  /// The direction: the scene and the manner in words.
  package var prompt: String
  /// The choice among possible videos.
  package var seed: UInt64
  /// nil for the engine's size closest in shape to the picture.
  package var size: VideoSize?

  package init(picture: Picture, prompt: String, seed: UInt64 = 0, size: VideoSize? = nil) {
    (self.picture, self.prompt, self.seed, self.size) = (picture, prompt, seed, size)
  }
}

/// What hosts sessions on one machine: models that are loaded once, and the devices that they run on.
package protocol AvatarEngine: Sendable {
  var information: EngineInformation { get }
  func load() async -> EngineLoad

  /// Starts a session; its place is given back by `close`, or when it fails.
  ///
  /// - Throws: `AdmissionError` where there is no place, `SessionError` for a picture, prompt or size that cannot be.
  func open(_ request: AvatarRequest) async throws -> any EngineSession
}

/// Why an engine takes no session now. As HTTP it is 503 with `Retry-After`.
package enum AdmissionError: Error, Hashable, Sendable, CustomStringConvertible {
  case full(sessions: Int, retryAfter: Int)
  /// Bytes.
  case memory(needed: Int, free: Int, retryAfter: Int)
  case warmingUp(retryAfter: Int)
  case draining(retryAfter: Int)

  /// Stable, for clients.
  package var code: String {
    switch self {
    case .full: "full"
    case .memory: "out_of_memory"
    case .warmingUp: "warming_up"
    case .draining: "draining"
    }
  }

  /// Seconds.
  package var retryAfter: Int {
    switch self {
    case .full(_, let seconds), .memory(_, _, let seconds), .warmingUp(let seconds), .draining(let seconds): seconds
    }
  }

  package var description: String {
    switch self {
    case .full(let sessions, let seconds):
      "All \(sessions) places for conversations are taken: try again in \(seconds) s."
    case .memory(let needed, let free, let seconds):
      "A conversation needs \(needed / 1_000_000) MB of memory and \(free / 1_000_000) MB are free: try again in \(seconds) s."
    case .warmingUp(let seconds): "The server is loading its models: try again in \(seconds) s."
    case .draining(let seconds): "The server is being stopped: try again in \(seconds) s."
    }
  }
}

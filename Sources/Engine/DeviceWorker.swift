import Basics
import Foundation
import Generation
import Models
import Session
import Synchronization
import Torch

/// The models on one device, and the threads that compute on it.
final class DeviceWorker: Sendable {
  let models: any SessionModels
  let options: SessionOptions
  /// Denoising, and everything else but decoding.
  let compute: PinnedThread
  /// Decoding: on the CPU the work itself, on a GPU the wait for it.
  let decode: PinnedThread

  init(_ models: any SessionModels, options: SessionOptions) {
    self.models = models
    self.options = options
    compute = PinnedThread(name: "livetalk-\(models.device)")
    decode = PinnedThread(name: "livetalk-decode-\(models.device)")
  }

  var device: Device { models.device }

  /// Bytes that a session keeps from block to block on each of its devices, beside the models.
  ///
  /// - Throws: `TorchError` for a policy without a window: it has no endless session.
  func memory(_ size: ReferencePicture.Size) throws -> [Int] {
    try models.memory(size, options: options).map(\.cacheBytes)
  }
}

/// What a failed computation is to a client.
func sessionError(_ error: any Error) -> SessionError {
  if let error = error as? SessionError { return error }
  let text = "\(error)"
  let isMemory = text.localizedCaseInsensitiveContains("out of memory") || text.contains("alloc_cpu")
  return isMemory
    ? SessionError(.outOfMemory, "The device has no memory left for this conversation: try again later.", isFatal: true)
    : SessionError(.engineFailed, "The avatar cannot be computed: \(userSentence(error))", isFatal: true)
}

/// A session's part on the device. Denoising and decoding touch different parts of it, each on a thread of its own.
final class ComputedAvatar: @unchecked Sendable {
  let session: any BlockSession
  var sound: SpeechFeatureStream

  init(_ session: any BlockSession, _ models: any SessionModels) {
    self.session = session
    sound = models.speechStream(framesPerBlock: session.framesPerBlock)
  }
}

/// The sound of a block and what it is to be made with.
struct BlockPlan: Sendable {
  /// For each picture: its driving sound, and whether somebody speaks in it.
  var sound: [(samples: [Float], isSpeech: Bool)]
  /// What will be said after it, as far as that is known.
  var following: [Float]
  var level: Pace.Level
  /// Set when the block is not wanted any more.
  let stop = StopFlag()
}

/// Is set on one thread and seen on another.
final class StopFlag: Sendable {
  private let flag = Atomic(false)
  var isSet: Bool { flag.load(ordering: .relaxed) }
  func set() { flag.store(true, ordering: .relaxed) }
}

/// Clean latents; where this process is the first of a pipeline, what it passes on.
struct Denoised: Sendable {
  let latents: Tensor
  /// On a GPU decoding is queued right behind; in a pipeline another process decodes.
  let frames: Waiting?
  /// How long this process computed.
  let seconds: Double

  final class Waiting: @unchecked Sendable {
    let frames: PendingFrames
    init(_ frames: PendingFrames) { self.frames = frames }
  }
}

/// Pictures of a block.
struct Decoded: Sendable {
  let pictures: [Picture]
  /// For how many seconds each process of a pipeline worked on it; empty where there is one process.
  let stages: [Double]
}

/// Computes one session's blocks on its device's thread.
actor BlockComputer {
  nonisolated let worker: DeviceWorker
  nonisolated var unownedExecutor: UnownedSerialExecutor { worker.compute.asUnownedSerialExecutor() }
  private(set) var avatar: ComputedAvatar?
  private var text: Tensor?
  private var steps: Int

  init(_ worker: DeviceWorker) {
    self.worker = worker
    steps = worker.options.steps
  }

  /// Begins, or begins again with another picture.
  func begin(_ picture: Picture, _ size: ReferencePicture.Size, text: Tensor?, seed: UInt64) throws {
    try compute {
      let models = worker.models
      var options = worker.options
      options.seed = seed
      let session: (Tensor) throws -> any BlockSession
      do {
        try models.check(size)
        session = try models.encode(
          image: ReferencePicture.prepared(picture, size).to(worker.device), options: options, tap: nil)
      } catch {
        throw SessionError(.badSize, userSentence(error))
      }
      guard let text = text ?? self.text else { throw SessionError(.badPrompt, "There is no prompt.") }
      self.text = text
      // The old one goes first: there is memory for one.
      avatar?.session.end()
      avatar = nil
      let new = ComputedAvatar(try session(text), models)
      if steps != options.steps { new.session.setSteps(steps) }
      avatar = new
    }
  }

  func setText(_ text: Tensor) throws {
    self.text = text
    try compute { avatar?.session.setText(text) }
  }

  /// - Returns: latents, and on a GPU the frames that are on their way; nil where the plan was stopped.
  func denoise(_ plan: BlockPlan) throws -> (ComputedAvatar, Denoised)? {
    guard let avatar else { throw SessionError(.closed, "The session is over.", isFatal: true) }
    let start = ContinuousClock.now
    return try compute {
      if plan.level.steps != steps {
        steps = plan.level.steps
        avatar.session.setSteps(steps)
      }
      let before = avatar.sound
      avatar.sound.setFramesPerSecond(plan.level.framesPerSecond)
      for picture in plan.sound {
        if picture.isSpeech {
          avatar.sound.append(picture.samples)
        } else {
          avatar.sound.append(silence: picture.samples.count)
        }
      }
      guard let features = try avatar.sound.next(before: plan.following) else {
        throw SessionError(.engineFailed, "A block has less sound than pictures.", isFatal: true)
      }
      guard let latents = avatar.session.denoise(audioFeatures: features, unless: { plan.stop.isSet }) else {
        avatar.sound = before
        return nil
      }
      let decodesHere = worker.device.isCPU && worker.models.processes == 1
      let frames = decodesHere ? nil : Denoised.Waiting(avatar.session.decode(latents))
      return (
        avatar, Denoised(latents: latents, frames: frames, seconds: (ContinuousClock.now - start) / .seconds(1))
      )
    }
  }

  func end() {
    // What fails here is of no use to anybody.
    try? compute { avatar?.session.end() }
    (avatar, text) = (nil, nil)
  }

  private func compute<Result>(_ body: () throws -> Result) throws -> Result {
    try withTorchErrors { try withInferenceMode(body) }
  }
}

/// Gives a session's frames on its device's second thread.
actor BlockDecoder {
  nonisolated let worker: DeviceWorker
  nonisolated var unownedExecutor: UnownedSerialExecutor { worker.decode.asUnownedSerialExecutor() }

  init(_ worker: DeviceWorker) { self.worker = worker }

  /// Returns when everything before it is done.
  func end() {}

  func frames(_ block: Denoised, of avatar: ComputedAvatar) throws -> Decoded {
    try withTorchErrors {
      try withInferenceMode {
        let frames = block.frames?.frames ?? avatar.session.decode(block.latents)
        let size = avatar.session.size
        let pictures = try frames.read().map { Picture(width: size.width, height: size.height, bytes: $0) }
        let others = frames.seconds
        return Decoded(pictures: pictures, stages: others.isEmpty ? [] : [block.seconds] + others)
      }
    }
  }
}

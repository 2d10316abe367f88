import Foundation
import Synchronization

/// An avatar's picture and sound on their way out: paced by a thread of its own, encoded once per codec, sent to every peer that watches.
///
/// What waits is kept here, never in GStreamer, which does not give back what it was given: it gets sound and pictures 20 ms ahead at the
/// most. Sound never stops: where none waits it is silence, so that receivers keep the two in step. Where pictures stop, the last one
/// is sent again twice a second, so that who comes then sees it.
package final class LiveStream: Sendable {
  package struct Settings: Sendable, Equatable {
    /// Pixels, both even.
    package var width, height: Int
    package var framesPerSecond: Int
    /// Of the sound; a multiple of 50.
    package var sampleRate: Int
    /// Bits per second.
    package var videoBitrate = 1_000_000
    package var soundBitrate = 32_000

    package init(width: Int, height: Int, framesPerSecond: Int, sampleRate: Int) {
      (self.width, self.height) = (width, height)
      (self.framesPerSecond, self.sampleRate) = (framesPerSecond, sampleRate)
    }
  }

  /// What a stream has done so far.
  package struct Counts: Sendable, Equatable {
    /// Pictures given to the encoders.
    package var pictures = 0
    /// Silent gaps because the next frame came too late.
    package var underruns = 0
    /// Samples that wait.
    package var queued = 0
    /// Peers that watch.
    package var peers = 0
  }

  private struct State {
    var queue: PlayoutQueue
    var pictures = 0
    var video: [VideoCodec: Graph] = [:]
    var sound: Graph?
    var peers: [Watcher] = []
    var lastKeyFrame: [VideoCodec: Int64] = [:]
    var wantsKeyFrame: Set<VideoCodec> = []
    var isClosed = false
  }

  /// A peer, and whether it has got a key picture, without which it can show nothing.
  private struct Watcher: Sendable {
    let peer: Peer
    let codec: VideoCodec?
    var hasKey = false
  }

  package let settings: Settings
  private let state: Mutex<State>
  private let onPlayed: @Sendable (Int) -> Void

  /// How far before its time a tick is given to GStreamer, and the length of a tick: nanoseconds.
  private static let lead: Int64 = 5_000_000
  private static let tick: Int64 = 20_000_000
  /// Key pictures are large: so many nanoseconds lie between two at least.
  private static let keyFrameInterval: Int64 = 300_000_000
  private static let repeatInterval: Int64 = 500_000_000

  /// - Parameter onPlayed: told on the stream's thread, up to 50 times a second: the sample that follows the last one sent.
  /// - Throws: `WebRTCError` that is `unavailable` without GStreamer.
  package init(_ settings: Settings, onPlayed: @escaping @Sendable (_ sample: Int) -> Void = { _ in }) throws {
    try Graph.load()
    self.settings = settings
    self.onPlayed = onPlayed
    state = Mutex(State(queue: PlayoutQueue(sampleRate: settings.sampleRate)))
    let thread = Thread { [weak self] in Self.run { self } }
    thread.name = "live stream"
    thread.qualityOfService = .userInteractive
    thread.start()
  }

  /// Gives a picture with the sound that is heard while it is shown. They are sent after what was given before; a copy is not made.
  ///
  /// - Parameters:
  ///   - pixels: RGB8, width × height × 3 bytes.
  ///   - samples: Mono, from −1 to 1; at least one.
  ///   - sample: The number of the first of them in the stream.
  package func append(pixels: [UInt8], samples: [Float], at sample: Int) {
    precondition(pixels.count == settings.width * settings.height * 3, "a picture of the stream's size")
    precondition(!samples.isEmpty, "a picture is shown for some time")
    state.withLock { $0.queue.append(pixels: pixels, samples: samples, at: sample) }
  }

  /// Drops what is not sent yet, from a sample of the stream on.
  package func clear(from sample: Int = .min) { state.withLock { $0.queue.clear(from: sample) } }

  package var counts: Counts {
    state.withLock {
      Counts(pictures: $0.pictures, underruns: $0.queue.underruns, queued: $0.queue.count, peers: $0.peers.count)
    }
  }

  /// Encoders that run: one per codec that somebody watches, and one of sound.
  var encoders: Int { state.withLock { $0.video.count + ($0.sound == nil ? 0 : 1) } }

  /// Ends the thread and the encoders; peers stay as they are. Blocks for some milliseconds.
  package func close() {
    let graphs = state.withLock { state in
      state.isClosed = true
      state.peers = []
      defer { (state.video, state.sound) = ([:], nil) }
      return Array(state.video.values) + [state.sound].compactMap { $0 }
    }
    graphs.forEach { $0.close() }
  }

  // MARK: peers

  /// Sends to a peer from now on; its codec's encoder is made if it is the first to want it.
  func attach(_ peer: Peer, video codec: VideoCodec?) throws {
    let (needsVideo, needsSound) = state.withLock { state in
      (codec.flatMap { state.video[$0] } == nil && codec != nil, state.sound == nil)
    }
    let video = needsVideo ? try codec.map(encoder) : nil
    let sound = needsSound ? try soundEncoder() : nil
    let superfluous = try state.withLock { state throws(WebRTCError) -> [Graph] in
      guard !state.isClosed else { throw WebRTCError(.failed, "The avatar's stream is over.") }
      state.peers.append(Watcher(peer: peer, codec: codec))
      var superfluous: [Graph] = []
      if let codec, let video {
        if state.video[codec] == nil { state.video[codec] = video } else { superfluous.append(video) }
      }
      if let sound {
        if state.sound == nil { state.sound = sound } else { superfluous.append(sound) }
      }
      return superfluous
    }
    superfluous.forEach { $0.close() }
  }

  /// Encoders that nobody watches are given up.
  func detach(_ peer: Peer) {
    let unused = state.withLock { state -> [Graph] in
      state.peers.removeAll { $0.peer === peer }
      var unused: [Graph] = []
      for (codec, graph) in state.video where !state.peers.contains(where: { $0.codec == codec }) {
        state.video[codec] = nil
        unused.append(graph)
      }
      if state.peers.isEmpty, let sound = state.sound {
        state.sound = nil
        unused.append(sound)
      }
      return unused
    }
    unused.forEach { $0.close() }
  }

  /// Makes the next picture one that needs no other; wishes that come in quick succession are one.
  func wantKeyFrame(_ codec: VideoCodec) { state.withLock { _ = $0.wantsKeyFrame.insert(codec) } }

  /// Encoders whose next picture is to be a key picture, at a time.
  private static func takeWishes(_ state: inout State, at time: Int64) -> [Graph] {
    let due = state.wantsKeyFrame.filter { time - state.lastKeyFrame[$0, default: 0] >= keyFrameInterval }
    state.wantsKeyFrame.subtract(due)
    for codec in due { state.lastKeyFrame[codec] = time }
    return due.compactMap { state.video[$0] }
  }

  private func encoder(_ codec: VideoCodec) throws -> Graph {
    let duration = 1_000_000_000 / Int64(settings.framesPerSecond)
    return try Graph(
      Pipelines.video(codec, format: settings),
      handlers: Graph.Handlers(buffer: { [weak self] _, bytes, time, isKey in
        for peer in self?.watchers(of: codec, isKey: isKey) ?? [] {
          peer.push(picture: bytes, time: time, duration: duration, isKey: isKey)
        }
      }))
  }

  private func soundEncoder() throws -> Graph {
    try Graph(
      Pipelines.sound(format: settings),
      handlers: Graph.Handlers(buffer: { [weak self] _, bytes, time, _ in
        for watcher in self?.state.withLock({ $0.peers }) ?? [] {
          watcher.peer.push(sound: bytes, time: time, duration: Self.tick)
        }
      }))
  }

  private func watchers(of codec: VideoCodec, isKey: Bool) -> [Peer] {
    state.withLock { state in
      var result: [Peer] = []
      for index in state.peers.indices where state.peers[index].codec == codec && state.peers[index].peer.isConnected {
        if isKey { state.peers[index].hasKey = true }
        if state.peers[index].hasKey { result.append(state.peers[index].peer) }
      }
      return result
    }
  }

  // MARK: the thread

  private static func run(_ stream: () -> LiveStream?) {
    var time = Graph.now + tick
    var last: (pixels: [UInt8], time: Int64)?
    while true {
      let wait = time - lead - Graph.now
      if wait > 0 { Thread.sleep(forTimeInterval: Double(wait) / 1e9) }
      // After a long stop, such as that of a sleeping machine, what was missed is not caught up.
      if wait < -10 * tick { time += (-wait / tick) * tick }
      guard let stream = stream(), stream.send(at: time, last: &last) else { return }
      time += tick
    }
  }

  /// Sends the tick that begins at a time. Returns whether there is to be another.
  private func send(at time: Int64, last: inout (pixels: [UInt8], time: Int64)?) -> Bool {
    let next = state.withLock { state -> (PlayoutQueue.Tick, [Graph], Graph?, [Graph])? in
      guard !state.isClosed else { return nil }
      var tick = state.queue.next()
      state.pictures += tick.pictures.count
      if let picture = tick.pictures.last {
        last = (picture.pixels, time)
      } else if let shown = last, time - shown.time >= Self.repeatInterval {
        tick.pictures = [PlayoutQueue.Picture(pixels: shown.pixels, offset: 0)]
        last = (shown.pixels, time)
      }
      let wishes = tick.pictures.isEmpty ? [] : Self.takeWishes(&state, at: time)
      return (tick, Array(state.video.values), state.sound, wishes)
    }
    guard let (tick, video, sound, wishes) = next else { return false }
    tick.samples.withUnsafeBytes { _ = sound?.push($0, to: 0, time: time, duration: Self.tick) }
    for graph in wishes { graph.wantKeyFrame() }
    let duration = 1_000_000_000 / Int64(settings.framesPerSecond)
    for picture in tick.pictures {
      let stamp = time + Int64(picture.offset) * 1_000_000_000 / Int64(settings.sampleRate)
      for graph in video {
        picture.pixels.withUnsafeBytes { _ = graph.push($0, to: 0, time: stamp, duration: duration) }
      }
    }
    if let played = tick.played { onPlayed(played) }
    return true
  }
}

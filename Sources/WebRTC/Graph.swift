import CGStreamer
import Foundation
import Synchronization

/// A running GStreamer pipeline. Every method may be called from any thread, also after `close`, when it does nothing.
final class Graph: Sendable {
  /// What a graph tells, on GStreamer's threads.
  struct Handlers: Sendable {
    /// A buffer of the sink of this number, with its time stamp in nanoseconds, and whether it is a key picture.
    var buffer: (@Sendable (_ sink: Int, _ bytes: UnsafeRawBufferPointer, _ time: Int64, _ isKey: Bool) -> Void)?
    var keyFrame: (@Sendable () -> Void)?
    var state: (@Sendable (ConnectionState) -> Void)?
    var channel: (@Sendable (_ isOpen: Bool) -> Void)?
    var text: (@Sendable (String) -> Void)?
    var data: (@Sendable ([UInt8]) -> Void)?
    var failed: (@Sendable (_ reason: String) -> Void)?
  }

  enum ConnectionState: Int32, Sendable {
    case new, connecting, connected, disconnected, failed, closed
  }

  private final class Box: Sendable {
    let handlers: Handlers
    init(_ handlers: Handlers) { self.handlers = handlers }
  }

  private struct Running: @unchecked Sendable {
    let graph: OpaquePointer
    let box: Unmanaged<Box>
  }

  private let running: Mutex<Running?>
  /// Held by what blocks, so that the graph is not freed under it.
  private let answering = Mutex(())

  /// - Throws: `WebRTCError`: `unavailable` without GStreamer, `failed` for a pipeline that does not start.
  init(_ description: String, connection: Connection? = nil, handlers: Handlers) throws {
    try Self.load()
    let box = Unmanaged.passRetained(Box(handlers))
    var callbacks = Self.callbacks
    callbacks.context = box.toOpaque()
    var message = [CChar](repeating: 0, count: 512)
    let graph =
      if let connection {
        connection.withCStructure { cgst_new(description, $0, &callbacks, &message, message.count) }
      } else {
        cgst_new(description, nil, &callbacks, &message, message.count)
      }
    guard let graph else {
      box.release()
      throw WebRTCError(.failed, "GStreamer cannot start: \(Self.text(message)).")
    }
    running = Mutex(Running(graph: graph, box: box))
  }

  /// The last owner may let go of it on one of its own threads, which could not wait for itself.
  deinit {
    guard let running = takeRunning() else { return }
    DispatchQueue.global(qos: .utility).async { Self.release(running) }
  }

  /// - Throws: `WebRTCError` that is `unavailable`.
  static func load() throws {
    var message = [CChar](repeating: 0, count: 512)
    guard cgst_load(&message, message.count) == 0 else {
      throw WebRTCError(.unavailable, "WebRTC cannot be used: \(text(message)).")
    }
  }

  static func has(element: String) -> Bool { cgst_has_element(element) != 0 }

  /// Nanoseconds, on the clock of all time stamps.
  static var now: Int64 { cgst_now() }

  /// Stops the pipeline's threads. Blocks for some milliseconds; never from a handler.
  func close() {
    guard let running = takeRunning() else { return }
    answering.withLock { _ in Self.release(running) }
  }

  private func takeRunning() -> Running? {
    running.withLock { running in
      defer { running = nil }
      return running
    }
  }

  private static func release(_ running: Running) {
    cgst_free(running.graph)
    running.box.release()
  }

  @discardableResult
  func push(
    _ bytes: UnsafeRawBufferPointer, to source: Int, time: Int64, duration: Int64, isKey: Bool = true
  ) -> Bool {
    running.withLock { running in
      guard let running else { return false }
      return cgst_push(running.graph, Int32(source), bytes.baseAddress, bytes.count, time, duration, isKey ? 1 : 0) == 0
    }
  }

  func wantKeyFrame() { running.withLock { if let running = $0 { cgst_want_key_frame(running.graph) } } }

  /// Blocks until ICE candidates are there.
  func answer(_ offer: String, gatherMilliseconds: Int) throws -> String {
    try signal("The offer cannot be answered") { graph, text, message, count in
      cgst_answer(graph, offer, Int32(gatherMilliseconds), &text, message, count)
    }
  }

  /// An offer of what the sources send. Blocks until ICE candidates are there.
  func offer(gatherMilliseconds: Int) throws -> String {
    try signal("Nothing can be offered") { graph, text, message, count in
      cgst_offer(graph, Int32(gatherMilliseconds), &text, message, count)
    }
  }

  /// Takes the answer to what `offer` gave. Blocks.
  func accept(_ answer: String) throws {
    _ = try signal("The answer cannot be taken") { graph, text, message, count in
      text = strdup("")
      return cgst_accept(graph, answer, message, count)
    }
  }

  private typealias Signal = (
    OpaquePointer, inout UnsafeMutablePointer<CChar>?, UnsafeMutablePointer<CChar>, Int
  ) -> Int32

  /// - Throws: `WebRTCError` that begins with `failure`.
  private func signal(_ failure: String, _ body: Signal) throws -> String {
    try answering.withLock { _ in
      guard let graph = running.withLock({ $0?.graph }) else { throw WebRTCError(.failed, "The connection is closed.") }
      var message = [CChar](repeating: 0, count: 512)
      let capacity = message.count
      var text: UnsafeMutablePointer<CChar>?
      let status = message.withUnsafeMutableBufferPointer { body(graph, &text, $0.baseAddress!, capacity) }
      defer { free(text) }
      guard status == 0, let text else {
        throw WebRTCError(.unsupported, "\(failure): \(Self.text(message)).")
      }
      return String(cString: text)
    }
  }

  func add(candidate: String, line: Int = 0) {
    running.withLock { if let running = $0 { cgst_add_candidate(running.graph, UInt32(line), candidate) } }
  }

  @discardableResult
  func send(_ text: String) -> Bool {
    running.withLock { running in
      guard let running else { return false }
      return cgst_send(running.graph, text) == 0
    }
  }

  @discardableResult
  func send(_ bytes: [UInt8]) -> Bool {
    running.withLock { running in
      guard let running else { return false }
      return cgst_send_data(running.graph, bytes, bytes.count) == 0
    }
  }

  /// When the last packet came in; nil for never.
  var lastPacket: Int64? {
    running.withLock { running in
      guard let running else { return nil }
      let time = cgst_last_packet(running.graph)
      return time == 0 ? nil : time
    }
  }

  private static func text(_ message: [CChar]) -> String {
    String(decoding: message.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  private static func handlers(_ context: UnsafeMutableRawPointer?) -> Handlers {
    Unmanaged<Box>.fromOpaque(context!).takeUnretainedValue().handlers
  }

  private static var callbacks: cgst_callbacks {
    cgst_callbacks(
      context: nil,
      buffer: { context, sink, bytes, length, time, isKey in
        Graph.handlers(context).buffer?(
          Int(sink), UnsafeRawBufferPointer(start: bytes, count: length), time, isKey != 0)
      },
      key_frame: { Graph.handlers($0).keyFrame?() },
      state: { context, state in
        if let state = ConnectionState(rawValue: state) { Graph.handlers(context).state?(state) }
      },
      channel: { Graph.handlers($0).channel?($1 != 0) },
      text: { context, text in if let text { Graph.handlers(context).text?(String(cString: text)) } },
      data: { context, bytes, length in
        Graph.handlers(context).data?(Array(UnsafeBufferPointer(start: bytes, count: length)))
      },
      failed: { context, reason in Graph.handlers(context).failed?(reason.map { String(cString: $0) } ?? "") })
  }
}

/// How a graph's element `webrtc` connects.
struct Connection: Sendable {
  var settings: PeerSettings
  var streamName: String
  /// Whether each of the sources also receives.
  var receives: [Bool]
  /// Whether lost packets of each of the sources are sent again. Browsers refuse an offer of that for sound.
  var retransmits: [Bool]
  /// Caps of RTP where nothing is sent.
  var receiveOnlyCaps: String?
  /// The pipeline from RTP to sound.
  var receiver: String?
  /// The data channel that counts: who offers opens it. Without it the first one that the other side opens.
  var channelLabel: String?

  func withCStructure<Result>(_ body: (UnsafePointer<cgst_connection>) -> Result) -> Result {
    var strings: [UnsafeMutablePointer<CChar>] = []
    defer { strings.forEach { free($0) } }
    func copy(_ text: String?) -> UnsafePointer<CChar>? {
      guard let text, let copied = strdup(text) else { return nil }
      strings.append(copied)
      return UnsafePointer(copied)
    }
    let servers = settings.turnServers.map { copy($0) } + [nil]
    return servers.withUnsafeBufferPointer { servers in
      var structure = cgst_connection()
      structure.stun_server = copy(settings.stunServer)
      structure.turn_servers = servers.baseAddress
      structure.loopback_only = settings.isLoopbackOnly ? 1 : 0
      structure.first_port = Int32(settings.ports?.lowerBound ?? 0)
      structure.last_port = Int32(settings.ports?.upperBound ?? 0)
      structure.stream_name = copy(streamName)
      func pair(_ flags: [Bool]) -> (Int32, Int32) {
        (flags.first == true ? 1 : 0, flags.dropFirst().first == true ? 1 : 0)
      }
      structure.receives = pair(receives)
      structure.retransmits = pair(retransmits)
      structure.receive_only_caps = copy(receiveOnlyCaps)
      structure.receiver = copy(receiver)
      structure.channel_label = copy(channelLabel)
      return body(&structure)
    }
  }
}

import Foundation
import Synchronization
import TestClients

@testable import WebRTC

/// A client that is not ours, in a process of its own: it makes the offer, or the answer, and reports in the end.
struct Client {
  private let process: ClientProcess

  enum Kind: String, Sendable {
    case aiortc, chromium

    /// Those that this machine has.
    static let there: [Kind] = TestClients.chromium == nil ? [.aiortc] : [.aiortc, .chromium]
  }

  init(_ kind: Kind, _ arguments: [String] = []) throws {
    let script = TestClients.tests.appendingPathComponent("WebRTCTests/Clients/\(kind)_client.py").path
    // Such as `ip netns exec client`, for a client in another network.
    let prefix = ProcessInfo.processInfo.environment["LIVETALK_CLIENT"]?.split(separator: " ").map(String.init) ?? []
    let browser = kind == .chromium ? ["--browser", TestClients.chromium!] : []
    process = try ClientProcess("/usr/bin/env", prefix + [TestClients.python, script] + arguments + browser)
  }

  func next<Value: Decodable>(_ type: Value.Type) async throws -> Value { try await process.next(type) }

  func offer() async throws -> String { try await next([String: String].self)["offer"] ?? "" }

  func answer(_ text: String) throws { try process.write(["answer": text]) }
}

/// What a client saw and heard.
struct Report: Decodable {
  /// Number, wall clock in milliseconds, time stamp in seconds, whether its middle is white.
  struct Picture: Decodable {
    let number: Int
    let shown, stamp: Double
    let isWhite: Bool

    init(from decoder: any Decoder) throws {
      var fields = try decoder.unkeyedContainer()
      number = try fields.decode(Int.self)
      shown = try fields.decode(Double.self)
      stamp = try fields.decode(Double.self)
      isWhite = try fields.decode(Bool.self)
    }
  }

  /// 5 ms of sound: its time stamp in seconds, how loud it is, wall clock in milliseconds.
  struct Sound: Decodable {
    let stamp, loudness, arrived: Double

    init(from decoder: any Decoder) throws {
      var fields = try decoder.unkeyedContainer()
      stamp = try fields.decode(Double.self)
      loudness = try fields.decode(Double.self)
      arrived = try fields.decode(Double.self)
    }
  }

  struct Text: Decodable {
    let text: String
    let arrived: Double

    init(from decoder: any Decoder) throws {
      var fields = try decoder.unkeyedContainer()
      text = try fields.decode(String.self)
      arrived = try fields.decode(Double.self)
    }
  }

  private let pictures: [Picture]
  let heard: [Sound]
  var texts: [Text] = []
  var states: [String] = []
  /// By kind: packets lost, packets received.
  var lost: [String: [Int]] = [:]

  private enum CodingKeys: String, CodingKey {
    case pictures = "seen"
    case heard, texts, states, lost
  }

  /// Those whose number can be read.
  var seen: [Picture] { pictures.filter { $0.number >= 0 } }
  /// How many pictures are so damaged that theirs cannot.
  var damaged: Int { pictures.count - seen.count }

  /// Beginnings of loud sound: those after at least 0.2 s of quiet.
  var clicks: [Sound] {
    var result: [Sound] = []
    var quiet = 1.0
    for sound in heard {
      if sound.loudness > 0.1 {
        if quiet >= 0.2 { result.append(sound) }
        quiet = 0
      } else {
        quiet += 0.0026
      }
    }
    return result
  }

  /// First pictures that are white in the middle.
  var flashes: [Picture] {
    zip([nil] + seen.map { $0.isWhite as Bool? }, seen).filter { $0 != true && $1.isWhite }.map(\.1)
  }
}

extension Report {
  /// How long after its click each flash is seen, in milliseconds.
  var lips: [Double] {
    flashes.compactMap { flash in
      clicks.map { flash.shown - $0.arrived }.min { abs($0) < abs($1) }.flatMap { abs($0) < 500 ? $0 : nil }
    }
  }
}

/// An avatar of the tests: numbered pictures in real time, every second a white one with a click of 40 ms.
final class Avatar: Sendable {
  let stream: LiveStream
  let format: LiveStream.Settings
  /// When each number was given to the stream: wall clock in milliseconds.
  private let given = Mutex<[Int: Double]>([:])
  private let clickAt = Mutex<Set<Int>>([])
  private let task: Mutex<Task<Void, Never>?> = Mutex(nil)
  /// The last sample that the stream told to have sent.
  private let position: Position

  private final class Position: Sendable {
    let sample = Mutex(0)
    let reports = Mutex(0)
  }

  init(side: Int = 256, rate: Int = 16, sampleRate: Int = 24_000) throws {
    format = LiveStream.Settings(width: side, height: side, framesPerSecond: rate, sampleRate: sampleRate)
    let position = Position()
    self.position = position
    stream = try LiveStream(format) { sample in
      position.sample.withLock { $0 = sample }
      position.reports.withLock { $0 += 1 }
    }
  }

  deinit {
    task.withLock { $0?.cancel() }
    stream.close()
  }

  var played: Int { position.sample.withLock { $0 } }
  var givenAt: [Int: Double] { given.withLock { $0 } }
  static var now: Double { Date().timeIntervalSince1970 * 1000 }

  /// A picture that carries its number in 16 squares, and the opposite of each below it, as the clients read it.
  static func picture(_ number: Int, isWhite: Bool, side: Int) -> [UInt8] {
    var pixels = [UInt8](repeating: 40, count: side * side * 3)
    func fill(_ xs: Range<Int>, _ ys: Range<Int>, _ value: UInt8) {
      for y in ys { for x in xs { for c in 0..<3 { pixels[(y * side + x) * 3 + c] = value } } }
    }
    let square = side / 16
    for (row, bits) in [number, ~number].enumerated() {
      for bit in 0..<16 {
        fill(
          bit * square..<(bit + 1) * square, row * square..<(row + 1) * square, bits >> bit & 1 == 1 ? 235 : 16)
      }
    }
    if isWhite { fill(side / 4..<3 * side / 4, side / 4..<3 * side / 4, 235) }
    return pixels
  }

  /// Gives the frame of that number; a click is 40 ms of 1 kHz.
  func give(_ number: Int, hasClick: Bool, hum: Float = 0) {
    let rate = format.sampleRate
    let first = number * rate / format.framesPerSecond
    let count = (number + 1) * rate / format.framesPerSecond - first
    let samples = (0..<count).map { index -> Float in
      hasClick && index < rate / 25 ? 0.7 * Float(sin(2 * Double.pi * 1000 * Double(index) / Double(rate))) : hum
    }
    given.withLock { $0[number] = Self.now }
    stream.append(
      pixels: Self.picture(number, isWhite: hasClick, side: format.width), samples: samples, at: first)
  }

  /// Gives frames as they become due, from number 0 on.
  func run(ahead: Int = 0, clicks: @escaping @Sendable (Int) -> Bool = { $0 % 16 == 8 }) {
    let rate = format.framesPerSecond
    let running = Task { [weak self] in
      let start = ContinuousClock.now
      var number = 0
      while !Task.isCancelled {
        let due = start + .seconds(Double(number - ahead) / Double(rate))
        if due > .now { try? await Task.sleep(until: due, clock: .continuous) }
        guard let self, !Task.isCancelled else { return }
        self.give(number, hasClick: clicks(number))
        number += 1
      }
    }
    task.withLock { $0 = running }
  }

  func stop() { task.withLock { $0?.cancel() } }
}

/// The value below which such a part of the values lies.
func quantile(_ values: [Double], _ part: Double) -> Double {
  let sorted = values.sorted()
  guard !sorted.isEmpty else { return .nan }
  return sorted[min(Int(Double(sorted.count) * part), sorted.count - 1)]
}

func loopback() -> PeerSettings {
  var settings = PeerSettings()
  settings.isLoopbackOnly = true
  return settings
}

/// The frequency and the loudness of the last half of some seconds of a peer's microphone: the first half may be silence that waited.
func tone(of peer: Peer, seconds: Double) async -> (frequency: Double, loudness: Double) {
  var samples: [Float] = []
  for await piece in peer.microphone {
    samples += piece
    if Double(samples.count) > seconds * Double(Peer.microphoneRate) { break }
  }
  let heard = samples.suffix(samples.count / 2)
  let crossings = zip(heard, heard.dropFirst()).count { $0 < 0 && $1 >= 0 }
  let power = heard.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(max(heard.count, 1))
  return (Double(crossings * Peer.microphoneRate) / Double(max(heard.count, 1)), power.squareRoot())
}

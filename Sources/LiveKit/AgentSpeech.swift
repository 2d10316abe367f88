import Session

/// An agent's speech as it comes over byte streams of the topic `lk.audio_stream`: each is one segment, 16-bit little-endian samples, whose
/// attributes state their `sample_rate` and `num_channels`.
///
/// A value without a network. Segments are spoken in the order in which they were opened, also where the next one begins before the
/// one under way is closed.
struct AgentSpeech: Sendable {
  static let topic = "lk.audio_stream"

  /// What is to be done, in order.
  enum Action: Hashable, Sendable {
    /// Further sound of the segment under way; it begins one if none is.
    case speak(PCM)
    /// The segment is whole.
    case finish
    /// A segment cannot be spoken, for that reason; it is over without having been heard.
    case refuse(String)
  }

  private struct Segment: Sendable {
    let id: String
    let rate: Int
    let channels: Int
    var nextChunk: UInt64 = 0
    /// What came while another segment was under way, and half a sample.
    var bytes: [UInt8] = []
    var hasSound = false
    var isClosed = false
  }

  /// In the order in which they were opened; the first is under way.
  private var segments: [Segment] = []

  private static let channelCounts = 1...8
  private static let mostSegments = 16
  /// Of one segment that waits: ten minutes at 24 kHz.
  private static let mostWaiting = 32 << 20

  mutating func open(_ id: String, attributes: [String: String]) -> [Action] {
    guard !segments.contains(where: { $0.id == id }) else { return [] }
    guard let rate = attributes["sample_rate"].flatMap({ Int($0) }), PCM.rates.contains(rate),
      let channels = attributes["num_channels"].flatMap({ Int($0) }), Self.channelCounts.contains(channels)
    else {
      func stated(_ name: String) -> String { attributes[name].map { "'\($0.prefix(20))'" } ?? "nothing" }
      return [
        .refuse(
          "Speech has a sample_rate from \(PCM.rates.lowerBound) to \(PCM.rates.upperBound) and num_channels from 1 to "
            + "\(Self.channelCounts.upperBound): the agent states \(stated("sample_rate")) and \(stated("num_channels"))."
        )
      ]
    }
    guard segments.count < Self.mostSegments else {
      return [.refuse("\(Self.mostSegments) segments of speech are open already: close them.")]
    }
    segments.append(Segment(id: id, rate: rate, channels: channels))
    return []
  }

  /// A chunk that came before is passed over; of a stream that is not open, too.
  mutating func take(_ bytes: [UInt8], chunk: UInt64, of id: String) -> [Action] {
    guard let index = segments.firstIndex(where: { $0.id == id }), !segments[index].isClosed,
      chunk >= segments[index].nextChunk
    else { return [] }
    segments[index].nextChunk = chunk + 1
    guard segments[index].bytes.count + bytes.count <= Self.mostWaiting else {
      segments.remove(at: index)
      return [.refuse("More speech came than can wait to be spoken.")]
    }
    segments[index].bytes += bytes
    return index == 0 ? speakFirst() : []
  }

  mutating func close(_ id: String) -> [Action] {
    guard let index = segments.firstIndex(where: { $0.id == id }) else { return [] }
    segments[index].isClosed = true
    var actions: [Action] = []
    while let first = segments.first, first.isClosed {
      actions += speakFirst()
      if segments[0].hasSound { actions.append(.finish) }
      segments.removeFirst()
    }
    if !segments.isEmpty { actions += speakFirst() }
    return actions
  }

  /// Forgets all segments: what still comes of them is passed over.
  mutating func clear() { segments = [] }

  /// The whole samples of the first segment, as the mean of its channels.
  private mutating func speakFirst() -> [Action] {
    let width = 2 * segments[0].channels
    let whole = segments[0].bytes.count / width * width
    guard whole > 0 else { return [] }
    let samples = PCM(int16: segments[0].bytes.prefix(whole), rate: segments[0].rate)
    segments[0].bytes.removeFirst(whole)
    segments[0].hasSound = true
    return [.speak(samples.mixed(from: segments[0].channels))]
  }
}

extension PCM {
  /// The mean of interleaved channels.
  fileprivate func mixed(from channels: Int) -> PCM {
    guard channels > 1 else { return self }
    let mean = stride(from: 0, to: samples.count, by: channels).map { start in
      samples[start..<(start + channels)].reduce(0, +) / Float(channels)
    }
    return PCM(mean, rate: rate)
  }
}

import Session

/// The header of a WAV file or of a stream that begins like one.
struct WAVHeader: Hashable {
  enum Found: Hashable {
    /// Too few bytes to tell.
    case unfinished
    case none
    case header(WAVHeader)
    /// A WAV of a kind that is not read.
    case unsupported
  }

  var rate: Int
  var channels: Int
  /// Where the samples begin.
  var start: Int
  /// Bytes of samples; nil where the header does not say it, as when it was written before the sound.
  var count: Int?

  /// Looks for a header at the beginning of some bytes. Samples of 16 bits are read, of any number of channels.
  static func find(in bytes: some RandomAccessCollection<UInt8>) -> Found {
    let bytes = Array(bytes.prefix(65_536))
    func matches(_ tag: String, _ place: Int) -> Bool {
      zip(tag.utf8, bytes.dropFirst(place)).allSatisfy { $0 == $1 }
    }
    func number(_ place: Int, _ length: Int) -> Int {
      (0..<length).reduce(0) { $0 | Int(bytes[place + $1]) << (8 * $1) }
    }
    guard matches("RIFF", 0), matches("WAVE", 8) else { return .none }
    guard bytes.count >= 12 else { return .unfinished }
    var place = 12
    var format: (rate: Int, channels: Int)?
    while place + 8 <= bytes.count {
      let size = number(place + 4, 4)
      if matches("data", place) {
        guard let format else { return .unsupported }
        // Streams say 0, 0xFFFFFFFF or nearly 0x7FFFFFFF.
        let isKnown = size > 0 && size < 0x7FFF_0000
        return .header(
          WAVHeader(rate: format.rate, channels: format.channels, start: place + 8, count: isKnown ? size : nil))
      }
      if matches("fmt ", place) {
        guard place + 24 <= bytes.count else { return .unfinished }
        let (kind, channels) = (number(place + 8, 2), number(place + 10, 2))
        let (rate, bits) = (number(place + 12, 4), number(place + 22, 2))
        // 0xFFFE is the extensible form of 1.
        guard kind == 1 || kind == 0xFFFE, bits == 16, (1...8).contains(channels), PCM.rates.contains(rate) else {
          return .unsupported
        }
        format = (rate, channels)
      }
      place += 8 + size + size % 2
      guard place < 65_536 else { return .unsupported }
    }
    return bytes.count < 65_536 ? .unfinished : .unsupported
  }
}

extension PCM {
  /// A WAV file of samples of 16 bits.
  var wav: [UInt8] {
    let samples = int16
    func little(_ value: Int, _ length: Int) -> [UInt8] {
      (0..<length).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    return Array("RIFF".utf8) + little(36 + samples.count, 4) + Array("WAVEfmt ".utf8) + little(16, 4) + little(1, 2)
      + little(1, 2) + little(rate, 4) + little(2 * rate, 4) + little(2, 2) + little(16, 2) + Array("data".utf8)
      + little(samples.count, 4) + samples
  }

  /// Samples of 16 bits of several channels, as the mean of the channels.
  init(int16 bytes: some Collection<UInt8>, channels: Int, rate: Int) {
    let all = PCM(int16: bytes, rate: rate)
    guard channels > 1 else {
      self = all
      return
    }
    let mixed = stride(from: 0, to: all.samples.count - channels + 1, by: channels).map {
      all.samples[$0..<$0 + channels].reduce(0, +) / Float(channels)
    }
    self.init(mixed, rate: rate)
  }
}

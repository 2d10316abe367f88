package import Session

/// Turns the sound of an answer, in pieces of bytes, into samples, whichever way a server sends it.
///
/// - Every piece a whole WAV file (vLLM-Omni), or none of them one (DashScope), or the first one (SGLang-Omni): `piece`.
/// - One stream of bytes that may begin with a WAV header and is cut anywhere (`/v1/audio/speech`, programs): `bytes`.
///
/// Half a sample at the end of a piece waits for the next one.
package struct SoundDecoder {
  package enum Failure: Error {
    /// A WAV of a kind that is not read.
    case unsupported
    /// The rate changes on the way.
    case changesRate
  }

  private var rate: Int
  private var channels = 1
  /// Whether a rate was said, or sound without a header has come.
  private var isFixed = false
  private var carried: [UInt8] = []
  private var isDecided = false

  /// - Parameter rate: of sound without a header.
  package init(rate: Int) { self.rate = rate }

  /// A piece that may be a WAV file of its own.
  package mutating func piece(_ bytes: [UInt8]) throws -> PCM? {
    switch WAVHeader.find(in: bytes) {
    case .header(let header) where bytes.count >= 12:
      try adopt(header)
      // What was left of the piece before belongs to nothing.
      carried = []
      let end = header.count.map { min(header.start + $0, bytes.count) } ?? bytes.count
      return samples(bytes[header.start..<end])
    case .unsupported: throw Failure.unsupported
    case .unfinished where bytes.count >= 12: throw Failure.unsupported
    case .none, .unfinished, .header:
      isFixed = true
      return samples(bytes)
    }
  }

  /// Further bytes of one stream.
  package mutating func bytes(_ new: some Collection<UInt8>) throws -> PCM? {
    if isDecided { return samples(new) }
    carried += new
    switch WAVHeader.find(in: carried) {
    case .unfinished: return nil
    case .unsupported: throw Failure.unsupported
    case .none: break
    case .header(let header):
      try adopt(header)
      carried.removeFirst(header.start)
    }
    isDecided = true
    return samples([])
  }

  private mutating func adopt(_ header: WAVHeader) throws {
    guard !isFixed || header.rate == rate else { throw Failure.changesRate }
    (rate, channels, isFixed) = (header.rate, header.channels, true)
  }

  private mutating func samples(_ new: some Collection<UInt8>) -> PCM? {
    let all = carried + new
    let whole = all.count - all.count % (2 * channels)
    carried = Array(all[whole...])
    return whole > 0 ? PCM(int16: all[..<whole], channels: channels, rate: rate) : nil
  }
}

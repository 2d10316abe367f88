import Basics

/// Undoes the decoding of UTF-8 text with a single-byte encoding, as ftfy 6.3.1 does.
enum EncodingRepair {
  private static let c1Controls = ScalarSet("80-9F")

  /// Repairs as long as a repair changes the text: it may have been misread more than once.
  static func repair(_ text: [UInt32]) -> [UInt32] {
    var text = text
    while true {
      let repaired = repairOnce(text)
      if repaired == text { return text }
      text = repaired
    }
  }

  private static func repairOnce(_ text: [UInt32]) -> [UInt32] {
    guard text.contains(where: { $0 > 0x7F }), Mojibake.isLikely(in: text) else { return text }

    for codec in SingleByteCodec.all {
      guard var bytes = codec.encode(text) else { continue }
      // In Mac Roman the same pattern is an en dash and a space.
      if codec.name != .macRoman { bytes = MisreadBytes.restoringNoBreakSpaces(bytes) }
      if codec.isSloppy { bytes = MisreadBytes.replacingLossySequences(bytes) }
      if let decoded = MisreadBytes.decode(bytes) { return decoded }
    }

    let partly = repairingInside(text)
    if partly != text { return partly }

    if let bytes = SingleByteCodec.latin1.encode(text), let decoded = windows1252(bytes), decoded != text {
      return decoded
    }
    return replacingC1Controls(text)
  }

  /// Nil where windows-1252 leaves a byte open.
  private static func windows1252(_ bytes: [UInt8]) -> [UInt32]? {
    var result: [UInt32] = []
    for byte in bytes {
      let scalar = SingleByteCodec.windows1252.scalar(for: byte)
      if c1Controls.contains(scalar) { return nil }
      result.append(scalar)
    }
    return result
  }

  /// C1 controls become what their numbers mean in windows-1252.
  static func replacingC1Controls(_ text: [UInt32]) -> [UInt32] {
    guard text.contains(where: c1Controls.contains) else { return text }
    return text.map { c1Controls.contains($0) ? SingleByteCodec.windows1252.scalar(for: UInt8($0)) : $0 }
  }

  // MARK: Misread parts of a text

  /// Characters that lead bytes of two-, three- and four-byte sequences become in some encoding. They share no member.
  private static let leadOfTwo = ScalarSet(
    "C2-DF 100 102 106 10C 10E 110 112 116 118 11A 11E 122 12A 130 136 139 13B 141 143 145 147 14C 150 158 15A 15E 160 "
      + "162 16A 16E 170 172 179 17B 17D 392-3A1 3A3-3AF 412-42F")
  private static let leadOfThree = ScalarSet(
    "E0-EF 101 103 105 107 10D 10F 113 117 119 11B 123 12B 12F 137 13A 13C 155 17A 3B0-3BF 430-43F")
  private static let leadOfFour = ScalarSet("F0 F3 111 11F 161 3C0 3C3 440 443")

  private static let strictContinuation = ScalarSet(
    "80-BF C6 D8 E6 F8 104-105 13D-13E 141-142 152-153 156-157 15A-15B 15E-161 164-165 178-17E 192 2C6-2C7 2D8 "
      + "2DB-2DD 384-386 388-38A 38C 38E-38F 401-40C 40E-40F 451-45C 45E-45F 490-491 2020-2021 2030 2039-203A 20AC "
      + "2116 2122")
  /// Those, the space that a no-break space may have become, and punctuation that is common by itself.
  private static let continuation =
    strictContinuation + ScalarSet("20 2013-2015 2018-201A 201C-201E 2022 2026")

  /// Repairs each run of characters that looks like UTF-8, if it is unlikely text by itself and not the whole text.
  private static func repairingInside(_ text: [UInt32]) -> [UInt32] {
    var result: [UInt32] = []
    result.reserveCapacity(text.count)
    var index = 0
    while index < text.count {
      let end = index > 0 && strictContinuation.contains(text[index - 1]) ? index : endOfRun(in: text, from: index)
      guard end > index else {
        result.append(text[index])
        index += 1
        continue
      }
      let run = Array(text[index..<end])
      result += run.count < text.count && Mojibake.isLikely(in: run) ? repair(run) : run
      index = end
    }
    return result
  }

  private static func endOfRun(in text: [UInt32], from start: Int) -> Int {
    var index = start
    while index < text.count {
      let length =
        leadOfTwo.contains(text[index])
        ? 2 : leadOfThree.contains(text[index]) ? 3 : leadOfFour.contains(text[index]) ? 4 : 0
      guard length > 0, index + length <= text.count,
        text[index + 1..<index + length].allSatisfy(continuation.contains)
      else { return index }
      index += length
    }
    return index
  }
}

import Foundation

/// The character map of a SentencePiece model: a double-array trie of replaced sequences over the texts that replace
/// them.
struct CharacterMap: Sendable {
  private let trie: [UInt32]
  /// The replacing texts, each ended by a zero byte.
  private let texts: [UInt8]

  /// - Parameter data: the trie's size in bytes, the trie, the texts; integers are little-endian.
  init?(_ data: Data) {
    let bytes = Array(data)
    guard bytes.count >= 4 else { return nil }
    func word(_ offset: Int) -> UInt32 {
      (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
    }
    let trieSize = Int(word(0))
    guard trieSize > 0, trieSize % 4 == 0, 4 + trieSize <= bytes.count else { return nil }
    trie = stride(from: 4, to: 4 + trieSize, by: 4).map(word)
    texts = Array(bytes[(4 + trieSize)...])
  }

  /// Replaces each grapheme cluster that the map knows, or else each of its characters that it knows.
  ///
  /// A cluster shorter than 6 bytes is looked up by its shortest prefix, whose replacement then stands for the whole
  /// cluster. That loses combining marks, but it is what the reference tokenizer does.
  func apply(to text: String) -> String {
    var result: [UInt8] = []
    result.reserveCapacity(text.utf8.count)
    for cluster in text {
      let bytes = Array(cluster.utf8)
      if bytes.count < 6, let replacement = replacement(of: bytes[...]) {
        result += replacement
        continue
      }
      var index = 0
      while index < bytes.count {
        let end = index + utf8Length(lead: bytes[index])
        result += replacement(of: bytes[index..<end]) ?? bytes[index..<end]
        index = end
      }
    }
    return String(decoding: result, as: UTF8.self)
  }

  /// The replacement of the shortest prefix of `key` in the map.
  private func replacement(of key: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    var position = Self.offset(trie[0])
    for byte in key where byte != 0 {
      position ^= Int(byte)
      guard trie.indices.contains(position) else { return nil }
      let unit = trie[position]
      guard unit & 0x8000_00FF == UInt32(byte) else { return nil }
      position ^= Self.offset(unit)
      guard trie.indices.contains(position) else { return nil }
      if unit >> 8 & 1 == 1 {
        let start = Int(trie[position] & 0x7FFF_FFFF)
        guard start <= texts.count else { return nil }
        return texts[start...].prefix { $0 != 0 }
      }
    }
    return nil
  }

  private static func offset(_ unit: UInt32) -> Int {
    Int((unit >> 10) << ((unit & 0x200) >> 6))
  }
}

/// The length of the UTF-8 sequence that begins with `lead`.
func utf8Length(lead: UInt8) -> Int {
  switch lead {
  case ..<0xC0: 1
  case ..<0xE0: 2
  case ..<0xF0: 3
  default: 4
  }
}

/// A Unigram model: pieces with scores, and the split of a text with the highest sum of scores.
struct UnigramModel: Sendable {
  private let trie: PieceTrie
  private let scores: [Double]
  private let unknownID: Int32
  /// What one unknown character costs: 10 less than the lowest score.
  private let unknownScore: Double
  /// The ids of pieces `<0x00>` to `<0xFF>` where unknown text is spelt out in bytes; -1 for none.
  private let byteIDs: [Int32]?

  /// - Parameters:
  ///   - pieces: texts in the order of their ids. The last of equal texts counts.
  ///   - unknownID: an index into `pieces`.
  init(pieces: [String], scores: [Double], unknownID: Int, spellsUnknownInBytes: Bool) {
    var trie = PieceTrie(expectedPieces: pieces.count)
    for (id, piece) in pieces.enumerated() { trie.insert(piece.utf8, id: Int32(id)) }
    self.trie = trie
    self.scores = scores
    self.unknownID = Int32(unknownID)
    unknownScore = (scores.min() ?? 0) - 10
    byteIDs =
      spellsUnknownInBytes
      ? (0...255).map { (byte: Int) -> Int32 in
        let digits = String(byte, radix: 16, uppercase: true)
        return trie.id(of: "<0x\(digits.count == 1 ? "0" : "")\(digits)>".utf8) ?? -1
      } : nil
  }

  var count: Int { scores.count }

  func id(of piece: String) -> Int32? {
    trie.id(of: piece.utf8)
  }

  /// The ids of the best split of `text`. A run of unknown characters is one piece.
  func encode(_ text: String) -> [Int32] {
    let bytes = Array(text.utf8)
    var ids: [Int32] = []
    var unknownEnd: Int?
    let best = bestPath(bytes)

    func spellUnknown(from start: Int) {
      guard let end = unknownEnd else { return }
      ids += idsOfUnknown(bytes[start..<end]).reversed()
      unknownEnd = nil
    }

    var end = bytes.count
    while end > 0 {
      let node = best[end]
      if node.id == unknownID {
        if unknownEnd == nil { unknownEnd = end }
      } else {
        spellUnknown(from: end)
        ids.append(node.id)
      }
      end = node.start
    }
    spellUnknown(from: 0)
    return ids.reversed()
  }

  private func idsOfUnknown(_ bytes: ArraySlice<UInt8>) -> [Int32] {
    if let id = trie.id(of: bytes) { return [id] }
    if let byteIDs {
      let ids = bytes.map { byteIDs[Int($0)] }
      if !ids.contains(-1) { return ids }
    }
    return [unknownID]
  }

  /// The last piece of the best split of a prefix of the text.
  private struct Node {
    var id: Int32 = 0
    /// Where the piece begins; -1 while no piece is known to end here.
    var start = -1
    var score = 0.0
  }

  private func bestPath(_ bytes: [UInt8]) -> [Node] {
    var best = [Node](repeating: Node(), count: bytes.count + 1)
    func offer(_ id: Int32, _ start: Int, _ end: Int, _ score: Double) {
      if best[end].start < 0 || score > best[end].score { best[end] = Node(id: id, start: start, score: score) }
    }

    var start = 0
    while start < bytes.count {
      let character = utf8Length(lead: bytes[start])
      let score = best[start].score
      var isKnown = false
      trie.forEachPrefix(of: bytes[start...]) { length, id in
        offer(id, start, start + length, score + scores[Int(id)])
        if length == character { isKnown = true }
      }
      if !isKnown { offer(unknownID, start, start + character, score + unknownScore) }
      start += character
    }
    return best
  }
}

/// A trie over UTF-8 whose edges lie in one hash table: quick to build for hundreds of thousands of pieces.
struct PieceTrie: Sendable {
  private static let nodeBits: UInt64 = 28
  private static let free = UInt64.max

  /// Open addressing. An edge is its key, `node << 8 | byte`, above the `nodeBits` of the node it leads to.
  private var edges: [UInt64]
  /// The id of the piece that ends at each node; -1 for none. Node 0 is the root.
  private var ids: [Int32] = [-1]
  private var mask: Int

  init(expectedPieces: Int) {
    var capacity = 64
    while capacity < expectedPieces * 8 { capacity *= 2 }
    edges = [UInt64](repeating: Self.free, count: capacity)
    mask = capacity - 1
  }

  private static func key(_ node: Int, _ byte: UInt8) -> UInt64 {
    UInt64(node) << 8 | UInt64(byte)
  }

  private static func target(_ edge: UInt64) -> Int {
    Int(edge & (1 << nodeBits - 1))
  }

  /// Where the edge of `key` is, or the free place where it belongs.
  private func slot(_ key: UInt64) -> Int {
    var slot = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask
    while edges[slot] >> Self.nodeBits != key, edges[slot] != Self.free { slot = (slot + 1) & mask }
    return slot
  }

  private func child(of node: Int, _ byte: UInt8) -> Int? {
    let edge = edges[slot(Self.key(node, byte))]
    return edge == Self.free ? nil : Self.target(edge)
  }

  mutating func insert(_ piece: some Sequence<UInt8>, id: Int32) {
    var node = 0
    for byte in piece {
      let key = Self.key(node, byte)
      let slot = slot(key)
      if edges[slot] == Self.free {
        node = ids.count
        edges[slot] = key << Self.nodeBits | UInt64(node)
        ids.append(-1)
        if ids.count * 2 > edges.count { grow() }
      } else {
        node = Self.target(edges[slot])
      }
    }
    if node > 0 { ids[node] = id }
  }

  private mutating func grow() {
    let old = edges
    edges = [UInt64](repeating: Self.free, count: old.count * 2)
    mask = edges.count - 1
    for edge in old where edge != Self.free { edges[slot(edge >> Self.nodeBits)] = edge }
  }

  func id(of piece: some Sequence<UInt8>) -> Int32? {
    var node = 0
    for byte in piece {
      guard let next = child(of: node, byte) else { return nil }
      node = next
    }
    return ids[node] < 0 ? nil : ids[node]
  }

  /// Calls `body` with the length and id of each piece that `text` begins with, the shortest first.
  func forEachPrefix(of text: ArraySlice<UInt8>, _ body: (Int, Int32) -> Void) {
    var node = 0
    for (offset, byte) in text.enumerated() {
      guard let next = child(of: node, byte) else { return }
      node = next
      if ids[node] >= 0 { body(offset + 1, ids[node]) }
    }
  }
}

import Basics

/// One of the single-byte encodings that UTF-8 text is commonly misread in.
struct SingleByteCodec: Sendable {
  let name: Name
  /// The scalars of bytes 0x80 to 0xFF.
  private let upperHalf: [UInt32]
  private let bytes: [UInt32: UInt8]

  enum Name: String, CaseIterable, Sendable {
    case latin1, windows1252, windows1251, windows1250, windows1253, windows1254, windows1257, latin2, macRoman, cp437
  }

  /// A "sloppy" codec maps the bytes that its encoding leaves open to the scalars of the same number, and byte 0x1A to
  /// U+FFFD, so that a character already lost is carried along.
  var isSloppy: Bool {
    switch name {
    case .windows1252, .windows1251, .windows1250, .windows1253, .windows1254, .windows1257: true
    case .latin1, .latin2, .macRoman, .cp437: false
    }
  }

  private static let substitute: UInt8 = 0x1A
  private static let replacement: UInt32 = 0xFFFD

  private init(_ name: Name) {
    self.name = name
    upperHalf = ScalarSet.values(in: Self.tables[name.rawValue] ?? "")
    precondition(self.upperHalf.count == 128, "the table of \(name) has \(self.upperHalf.count) entries")
    bytes = Dictionary(uniqueKeysWithValues: self.upperHalf.enumerated().map { ($1, UInt8(0x80 + $0)) })
  }

  /// `text` in this encoding, or nil if a character has no place in it.
  func encode(_ text: [UInt32]) -> [UInt8]? {
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    for scalar in text {
      if scalar < 0x80 {
        if isSloppy, scalar == UInt32(Self.substitute) { return nil }
        result.append(UInt8(scalar))
      } else if let byte = bytes[scalar] {
        result.append(byte)
      } else if isSloppy, scalar == Self.replacement {
        result.append(Self.substitute)
      } else {
        return nil
      }
    }
    return result
  }

  /// What a byte means in this encoding.
  func scalar(for byte: UInt8) -> UInt32 {
    byte < 0x80 ? UInt32(byte) : upperHalf[Int(byte) - 0x80]
  }
}

extension SingleByteCodec {
  /// All of them, in the order in which a misreading is tried.
  static let all = Name.allCases.map { SingleByteCodec($0) }

  static let latin1 = SingleByteCodec(.latin1)
  static let windows1252 = SingleByteCodec(.windows1252)

  /// What bytes 0x80 to 0xFF mean in each encoding, in hexadecimal; `first-last` stands for a run. In the file the scalars stand
  /// indented under the encoding's name.
  private static let tables: [String: String] = {
    var tables: [String: String] = [:]
    var name = ""
    for line in String(decoding: PackageResources.encodings_txt, as: UTF8.self).split(separator: "\n") {
      if line.hasPrefix(" ") { tables[name, default: ""] += line } else { name = String(line) }
    }
    return tables
  }()
}

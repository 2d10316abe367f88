/// One of the single-byte encodings that UTF-8 text is commonly misread in.
struct SingleByteCodec: Sendable {
  let name: Name
  /// The scalars of bytes 0x80 to 0xFF.
  private let upperHalf: [UInt32]
  private let bytes: [UInt32: UInt8]

  enum Name: Sendable {
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

  /// - Parameter upperHalf: what bytes 0x80 to 0xFF mean, in hexadecimal. `first-last` stands for a run.
  private init(_ name: Name, _ upperHalf: String) {
    self.name = name
    self.upperHalf = ScalarSet.values(in: upperHalf)
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
  static let all = [
    latin1, windows1252, windows1251, windows1250, windows1253, windows1254, windows1257, latin2, macRoman, cp437,
  ]

  static let latin1 = SingleByteCodec(
    .latin1,
    """
    80-FF
    """)

  static let windows1252 = SingleByteCodec(
    .windows1252,
    """
    20AC 81 201A 192 201E 2026 2020 2021 2C6 2030 160 2039 152 8D 17D 8F 90 2018 2019 201C 201D 2022 2013 2014 2DC
    2122 161 203A 153 9D 17E 178 A0-FF
    """)

  static let windows1251 = SingleByteCodec(
    .windows1251,
    """
    402 403 201A 453 201E 2026 2020 2021 20AC 2030 409 2039 40A 40C 40B 40F 452 2018 2019 201C 201D 2022 2013 2014
    98 2122 459 203A 45A 45C 45B 45F A0 40E 45E 408 A4 490 A6 A7 401 A9 404 AB-AE 407 B0 B1 406 456 491 B5-B7 451
    2116 454 BB 458 405 455 457 410-44F
    """)

  static let windows1250 = SingleByteCodec(
    .windows1250,
    """
    20AC 81 201A 83 201E 2026 2020 2021 88 2030 160 2039 15A 164 17D 179 90 2018 2019 201C 201D 2022 2013 2014 98
    2122 161 203A 15B 165 17E 17A A0 2C7 2D8 141 A4 104 A6-A9 15E AB-AE 17B B0 B1 2DB 142 B4-B8 105 15F BB 13D 2DD
    13E 17C 154 C1 C2 102 C4 139 106 C7 10C C9 118 CB 11A CD CE 10E 110 143 147 D3 D4 150 D6 D7 158 16E DA 170 DC DD
    162 DF 155 E1 E2 103 E4 13A 107 E7 10D E9 119 EB 11B ED EE 10F 111 144 148 F3 F4 151 F6 F7 159 16F FA 171 FC FD
    163 2D9
    """)

  static let windows1253 = SingleByteCodec(
    .windows1253,
    """
    20AC 81 201A 192 201E 2026 2020 2021 88 2030 8A 2039 8C-90 2018 2019 201C 201D 2022 2013 2014 98 2122 9A 203A
    9C-A0 385 386 A3-AE 2015 B0-B3 384 B5-B7 388-38A BB 38C BD 38E-3A1 D2 3A3-3CE FF
    """)

  static let windows1254 = SingleByteCodec(
    .windows1254,
    """
    20AC 81 201A 192 201E 2026 2020 2021 2C6 2030 160 2039 152 8D-90 2018 2019 201C 201D 2022 2013 2014 2DC 2122 161
    203A 153 9D 9E 178 A0-CF 11E D1-DC 130 15E DF-EF 11F F1-FC 131 15F FF
    """)

  static let windows1257 = SingleByteCodec(
    .windows1257,
    """
    20AC 81 201A 83 201E 2026 2020 2021 88 2030 8A 2039 8C A8 2C7 B8 90 2018 2019 201C 201D 2022 2013 2014 98 2122
    9A 203A 9C AF 2DB 9F-A7 D8 A9 156 AB-AE C6 B0-B7 F8 B9 157 BB-BE E6 104 12E 100 106 C4 C5 118 112 10C C9 179 116
    122 136 12A 13B 160 143 145 D3 14C D5-D7 172 141 15A 16A DC 17B 17D DF 105 12F 101 107 E4 E5 119 113 10D E9 17A
    117 123 137 12B 13C 161 144 146 F3 14D F5-F7 173 142 15B 16B FC 17C 17E 2D9
    """)

  static let latin2 = SingleByteCodec(
    .latin2,
    """
    80-A0 104 2D8 141 A4 13D 15A A7 A8 160 15E 164 179 AD 17D 17B B0 105 2DB 142 B4 13E 15B 2C7 B8 161 15F 165 17A
    2DD 17E 17C 154 C1 C2 102 C4 139 106 C7 10C C9 118 CB 11A CD CE 10E 110 143 147 D3 D4 150 D6 D7 158 16E DA 170
    DC DD 162 DF 155 E1 E2 103 E4 13A 107 E7 10D E9 119 EB 11B ED EE 10F 111 144 148 F3 F4 151 F6 F7 159 16F FA 171
    FC FD 163 2D9
    """)

  static let macRoman = SingleByteCodec(
    .macRoman,
    """
    C4 C5 C7 C9 D1 D6 DC E1 E0 E2 E4 E3 E5 E7 E9 E8 EA EB ED EC EE EF F1 F3 F2 F4 F6 F5 FA F9 FB FC 2020 B0 A2 A3 A7
    2022 B6 DF AE A9 2122 B4 A8 2260 C6 D8 221E B1 2264 2265 A5 B5 2202 2211 220F 3C0 222B AA BA 3A9 E6 F8 BF A1 AC
    221A 192 2248 2206 AB BB 2026 A0 C0 C3 D5 152 153 2013 2014 201C 201D 2018 2019 F7 25CA FF 178 2044 20AC 2039
    203A FB01 FB02 2021 B7 201A 201E 2030 C2 CA C1 CB C8 CD-CF CC D3 D4 F8FF D2 DA DB D9 131 2C6 2DC AF 2D8-2DA B8
    2DD 2DB 2C7
    """)

  static let cp437 = SingleByteCodec(
    .cp437,
    """
    C7 FC E9 E2 E4 E0 E5 E7 EA EB E8 EF EE EC C4 C5 C9 E6 C6 F4 F6 F2 FB F9 FF D6 DC A2 A3 A5 20A7 192 E1 ED F3 FA
    F1 D1 AA BA BF 2310 AC BD BC A1 AB BB 2591-2593 2502 2524 2561 2562 2556 2555 2563 2551 2557 255D 255C 255B 2510
    2514 2534 252C 251C 2500 253C 255E 255F 255A 2554 2569 2566 2560 2550 256C 2567 2568 2564 2565 2559 2558 2552
    2553 256B 256A 2518 250C 2588 2584 258C 2590 2580 3B1 DF 393 3C0 3A3 3C3 B5 3C4 3A6 398 3A9 3B4 221E 3C6 3B5
    2229 2261 B1 2265 2264 2320 2321 F7 2248 B0 2219 B7 221A 207F B2 25A0 A0
    """)
}

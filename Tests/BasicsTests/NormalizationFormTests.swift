import Basics
import Testing

@Suite struct NormalizationFormTests {
  @Test(
    arguments: [
      // A third Hangul letter joins a composed syllable, letters just outside the composing ranges do not.
      ([0xD2B8, 0x11B0], [0xD2C1]),
      ([0xCDB0, 0x11C3], [0xCDB0, 0x11C3]),
      ([0x1113, 0x1172], [0x1113, 0x1172]),
      ([0x1112, 0x1161, 0x11AB], [0xD55C]),
      // A mark after an ideograph is no mark after the letter with the same low bits.
      ([0x20067, 0x306], [0x20067, 0x306]),
      // Marks are put in order, and one of the same class between keeps a mark from its letter.
      ([0x75, 0x308, 0x304], [0x1D6]),
      ([0x61, 0x301, 0x323], [0x1EA1, 0x301]),
      ([0x61, 0x327, 0x30A], [0xE5, 0x327]),
      ([0x61, 0x315, 0x300], [0xE0, 0x315]),
      ([0x61, 0x305, 0x300], [0x61, 0x305, 0x300]),
      // Excluded from composition.
      ([0x958], [0x915, 0x93C]),
      ([0x212A], [0x4B]),
    ] as [([UInt32], [UInt32])])
  func `Composition follows Unicode`(scalars: [UInt32], expected: [UInt32]) {
    #expect(NormalizationForm.c.apply(to: String(scalarValues: scalars)).scalarValues == expected)
  }

  @Test func `Compatibility forms take characters apart`() {
    #expect(NormalizationForm.kc.apply(to: "ﬁ①Ａ").scalarValues == "fi1A".scalarValues)
    #expect(NormalizationForm.kd.apply(to: "é").scalarValues == [0x65, 0x301])
  }
}

import Basics
import Testing

@Suite struct TextTests {
  @Test func `a misspelt key is told with the one that is near`() {
    #expect(
      unknownKeyText("a.headdim", known: ["headDim", "width"]) == "unknown key 'a.headdim'; did you mean 'headDim'?")
    #expect(unknownKeyText("colour", known: ["width", "fps"]) == "unknown key 'colour'; known are 'fps', 'width'")
    #expect(
      unknownKeyText(in: ["fps", "widt"], known: ["width", "fps"]) == "unknown key 'widt'; did you mean 'width'?")
    #expect(unknownKeyText(in: ["fps"], known: ["width", "fps"]) == nil)
  }

  @Test func `numbers and lists are written as people write them`() {
    #expect([0, 61, 3750.4].map(timeText) == ["0:00", "1:01", "1:02:30"])
    #expect([999, 5_700_000_000].map(byteText) == ["999 bytes", "5.7 GB"])
    #expect([1_421_187_232, -12, -1234].map(grouped) == ["1,421,187,232", "-12", "-1,234"])
    #expect([[], ["a"], ["a", "b"], ["a", "b", "c"]].map(listed) == ["", "a", "a and b", "a, b and c"])
  }
}

@Suite struct SeededRandomTests {
  /// The first numbers of the authors' splitmix64.c for the seed 0.
  @Test func `the numbers are SplitMix64's`() {
    var random = SeededRandom(seed: 0)
    #expect(
      (0..<3).map { _ in random.next() } == [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F])
  }

  @Test func `each use of a seed has numbers of its own`() {
    var numbers = [SeededRandom(seed: 1), SeededRandom(seed: 1, [0]), SeededRandom(seed: 1, [], "eyes")]
    #expect(Set(numbers.indices.map { numbers[$0].next() }).count == 3)
  }
}

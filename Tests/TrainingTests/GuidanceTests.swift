import Generation
import Testing
import Torch

@testable import Training

@Suite struct GuidanceTests {
  private let conditions = tinyConditions(1, 2, latentFrames: 3)
  private let negative = RandomGenerator(seed: 3).normal([1, 5, TinyModel.textDim])

  /// The guided prediction, and the passes it took, by what they were told.
  private func guided(_ guidance: Guidance) -> (value: Tensor, passes: [String]) {
    var passes: [String] = []
    let value = guidance.combine(
      guidance.branches(conditions, negativeText: negative) { given in
        let isNegative = given.text.equals(negative.expand(2, 5, TinyModel.textDim))
        let isSilent = given.audioFeatures.abs().max().item == 0
        #expect(given.referenceLatent.equals(conditions.referenceLatent))
        #expect(isNegative || given.text.equals(conditions.text))
        #expect(isSilent || given.audioFeatures.equals(conditions.audioFeatures))
        passes.append((isNegative ? "negative" : "text") + (isSilent ? "" : " and sound"))
        return Tensor([isNegative ? 1 : 3, isSilent ? 2 : 7] as [Double])
      })
    return (value, passes)
  }

  @Test func `equal scales need two passes, and mean one more in the published code`() {
    let paper = guided(.paper)
    #expect(paper.passes == ["text and sound", "negative"])
    // 1 + 6 · (3 - 1), 2 + 6 · (7 - 2)
    #expect(paper.value.array(Double.self) == [13, 32])
    let literal = guided(Guidance(text: 5, audio: 5, convention: .literal))
    #expect(literal.passes == paper.passes && literal.value.array(Double.self) == [13, 32])
    #expect(guided(Guidance(text: 5, audio: 5)).value.array(Double.self) == [11, 27])
  }

  @Test(arguments: Guidance.Convention.allCases)
  func `different scales need three passes, and mean the same in both conventions`(convention: Guidance.Convention) {
    let result = guided(Guidance(text: 3, audio: 5, convention: convention))
    #expect(result.passes == ["text and sound", "text", "negative"])
    // Text: 1 + 3 · (3 - 1); sound: 2 + 5 · (7 - 2).
    #expect(result.value.array(Double.self) == [7, 27])
  }

  @Test func `no guidance needs one pass`() {
    for none in [Guidance.none, Guidance(text: 0, audio: 0, convention: .literal)] {
      let result = guided(none)
      #expect(result.passes == ["text and sound"] && result.value.array(Double.self) == [3, 7] && !none.isOn)
    }
    // What means none in one convention is guidance in the other.
    #expect(guided(Guidance(text: 0, audio: 0)).value.array(Double.self) == [1, 2])
    #expect(guided(Guidance(text: 1, audio: 1, convention: .literal)).value.array(Double.self) == [5, 12])
  }

  @Test func `guidance by sound alone needs no pass without text`() {
    let result = guided(Guidance(text: 1, audio: 2))
    #expect(result.passes == ["text and sound", "text"])
    // 2 + 2 · (7 - 2): the negative text cancels.
    #expect(result.value.array(Double.self) == [3, 12])
    #expect(guided(Guidance(text: 1, audio: 2, convention: .literal)).passes.count == 3)
  }
}

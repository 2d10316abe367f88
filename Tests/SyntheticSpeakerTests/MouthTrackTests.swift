import Testing

@testable import SyntheticSpeaker

@Suite struct MouthTrackTests {
  private func track(_ symbols: [String], each seconds: Double = 0.1) -> (MouthTrack, [Phoneme]) {
    var phonemes = [Phoneme(symbol: "_", start: 0, end: 0.4)]
    for symbol in symbols {
      let start = phonemes[phonemes.count - 1].end
      phonemes.append(Phoneme(symbol: symbol, start: start, end: start + seconds))
    }
    let end = phonemes[phonemes.count - 1].end
    phonemes.append(Phoneme(symbol: "_", start: end, end: end + 0.4))
    return (MouthTrack(phonemes), phonemes)
  }

  @Test(arguments: ["p", "b", "m"]) func `Lips meet on p, b and m, whatever is around them`(symbol: String) {
    for seconds in [0.02, 0.06, 0.12] {
      let (track, phonemes) = track(["ɑː", symbol, "aɪ"], each: seconds)
      let closure = phonemes[2]
      #expect(track.shape(at: (closure.start + closure.end) / 2).open < 1e-9)
      // The picture in whose time it is shows it, however short it is.
      let frame = Int((closure.start + closure.end) / 2 * 16)
      #expect(track.shape(from: Double(frame) / 16, to: Double(frame + 1) / 16).open < 1e-9)
    }
  }

  @Test func `The mouth is wide open on a`() {
    let (track, phonemes) = track(["t", "ɑː", "t"], each: 0.16)
    #expect(track.shape(at: (phonemes[2].start + phonemes[2].end) / 2).open > 0.8)
  }

  @Test func `The mouth is closed in silence`() {
    let (track, _) = track(["a", "i", "a"])
    for time in [0.0, 0.1, 0.2, 0.3, 0.82, 0.9, 1.0] { #expect(track.shape(at: time).open < 0.01, "\(time)") }
  }

  @Test func `Lips are round on u and o and spread on i`() {
    func middle(_ symbol: String) -> MouthShape {
      let (track, phonemes) = track([symbol], each: 0.2)
      return track.shape(at: (phonemes[1].start + phonemes[1].end) / 2)
    }
    #expect(middle("uː").round > 0.7 && middle("oː").round > 0.5 && middle("iː").round < 0.05)
    #expect(middle("iː").width > 0.75 && middle("uː").width < 0.2)
    #expect(middle("s").teeth > 0.7 && middle("θ").tongue > 0.6)
  }

  @Test func `Movements have no jumps`() {
    let (track, phonemes) = track(["h", "ɛ", "l", "oʊ", "m", "a", "p", "s"])
    let step = 0.002
    var last = track.shape(at: 0)
    for index in 1..<Int(phonemes[phonemes.count - 1].end / step) {
      let next = track.shape(at: Double(index) * step)
      #expect(abs(next.open - last.open) < 0.09 && abs(next.width - last.width) < 0.09)
      last = next
    }
  }

  @Test func `Diphthongs and affricates are taken apart`() {
    #expect(Viseme.sequence(of: "oʊ") == [.oo, .uu])
    #expect(Viseme.sequence(of: "aɪ") == [.aa, .ii])
    #expect(Viseme.sequence(of: "tʃ") == [.ch])
    #expect(Viseme.sequence(of: "ɑː") == [.aa])
    #expect(Viseme.sequence(of: "ɔ̃") == [.oo])
    #expect(Viseme.sequence(of: "_") == [.silence])
    #expect(Viseme.sequence(of: "??") == [.hh])
  }
}

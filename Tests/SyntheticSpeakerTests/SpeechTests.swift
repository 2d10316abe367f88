import Basics
import Testing

@testable import SyntheticSpeaker

@Suite struct SpeechTests {
  private let text = "Mama, a big map. Hello there!"

  @Test func `What was spoken before changes nothing`() throws {
    let first = try Speech(text: text, voice: "en-us")
    _ = try Speech(text: "Guten Morgen, wie geht es dir?", voice: "de+f2", rate: 200, pitch: 80)
    let second = try Speech(text: text, voice: "en-us")
    #expect(first.samples == second.samples)
    #expect(first.phonemes == second.phonemes)
    #expect(first.samples.contains { abs($0) > 0.05 })
  }

  @Test func `Texts spoken at the same time are as they are alone`() async throws {
    let alone = try Speech(text: text, voice: "en-us").samples
    let all = try await withThrowingTaskGroup(of: [Float].self) { group in
      for _ in 0..<4 { group.addTask { try Speech(text: "Mama, a big map. Hello there!", voice: "en-us").samples } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(all.count == 4 && all.allSatisfy { $0 == alone })
  }

  @Test(arguments: Language.allCases) func `Phonemes are gapless from 0 to the end`(language: Language) throws {
    var random = SeededRandom(seed: 3)
    for voice in Set(language.voices) {
      let speech = try Speech(
        text: language.sentences(atLeast: 120, using: &random).joined(separator: " "), voice: voice)
      #expect(speech.phonemes.first?.start == 0)
      #expect(speech.phonemes.last?.end == speech.seconds)
      for (one, next) in zip(speech.phonemes, speech.phonemes.dropFirst()) {
        #expect(one.end == next.start && one.end > one.start)
        #expect(!(one.isSilence && next.isSilence))
      }
      // Letters that no table knows would all look like "h".
      let unknown = speech.phonemes.filter { Viseme.sequence(of: $0.symbol) == [.hh] && !"hɦ".contains($0.symbol) }
      #expect(unknown.isEmpty, "\(unknown.map(\.symbol))")
    }
  }

  @Test func `Sounds are where the phonemes say`() throws {
    let speech = try Speech(text: "Pa. Pa. Pa.", voice: "de")
    func loudness(_ start: Double, _ end: Double) -> Float {
      let part = speech.samples[Int(start * 16_000)..<Int(end * 16_000)]
      return part.reduce(0) { $0 + $1 * $1 } / Float(max(part.count, 1))
    }
    let vowels = speech.phonemes.filter { $0.viseme == .aa }
    let pauses = speech.phonemes.filter { $0.isSilence && $0.end - $0.start > 0.1 }
    #expect(vowels.count == 3 && !pauses.isEmpty)
    let quietest = vowels.map { loudness($0.start, $0.end) }.min() ?? 0
    for pause in pauses { #expect(loudness(pause.start + 0.05, pause.end) < quietest / 100) }
  }

  @Test func `A higher rate is shorter, another pitch is another sound`() throws {
    let slow = try Speech(text: text, voice: "en-us", rate: 120)
    let fast = try Speech(text: text, voice: "en-us", rate: 200)
    #expect(fast.seconds < slow.seconds * 0.8)
    #expect(try Speech(text: text, voice: "en-us", rate: 120, pitch: 80).samples != slow.samples)
  }

  @Test func `A voice that is not there is named`() {
    let error = #expect(throws: LiveTalkError.self) { try Speech(text: "a", voice: "xx-nowhere") }
    #expect(error?.description.contains("xx-nowhere") == true)
  }

  @Test func `A warped voice is higher and as much shorter, with its sounds`() throws {
    let plain = try Speech(text: text, voice: "en-us")
    let warped = try Speech(text: text, voice: "en-us", warp: 1.25)
    #expect(abs(warped.seconds * 1.25 - plain.seconds) < 0.001 && warped.phonemes.count == plain.phonemes.count)
    for (one, other) in zip(plain.phonemes, warped.phonemes) { #expect(abs(other.end * 1.25 - one.end) < 0.001) }
  }

  @Test func `A text said after a pause keeps its sounds and words`() throws {
    let first = try Speech(text: "Hello there.", voice: "en-us")
    let second = try Speech(text: "Good morning.", voice: "en-us")
    var both = first
    both.append(second, after: 1, position: 13)
    #expect(abs(both.seconds - first.seconds - 1 - second.seconds) < 1e-4)
    #expect(both.phonemes.last?.end == both.seconds && both.words.map(\.position) == [0, 6, 13, 18])
    for (one, next) in zip(both.phonemes, both.phonemes.dropFirst()) { #expect(one.end == next.start) }
    let offset = first.seconds + 1
    for word in second.words { #expect(both.words.contains { abs($0.start - offset - word.start) < 1e-4 }) }
    // Cut within the pause, all of the first sentence is heard.
    let clip = SpokenClip(both, text: "Hello there. Good morning.", count: Int((first.seconds + 0.7) * 16_000), lead: 0)
    #expect(clip.text == "Hello there.")
  }

  @Test func `A clip ends with whole words and silence`() throws {
    let speech = try Speech(text: text, voice: "en-us")
    for count in [4_000, 16_000, 32_000, 160_000] {
      let clip = SpokenClip(speech, text: text, count: count, lead: 1_000)
      let seconds = Double(count) / 16_000
      #expect(clip.samples.count == count)
      #expect(clip.phonemes.first == Phoneme(symbol: "_", start: 0, end: clip.phonemes[0].end))
      #expect(clip.phonemes.last?.end == seconds && clip.phonemes.last?.isSilence == true)
      for (one, next) in zip(clip.phonemes, clip.phonemes.dropFirst()) { #expect(one.end == next.start) }
      #expect(text.hasPrefix(clip.text) && !clip.text.isEmpty)
      // A pause of the speech may fade into it, so that not all of the last phoneme is zero.
      let tail = Int(min(0.12, seconds / 4) * 16_000)
      #expect(clip.samples.suffix(tail).allSatisfy { $0 == 0 })
      #expect((clip.phonemes.last?.start ?? 1) <= seconds - Double(tail) / 16_000 + 1e-9)
    }
    #expect(SpokenClip(speech, text: text, count: 160_000, lead: 0).text == text)
    #expect(SpokenClip(speech, text: text, count: 16_000, lead: 0).text.hasPrefix("Mama, a"))
  }
}

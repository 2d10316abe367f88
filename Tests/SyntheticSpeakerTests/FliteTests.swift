import Basics
import Foundation
import Testing

@testable import SyntheticSpeaker

@Suite struct FliteTests {
  private let text = "My father bought a big boat. Why did she move the chair?"

  @Test(arguments: ["awb", "kal16", "rms", "slt"]) func `Phones are gapless and every phrase is spoken`(name: String)
    throws
  {
    let phrases = Language.english.phrases
    var heard: Set<String> = []
    var timed = 0
    let step = 15
    for first in stride(from: 0, to: phrases.count, by: step) {
      let text = phrases[first..<min(first + step, phrases.count)].joined(separator: " ")
      let speech = try Speech(text: text, voice: FliteVoice(name: name, warp: 1.1), rate: 190)
      #expect(speech.phonemes.first?.start == 0 && speech.phonemes.last?.end == speech.seconds)
      for (one, next) in zip(speech.phonemes, speech.phonemes.dropFirst()) {
        #expect(one.end == next.start && one.end > one.start)
      }
      for (word, next) in zip(speech.words, speech.words.dropFirst()) {
        #expect(next.start > word.start && next.position > word.position)
      }
      if speech.words.count == text.split(separator: " ").count { timed += 1 }
      heard.formUnion(speech.phonemes.map(\.symbol))
    }
    #expect(timed >= 8, "\(timed) of 10")
    // All phones of the common set are heard.
    let rare: Set = ["axr", "dx", "el", "em", "en", "hv", "nx", "brth", "h#"]
    let common = Set(Flite.symbols.filter { !rare.contains($0.key) }.values)
    #expect(common.subtracting(heard).isEmpty, "\(common.subtracting(heard))")
    let unknown = heard.filter { Viseme.sequence(of: $0) == [.hh] && $0 != "h" }
    #expect(unknown.isEmpty)
  }

  @Test(arguments: ["awb", "kal16", "rms", "slt"]) func `Vowels are loud and pauses are quiet where the phones say`(
    name: String
  ) throws {
    for (rate, warp) in [(150, 1.0), (200, 1.15)] {
      let speech = try Speech(text: text, voice: FliteVoice(name: name, pitch: 140, warp: warp), rate: rate)
      func power(_ phoneme: Phoneme) -> Float {
        let part = speech.samples[Int(phoneme.start * 16_000)..<Int(phoneme.end * 16_000)]
        return part.reduce(0) { $0 + $1 * $1 } / Float(max(part.count, 1))
      }
      let vowels = speech.phonemes.filter { [.aa, .ee, .ii, .oo, .uu].contains($0.viseme) && $0.symbol != "w" }.map(
        power)
      let pauses = speech.phonemes.filter(\.isSilence).map(power)
      let mean = vowels.reduce(0, +) / Float(vowels.count)
      #expect(pauses.count == 3 && vowels.count > 10)
      for pause in pauses { #expect(pause < mean / 50, "\(pause), \(mean)") }
      #expect(vowels.filter { $0 > mean / 10 }.count >= vowels.count - 1)
    }
  }

  @Test func `The same text and voice give the same samples, also at the same time`() async throws {
    let voice = FliteVoice(name: "slt", pitch: 200, warp: 1.05)
    let alone = try Speech(text: text, voice: voice, rate: 170)
    let all = try await withThrowingTaskGroup(of: Speech.self) { [text] group in
      for _ in 0..<4 { group.addTask { try Speech(text: text, voice: voice, rate: 170) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(all.count == 4 && all.allSatisfy { $0.samples == alone.samples && $0.phonemes == alone.phonemes })
    let higher = try Speech(text: text, voice: FliteVoice(name: "slt", pitch: 240, warp: 1.05), rate: 170)
    #expect(higher.samples != alone.samples)
    #expect(try Speech(text: text, voice: voice, rate: 120).seconds > alone.seconds * 1.3)
  }

  @Test func `Words begin with their first sound`() throws {
    let speech = try Speech(text: "My big boat.", voice: FliteVoice(), rate: 170)
    #expect(speech.words.map(\.position) == [0, 3, 7])
    for (word, symbol) in zip(speech.words, ["m", "b", "b"]) {
      #expect(speech.phonemes.first { $0.start == word.start }?.symbol == symbol)
    }
  }

  @Test func `An engine that is missing, fails or hangs is said in a sentence`() throws {
    func error(_ flite: Flite) -> String? {
      #expect(throws: LiveTalkError.self) { try Speech(text: text, voice: FliteVoice(), rate: 170, flite: flite) }?
        .description
    }
    #expect(error(Flite(program: "flite-of-nowhere"))?.contains("install flite") == true)
    #expect(error(Flite(program: "false"))?.contains("status 1") == true)
    // A file that is written now might be open in another test's child still, and could not be run.
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures/hangs")
    let start = ContinuousClock.now
    let late = error(Flite(program: script.path, longest: 0.3))
    #expect(late?.contains("more than 0.3 seconds") == true, "\(late ?? "")")
    #expect(ContinuousClock.now - start < .seconds(10))
  }

  @Test func `People have voices that suit them`() {
    var names: [Identity.Gender: Set<String>] = [:]
    for number in 0..<200 {
      let speaker = Speaker(seed: 3, number: number)
      let voice = speaker.voice.flite
      names[speaker.identity.gender, default: []].insert(voice.name)
      #expect(speaker.identity.gender == .woman ? voice.pitch >= 145 : voice.pitch <= 150 && voice.name != "slt")
    }
    #expect(names[.man] == ["awb", "kal16", "rms"] && names[.woman] == ["awb", "kal16", "slt"])
  }
}

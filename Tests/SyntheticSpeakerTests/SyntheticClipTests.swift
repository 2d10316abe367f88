import Basics
import Foundation
import Media
import Testing

@testable import SyntheticSpeaker

@Suite struct SyntheticClipTests {
  private func settings(seed: UInt64 = 7, augments: Bool = true, speakers: Int? = nil) throws -> ClipSettings {
    try ClipSettings(seed: seed, width: 64, height: 64, seconds: 2, augments: augments, speakers: speakers)
  }

  @Test func `The same seed and number give the same pictures, sound and truth`() throws {
    let (a, b) = (try SyntheticClip(settings(), number: 3), try SyntheticClip(settings(), number: 3))
    #expect(a.sound == b.sound)
    for frame in [0, 9, 31] { #expect(try a.render(frame) == b.render(frame)) }
    #expect(try a.truth(a.portrait()).encoded() == b.truth(b.portrait()).encoded())
    #expect(try a.reference() == b.reference())
  }

  @Test func `Another seed or number gives another clip`() throws {
    let clip = try SyntheticClip(settings(), number: 3)
    for other in [try SyntheticClip(settings(), number: 4), try SyntheticClip(settings(seed: 8), number: 3)] {
      #expect(other.sound != clip.sound && other.speaker != clip.speaker && other.states != clip.states)
    }
  }

  @Test func `Truth is what the file holds`() throws {
    let clip = try SyntheticClip(settings(), number: 1)
    let truth = try clip.truth(clip.portrait())
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("truth-\(UUID().uuidString).json")
    defer { try? FileManager.default.removeItem(at: file) }
    try truth.encoded().write(to: file)
    #expect(try Truth(contentsOf: file) == truth)
    #expect(truth.frames.map(\.state) == clip.states)
    // Drawn from the file's numbers, the picture is the same.
    let again = try Portrait(Truth(contentsOf: file).identity, width: 64, height: 64)
    #expect(try again.render(truth.frames[17].state) == clip.render(17))
    try Data("{\"version\": 1".utf8).write(to: file)
    #expect(throws: LiveTalkError.self) { try Truth(contentsOf: file) }
  }

  @Test func `Phonemes end with the clip and rule the mouth`() throws {
    for number in 0..<10 {
      let clip = try SyntheticClip(settings(), number: number)
      let isSpoken = clip.spoken.phonemes.contains { !$0.isSilence }
      #expect(clip.sound.samples.count == 32_000 && clip.states.count == 32)
      #expect(clip.spoken.phonemes.last?.end == 2)
      #expect(clip.states.contains { $0.mouthOpen > 0.35 } == isSpoken)
      for closure in clip.spoken.phonemes where closure.viseme == .pp {
        let frame = Int((closure.start + closure.end) / 2 * 16)
        #expect(clip.states[frame].mouthOpen == 0, "\(closure)")
      }
      for rest in clip.spoken.phonemes where rest.isSilence && rest.end - rest.start > 0.3 {
        #expect(clip.states[Int((rest.start + rest.end) / 2 * 16)].mouthOpen < 0.02)
      }
    }
  }

  @Test func `Sounds are worked on only where that is wanted`() throws {
    let plain = try SyntheticClip(settings(augments: false), number: 2)
    #expect(plain.sound.samples == plain.spoken.samples)
    #expect(try plain.truth(plain.portrait()).augmentation == .none)
    var kinds: Set<String> = []
    for number in 0..<12 {
      let clip = try SyntheticClip(settings(), number: number)
      let augmentation = try clip.truth(clip.portrait()).augmentation
      kinds.insert("\(augmentation.filter) \(augmentation.noise) \(augmentation.roomSeconds > 0)")
      #expect(clip.sound.samples != clip.spoken.samples && clip.sound.samples.allSatisfy { abs($0) <= 1 })
      #expect(clip.sound.samples == augmentation.applied(to: clip.spoken.samples, sampleRate: 16_000))
    }
    #expect(kinds.count > 3)
  }

  @Test func `Noise has the loudness that is recorded`() throws {
    var augmentation = SoundAugmentation()
    let tone = (0..<16_000).map { Float(0.2 * sin(Double($0) * 0.1)) }
    func loudness(_ samples: [Float]) -> Float { samples.reduce(0) { $0 + $1 * $1 } }
    for noise in SoundAugmentation.Noise.allCases where noise != .none {
      (augmentation.noise, augmentation.signalToNoise) = (noise, 12)
      let rest = zip(augmentation.applied(to: tone, sampleRate: 16_000), tone).map { $0 - $1 }
      #expect(abs(10 * log10(loudness(tone) / loudness(rest)) - 12) < 0.05)
    }
    augmentation = SoundAugmentation()
    augmentation.gain = -6
    #expect(abs(10 * log10(loudness(augmentation.applied(to: tone, sampleRate: 16_000)) / loudness(tone)) + 6) < 0.01)
  }

  @Test func `Some clips are silent, with noise and closed lips, and some have a pause`() throws {
    let settings = try ClipSettings(seed: 5, width: 64, height: 64, seconds: 3.5, languages: [.english, .french])
    var (silent, paused) = (0, 0)
    for number in 0..<80 {
      let clip = try SyntheticClip(settings, number: number)
      #expect(clip.sound.samples.contains { $0 != 0 })
      if clip.spoken.text.isEmpty {
        silent += 1
        #expect(clip.spoken.phonemes == [Phoneme(symbol: "_", start: 0, end: 3.5)])
        #expect(clip.states.allSatisfy { $0.mouthOpen == 0 } && clip.caption.hasSuffix(" without speaking."))
      } else if clip.spoken.phonemes.dropFirst().dropLast().contains(where: { $0.isSilence && $0.end - $0.start > 0.6 })
      {
        paused += 1
      }
    }
    #expect((1...12).contains(silent) && (7...30).contains(paused), "\(silent), \(paused)")
  }

  @Test func `English is spoken by the engines that are asked for, other languages by espeak-ng`() throws {
    func engines(_ languages: [Language], _ voices: [VoiceEngine]) throws -> [VoiceEngine?: Int] {
      let settings = try ClipSettings(width: 64, height: 64, seconds: 0.5, languages: languages, voices: voices)
      let truths = try (0..<24).map { number in
        let clip = try SyntheticClip(settings, number: number)
        return try clip.truth(clip.portrait())
      }
      for truth in truths where truth.engine == .flite {
        #expect(["awb", "kal16", "rms", "slt"].contains(truth.voice) && truth.language == .english)
        #expect(truth.identity.gender == .woman || truth.voice != "slt")
      }
      return truths.reduce(into: [:]) { $0[$1.engine, default: 0] += 1 }
    }
    #expect(try engines([.english], [.flite]) == [.flite: 24])
    #expect(try engines([.english], [.espeak]) == [.espeak: 24])
    #expect(try engines([.german], [.espeak, .flite]) == [.espeak: 24])
    #expect(try (5...19).contains(engines([.english], [.espeak, .flite])[.flite] ?? 0))
    #expect(throws: LiveTalkError.self) { try ClipSettings(languages: [.english, .german], voices: [.flite]) }
  }

  @Test func `A truth file without an engine is read`() throws {
    let clip = try SyntheticClip(settings(), number: 1)
    var object = try #require(
      JSONSerialization.jsonObject(with: clip.truth(clip.portrait()).encoded()) as? [String: Any])
    #expect(object.removeValue(forKey: "engine") != nil)
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("truth-\(UUID().uuidString).json")
    defer { try? FileManager.default.removeItem(at: file) }
    try JSONSerialization.data(withJSONObject: object).write(to: file)
    #expect(try Truth(contentsOf: file).engine == nil)
  }

  @Test func `A limited number of people come back with their looks and voices`() throws {
    let limited = try settings(speakers: 2)
    let clips = try (0..<4).map { try SyntheticClip(limited, number: $0) }
    #expect(clips[0].speaker == clips[2].speaker && clips[1].speaker == clips[3].speaker)
    #expect(clips[0].speaker != clips[1].speaker && clips[0].spoken.text != clips[2].spoken.text)
  }

  @Test func `Settings that cannot be are refused with a sentence`() throws {
    for (width, seconds, languages, speakers) in [
      (63, 2.0, Language.allCases, 1), (72, 2, Language.allCases, 1), (528, 2, Language.allCases, 1),
      (64, 0, Language.allCases, 1), (64, 61, Language.allCases, 1), (64, .nan, Language.allCases, 1), (64, 2, [], 1),
      (64, 2, Language.allCases, 0),
    ] {
      let error = #expect(throws: LiveTalkError.self) {
        try ClipSettings(width: width, height: 64, seconds: seconds, languages: languages, speakers: speakers)
      }
      #expect(error?.description.hasSuffix(".") == true)
    }
    #expect(try ClipSettings(width: 512, height: 64, seconds: 0.25).frames == 4)
  }
}

package import Basics
import Foundation
package import Media

/// A clip of a drawn person who speaks: sound, every picture's state, and the truth about both. Its pictures are drawn when
/// they are asked for.
package struct SyntheticClip: Sendable {
  package let settings: ClipSettings
  package let number: Int
  package let speaker: Speaker
  package let performance: Performance
  package let spoken: SpokenClip
  package let states: [FrameState]
  /// As it is heard: worked on where the settings say so.
  package let sound: Sound
  package let caption: String
  private let language: Language
  private let voiceName: String
  private let augmentation: SoundAugmentation

  /// Shares of clips in which nobody speaks, and in which sentences have pauses between them, where there is time for any.
  private static let (silentShare, pausedShare) = (0.06, 0.24)

  /// - Throws: `LiveTalkError` when the voice's engine cannot speak.
  package init(_ settings: ClipSettings, number: Int) throws {
    self.settings = settings
    self.number = number
    let speaker = Speaker(
      seed: settings.seed, number: settings.speakers.map { number % $0 } ?? number, engines: settings.voices)
    self.speaker = speaker
    var random = SeededRandom(seed: settings.seed, [number], "speech")
    let language = random.pick(settings.languages)
    self.language = language
    let voice = random.pick(language.voices)
    voiceName = speaker.voice.name(voice)
    // A little more than fits: what is too long is cut after a word.
    let letters = Int(settings.seconds * Double(speaker.voice.rate) * 0.13) + 8
    let sentences = language.sentences(atLeast: letters, using: &random)
    let lead = Int(random.number(0.08...0.3) * min(settings.seconds / 2, 1) * Double(Speech.sampleRate))
    var silences = SeededRandom(seed: settings.seed, [number], "silences")
    let kind = silences.unit()
    let isSilent = kind < Self.silentShare
    if isSilent {
      spoken = SpokenClip(silence: settings.samples)
    } else if kind < Self.silentShare + Self.pausedShare, settings.seconds >= 3 {
      spoken = try Self.paused(
        sentences, settings, lead: lead, using: &silences
      ) { try speaker.voice.speech($0, language, voice: voice) }
    } else {
      let text = sentences.joined(separator: " ")
      let speech = try speaker.voice.speech(text, language, voice: voice)
      spoken = SpokenClip(speech, text: text, count: settings.samples, lead: lead)
    }
    var acting = SeededRandom(seed: settings.seed, [number], "performance")
    performance = Performance(seconds: settings.seconds, using: &acting)
    states = performance.states(
      frames: settings.frames, framesPerSecond: ClipSettings.framesPerSecond, mouth: MouthTrack(spoken.phonemes))
    var acoustics = SeededRandom(seed: settings.seed, [number], "acoustics")
    augmentation = settings.augments ? SoundAugmentation(isSilent: isSilent, using: &acoustics) : .none
    sound = Sound(
      samples: augmentation.applied(to: spoken.samples, sampleRate: Speech.sampleRate), sampleRate: Speech.sampleRate)
    caption = Self.caption(speaker.identity, performance, isSilent ? nil : language)
  }

  /// Sentences with pauses of 0.5 to 1.5 s between them, the shortest first, so that a pause falls into the clip.
  private static func paused(
    _ sentences: [String], _ settings: ClipSettings, lead: Int, using random: inout SeededRandom,
    speech: (String) throws -> Speech
  ) throws -> SpokenClip {
    let sentences = sentences.sorted { $0.count < $1.count }
    var text = sentences[0]
    var whole = try speech(text)
    for sentence in sentences.dropFirst() where whole.seconds < settings.seconds {
      let position = text.unicodeScalars.count + 1
      whole.append(try speech(sentence), after: random.number(0.5...1.5), position: position)
      text += " " + sentence
    }
    return SpokenClip(whole, text: text, count: settings.samples, lead: lead)
  }

  /// A portrait to render this clip's states with, one for each thread.
  package func portrait() throws -> Portrait {
    try Portrait(speaker.identity, width: settings.width, height: settings.height)
  }

  /// One picture of the clip.
  package func render(_ frame: Int) throws -> Picture { try portrait().render(states[frame]) }

  /// The person at rest, looking into the camera.
  package func reference() throws -> Picture { try portrait().render(Speaker.rest) }

  package func truth(_ portrait: Portrait) -> Truth {
    Truth(
      seed: settings.seed, clip: number, speaker: speaker.name, settings: settings, language: language,
      voiceName: voiceName, voice: speaker.voice, spoken: spoken,
      frames: states.map { Truth.Frame(state: $0, landmarks: portrait.landmarks($0)) }, identity: speaker.identity,
      performance: performance, caption: caption, augmentation: augmentation)
  }

  /// "A young woman with glasses, smiling, nods slowly and looks left while speaking German."
  static func caption(_ identity: Identity, _ performance: Performance, _ language: Language?) -> String {
    let (expression, motions) = performance.phrases
    let action = motions.isEmpty ? "keeps the head still" : listed(motions)
    return
      "\(identity.phrase), \(expression), \(action) \(language.map { "while speaking \($0.name)" } ?? "without speaking")."
  }
}

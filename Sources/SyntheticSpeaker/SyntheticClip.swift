import Foundation
import Media

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

  /// - Throws: `SpeakerError` when the voice's engine cannot speak.
  package init(_ settings: ClipSettings, number: Int) throws {
    self.settings = settings
    self.number = number
    speaker = Speaker(
      seed: settings.seed, number: settings.speakers.map { number % $0 } ?? number, engines: settings.voices)
    var random = SeededRandom(seed: settings.seed, [number], "speech")
    language = random.pick(settings.languages)
    let voice = random.pick(language.voices)
    voiceName = speaker.voice.name(voice)
    // A little more than fits: what is too long is cut after a word.
    let letters = Int(settings.seconds * Double(speaker.voice.rate) * 0.13) + 8
    let text = language.sentences(atLeast: letters, using: &random).joined(separator: " ")
    let speech = try speaker.voice.speech(text, language, voice: voice)
    let lead = Int(random.number(0.08...0.3) * min(settings.seconds / 2, 1) * Double(Speech.sampleRate))
    spoken = SpokenClip(speech, text: text, count: settings.samples, lead: lead)
    var acting = SeededRandom(seed: settings.seed, [number], "performance")
    performance = Performance(seconds: settings.seconds, using: &acting)
    states = performance.states(
      frames: settings.frames, framesPerSecond: ClipSettings.framesPerSecond, mouth: MouthTrack(spoken.phonemes))
    var acoustics = SeededRandom(seed: settings.seed, [number], "acoustics")
    augmentation = settings.augments ? SoundAugmentation(using: &acoustics) : .none
    sound = Sound(
      samples: augmentation.applied(to: spoken.samples, sampleRate: Speech.sampleRate), sampleRate: Speech.sampleRate)
    caption = Self.caption(speaker.identity, performance, language)
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
  static func caption(_ identity: Identity, _ performance: Performance, _ language: Language) -> String {
    let (expression, motions) = performance.phrases
    let action = motions.isEmpty ? "keeps the head still" : listed(motions)
    return "\(identity.phrase), \(expression), \(action) while speaking \(language.name)."
  }
}

import SyntheticSpeaker
import Testing

@Suite struct SpeakerErrorTests {
  @Test func `An error says its sentence`() {
    #expect("\(SpeakerError("No voice."))" == "No voice.")
    #expect(SpeakerError("No voice.").localizedDescription == "No voice.")
  }
}

import Basics
import Foundation
import Media
import SyntheticSpeaker
import Testing

@Suite struct SpeakerErrorTests {
  @Test func `An error says its sentence`() {
    #expect("\(LiveTalkError("No voice."))" == "No voice.")
    #expect(LiveTalkError("No voice.").localizedDescription == "No voice.")
  }
}

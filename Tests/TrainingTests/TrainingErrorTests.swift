import Basics
import Foundation
import Testing
import Training

@Suite struct TrainingErrorTests {
  @Test func `An error says its sentence`() {
    #expect("\(LiveTalkError("No step."))" == "No step.")
    #expect(LiveTalkError("No step.").localizedDescription == "No step.")
  }
}

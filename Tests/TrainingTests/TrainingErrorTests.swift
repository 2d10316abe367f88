import Testing
import Training

@Suite struct TrainingErrorTests {
  @Test func `An error says its sentence`() {
    #expect("\(TrainingError("No step."))" == "No step.")
    #expect(TrainingError("No step.").localizedDescription == "No step.")
  }
}

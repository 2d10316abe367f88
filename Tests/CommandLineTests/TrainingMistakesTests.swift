import Foundation
import Testing

@Suite struct TrainingMistakesTests {
  @Test(arguments: ["vae", "audio", "teacher", "ode", "dmd"])
  func `a preset is shown without any folder`(stage: String) async throws {
    let shown = try await Tool.run("train", stage, "--config", "livetalk-1.3b.\(stage)", "--show-config")
    #expect(shown.status == 0 && shown.error.isEmpty)
    #expect(shown.text.contains("\"learningRate\""))
    let started = try await Tool.run("train", stage, "--config", "livetalk-1.3b.\(stage)")
    #expect(started.status == 1)
    #expect(started.complaints.count == 1 && started.error.contains("'run.data' must be a folder"))
  }

  @Test func `paths with quotes, spaces, backslashes and equals signs reach the configuration as they are`()
    async throws
  {
    let path = #"a "b" 'c'\n=d: #e"#
    let shown = try await Tool.run("train", "teacher", "--config", "tiny.teacher", "--out", path, "--show-config")
    let tree = try JSONSerialization.jsonObject(with: shown.output) as? [String: Any]
    #expect((tree?["run"] as? [String: Any])?["out"] as? String == path)
  }
}

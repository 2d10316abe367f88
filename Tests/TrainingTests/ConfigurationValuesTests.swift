import Foundation
import NN
import Testing

@testable import Training

/// Whatever a training's settings say, reading them throws one sentence or works: it never ends the process.
@Suite struct ConfigurationValuesTests {
  private static let values = [
    "-1", "0", "2000000000", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1e30", "1e400",
    "1.5", ".nan", ".inf",
    "-.inf", "text", "true", "null", "[]", "{}", "[-1]", "[9223372036854775807]", "[1e30]",
  ]
  /// Those that no whole number of settings can be.
  private static let impossible: Set<String> = [
    "-1", "-9223372036854775808", "9223372036854775807", "9223372036854775808", "1e30", "1.5", ".nan", ".inf", "-.inf",
    "text", "[]", "{}", "[-1]",
  ]

  /// The paths of all settings, and whether each is a whole number.
  private func paths(_ tree: Any, _ path: String = "") -> [(path: String, isWhole: Bool)] {
    guard let object = tree as? [String: Any] else {
      let isNumber = (tree as? NSNumber).map { !["c", "B"].contains(String(cString: $0.objCType)) } ?? false
      return [(path, isNumber && "\(tree)".allSatisfy(\.isNumber))]
    }
    return object.flatMap { paths($0.value, path.isEmpty ? $0.key : "\(path).\($0.key)") }
  }

  private func tryAll<C: TrainingConfiguration>(_ type: C.Type) throws {
    for (name, preset) in C.presets where name.hasPrefix("tiny.") {
      let tree = try JSONSerialization.jsonObject(with: JSONEncoder().encode(preset))
      let paths = paths(tree)
      #expect(paths.count > 5)
      for (path, _) in paths {
        for value in Self.values {
          // What is read without checks is checked: the one must not trap for what the other would refuse.
          let text = message { _ = try readConfiguration(C.self, preset: name, overrides: ["\(path)=\(value)"]) }
          _ = message {
            _ = try readConfiguration(C.self, preset: name, overrides: ["\(path)=\(value)"], isChecked: false)
          }
          let key = path.split(separator: ".").last ?? ""
          if Self.wholeKeys.contains(String(key)), Self.impossible.contains(value) {
            #expect(text.contains(path) || text.contains(String(key)), "\(name): \(path)=\(value): \(text)")
          }
        }
      }
    }
  }

  /// Settings that are whole numbers from 0 or 1.
  private static let wholeKeys: Set<String> = [
    "steps", "batch", "accumulation", "framesPerBlock", "warmupSteps", "startStep", "logEvery", "sampleEvery",
    "checkpointEvery",
    "keepCheckpoints", "latentFrames", "sampleSteps", "studentEvery", "hidden", "identityWidth", "solverSteps", "rank",
  ]

  @Test func `of the video autoencoder`() throws { try tryAll(VAEConfiguration.self) }
  @Test func `of the speech encoder`() throws { try tryAll(AudioConfiguration.self) }
  @Test func `of the teacher`() throws { try tryAll(TeacherConfiguration.self) }
  @Test func `of distribution matching`() throws { try tryAll(DMDConfiguration.self) }
  @Test func `of the face reader`() throws { try tryAll(ReaderConfiguration.self) }

  @Test func `a rank and a scale of LoRA`() {
    for rank in [0, -1, Int.min, Int.max, 65_537] {
      #expect(LoRAConfiguration(rank: rank, alpha: 1, targets: ["q"]).problem != nil)
    }
    for alpha in [Double.nan, .infinity, 1e300] {
      #expect(LoRAConfiguration(rank: 4, alpha: alpha, targets: ["q"]).problem != nil)
    }
    #expect(LoRAConfiguration.omniAvatar.problem == nil)
  }
}

import Basics
package import Foundation
import Generation

/// Settings that can be validated.
package protocol CheckedSettings: Codable, Equatable, Sendable {
  /// Adds a problem to `check` for every invalid value.
  func check(_ check: inout ConfigurationCheck)
}

/// The settings of a training stage, read from a YAML or JSON file by `readConfiguration`.
package protocol TrainingConfiguration: CheckedSettings {
  /// The defaults.
  static var standard: Self { get }
  /// Named settings to start from.
  static var presets: KeyValuePairs<String, Self> { get }
}

/// The settings of a stage that `train` runs.
package protocol StageConfiguration: TrainingConfiguration {
  var run: RunSettings { get }
  /// - Throws: errors of one sentence where data, checkpoint and settings do not fit each other.
  func stage(_ processes: Processes) throws -> any TrainingStage
}

/// An enumeration in a configuration file; the error for an unknown case lists all of them.
package protocol ConfigurationChoice: RawRepresentable, CaseIterable, Codable, Equatable, Sendable
where RawValue == String {}

extension ConfigurationChoice {
  package init(from decoder: any Decoder) throws {
    let word = try decoder.singleValueContainer().decode(String.self)
    guard let choice = Self(rawValue: word) else {
      let choices = Self.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "must be one of \(choices), not '\(shortened(word))'"))
    }
    self = choice
  }
}

/// Collects the problems of a configuration, each with the path of its key.
package struct ConfigurationCheck {
  package private(set) var problems: [String] = []
  private var path = ""

  /// Whether folders must be named.
  private let needsFolders: Bool

  package init(needsFolders: Bool = true) { self.needsFolders = needsFolders }

  /// A folder that the run reads or writes.
  package mutating func folder(_ key: String, _ value: String, kind: String = "a folder") {
    require(!needsFolders || !value.isEmpty, key, "nothing", mustBe: kind)
  }

  /// Adds "'path.key' must be …, not value" unless the condition holds.
  package mutating func require(_ holds: Bool, _ key: String, _ value: Any, mustBe needed: String) {
    if !holds { problems.append("'\(path)\(key)' must be \(needed), not \(shortened("\(value)"))") }
  }

  /// Bounds within which products of two do not overflow.
  private static let most = 1 << 31

  package mutating func positive(_ key: String, _ value: Int) {
    require((1...Self.most).contains(value), key, value, mustBe: value > 0 ? "at most \(Self.most)" : "at least 1")
  }
  package mutating func notNegative(_ key: String, _ value: Int) {
    require(
      (0...(Self.most << 9)).contains(value), key, value, mustBe: value > 0 ? "at most \(Self.most << 9)" : "at least 0"
    )
  }
  /// Says only the bound that is passed.
  package mutating func inside(_ range: ClosedRange<Int>, _ key: String, _ value: Int) {
    require(value >= range.lowerBound, key, value, mustBe: "at least \(range.lowerBound)")
    require(value <= range.upperBound, key, value, mustBe: "at most \(range.upperBound)")
  }
  package mutating func positive(_ key: String, _ value: Double) {
    require(value > 0 && value.isFinite, key, value, mustBe: "greater than 0")
  }
  package mutating func notNegative(_ key: String, _ value: Double) {
    require(value >= 0 && value.isFinite, key, value, mustBe: "at least 0")
  }
  package mutating func inside(_ range: Range<Double>, _ key: String, _ value: Double) {
    let needed = "at least \(range.lowerBound) and below \(range.upperBound)"
    require(range.contains(value), key, value, mustBe: needed)
  }
  package mutating func inside(_ range: ClosedRange<Double>, _ key: String, _ value: Double) {
    require(range.contains(value), key, value, mustBe: "from \(range.lowerBound) to \(range.upperBound)")
  }

  package mutating func finite(_ key: String, _ values: [Double]) {
    require(!values.isEmpty && values.allSatisfy(\.isFinite), key, values, mustBe: "at least one number, all finite")
  }

  /// Decreasing timesteps.
  ///
  /// - Parameter fromNoise: whether the first must be 1000.
  package mutating func timesteps(_ key: String, _ values: [Double], fromNoise: Bool = false) {
    let falls = zip(values, values.dropFirst()).allSatisfy { $0 > $1 }
    let isInside = !values.isEmpty && values.allSatisfy { (1...1000).contains($0) }
    require(
      falls && isInside && (!fromNoise || values.first == 1000), key, values,
      mustBe: fromNoise ? "numbers that fall from 1000" : "falling numbers from 1000 to 1")
  }

  /// Validates nested settings.
  package mutating func settings(_ key: String, _ settings: some CheckedSettings) {
    let above = path
    path += "\(key)."
    settings.check(&self)
    path = above
  }
}

/// A configuration: a preset, overridden by a file, overridden by single keys.
///
/// - Parameters:
///   - file: YAML or JSON. Missing keys keep the preset's values. Its key `preset` names the preset, unless the argument does.
///   - preset: one of `C.presets`; `C.standard` without any.
///   - overrides: "optimizer.learningRate=1e-5"; values as in YAML.
///   - isChecked: whether it must name its folders; a configuration that is only printed may lack them.
/// - Throws: `LiveTalkError` that names the file and every unknown or invalid key, or the first of a wrong type.
package func readConfiguration<C: TrainingConfiguration>(
  _ type: C.Type = C.self, file: URL? = nil, preset: String? = nil, overrides: [String] = [], isChecked: Bool = true
) throws -> C {
  let source = file?.path ?? "the configuration"
  var given = try file.map(SettingsTree.init(reading:)) ?? .empty
  for override in overrides { try given.set(override) }
  let inFile = try given.removeText("preset", source)
  var start = C.standard
  if let named = preset ?? inFile {
    guard let found = C.presets.first(where: { $0.key == named }) else {
      let names = C.presets.map(\.key)
      let hint =
        nearestName(to: named, among: names).map { "did you mean '\($0)'?" }
        ?? (names.isEmpty ? "there is none here" : "there are \(names.map { "'\($0)'" }.joined(separator: ", "))")
      throw LiveTalkError("\(source): unknown preset '\(shortened(named))'; \(hint)")
    }
    start = found.value
  }
  let configuration = try given.decode(over: start, source)
  var check = ConfigurationCheck(needsFolders: isChecked)
  configuration.check(&check)
  guard check.problems.isEmpty else {
    let more = check.problems.count > 5 ? "; and \(check.problems.count - 5) more" : ""
    throw LiveTalkError("\(source): \(check.problems.prefix(5).joined(separator: "; "))\(more).")
  }
  return configuration
}

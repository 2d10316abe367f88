import Basics
package import Foundation
package import Torch

/// One directory of goldens: `case.json` with inputs, weights and the reference's outputs.
package struct ParityCase {
  package let directory: URL
  package let json: JSON
  package let device: Device
  package let media: MediaReader?
  package let component: String
  package let name: String

  package init(directory: URL, device: Device, media: MediaReader?) throws {
    self.directory = directory
    self.device = device
    self.media = media
    json = try JSON(contentsOf: directory.appendingPathComponent("case.json"))
    // Cases of training do not state it.
    component =
      json["component"].exists
      ? try json["component"].string() : directory.deletingLastPathComponent().lastPathComponent
    name = try json["case"].string()
  }

  package var config: JSON { json["config"] }

  /// The tensors of one of the case's files.
  ///
  /// - Throws: `LiveTalkError` where one that `case.json` lists is not there: else it would be left out of the comparison.
  package func tensors(_ file: String) throws -> [String: Tensor] {
    let tensors = try readWeights(directory.appendingPathComponent(file)).mapValues { $0.to(device) }
    if let lost = json["tensors"][file].keys.first(where: { tensors[$0] == nil }) {
      throw LiveTalkError("\(file) lacks the tensor '\(lost)' that case.json lists")
    }
    return tensors
  }
  package func inputs() throws -> [String: Tensor] { try tensors("inputs.safetensors") }
  package func outputs() throws -> [String: Tensor] { try tensors("outputs.safetensors") }

  /// The case's tolerance of that name, as its JSON states it, widened only where the device is a GPU (TF32 is off there, but
  /// its kernels add in another order): ten times in fp32.
  package func tolerance(_ name: String = "fp32") throws -> Tolerance {
    let stated = json["tolerance"][name]
    let factor: Double = device.isCPU ? 1 : 10
    return Tolerance(
      rtol: (stated["rtol"].exists ? try stated["rtol"].double() : 0) * factor,
      atol: try stated["atol"].double() * factor)
  }
}

/// How far a value may lie from the reference: `atol + rtol·|reference|`.
package struct Tolerance: Sendable {
  package let rtol: Double
  package let atol: Double
  package init(rtol: Double, atol: Double) {
    self.rtol = rtol
    self.atol = atol
  }
  package static let exact = Tolerance(rtol: 0, atol: 0)
}

/// Gathers the comparisons of one case.
package final class ParityRecorder {
  package struct Comparison: Sendable {
    package let name: String
    package let maxDifference: Double
    package let tolerance: Tolerance
    package let passed: Bool
  }

  package private(set) var comparisons: [Comparison] = []
  /// Intermediate results that the case does not hold.
  package private(set) var notHeld: [String] = []

  package init() {}

  /// Compares what leads to a result, where the case holds it; what it does not hold is counted.
  package func compareIntermediate(_ name: String, _ actual: Tensor, _ expected: Tensor?, _ tolerance: Tolerance) throws
  {
    guard expected != nil else { return skip(name) }
    try compare(name, actual, expected, tolerance)
  }

  /// Counts an intermediate result that the case does not hold.
  package func skip(_ name: String) { notHeld.append(name) }

  /// Compares every element of `actual` with the reference.
  ///
  /// - Throws: `LiveTalkError` where the case does not hold it, or in another shape.
  package func compare(_ name: String, _ actual: Tensor, _ expected: Tensor?, _ tolerance: Tolerance) throws {
    guard let expected else { throw LiveTalkError("the case has no output '\(name)'") }
    guard actual.shape == expected.shape else {
      throw LiveTalkError("'\(name)' has the shape \(actual.shape), the reference \(expected.shape)")
    }
    let reference = expected.to(.cpu, .float64)
    let difference = (actual.to(.cpu, .float64) - reference).abs()
    let allowed = reference.abs() * tolerance.rtol + tolerance.atol
    // An infinite reference would allow everything.
    let within = (difference .<= allowed) .& difference.isFinite()
    let passed = actual.count == 0 || within.to(.int64).min().intItem == 1
    record(name, difference: actual.count == 0 ? 0 : difference.max().item, tolerance, passed: passed)
  }

  /// Compares every output with what was computed under its name.
  ///
  /// - Throws: `LiveTalkError` where nothing was, or in another shape.
  package func compareAll(
    _ actual: [String: Tensor], _ outputs: [String: Tensor], tolerance: (_ name: String) throws -> Tolerance
  ) throws {
    for (name, expected) in outputs.sorted(by: { $0.key < $1.key }) {
      guard let value = actual[name] else { throw LiveTalkError("nothing computes the output '\(name)'") }
      try compare(name, value, expected, try tolerance(name))
    }
  }

  /// Compares in the statistics that bf16 results are judged by: the largest and the mean difference.
  package func compareStatistics(
    _ name: String, _ actual: Tensor, _ expected: Tensor?, maximum: Double, mean: Double
  ) throws {
    guard let expected else { throw LiveTalkError("the case has no output '\(name)'") }
    guard actual.shape == expected.shape else {
      throw LiveTalkError("'\(name)' has the shape \(actual.shape), the reference \(expected.shape)")
    }
    let difference = (actual.to(.cpu, .float64) - expected.to(.cpu, .float64)).abs()
    let largest = difference.max().item
    record(
      name, difference: largest, Tolerance(rtol: 0, atol: maximum),
      passed: largest <= maximum && difference.mean().item <= mean)
  }

  /// Records what is equal or not, such as text and token ids.
  package func expect(_ name: String, _ passed: Bool) {
    record(name, difference: passed ? 0 : .infinity, .exact, passed: passed)
  }

  private func record(_ name: String, difference: Double, _ tolerance: Tolerance, passed: Bool) {
    comparisons.append(Comparison(name: name, maxDifference: difference, tolerance: tolerance, passed: passed))
  }
}

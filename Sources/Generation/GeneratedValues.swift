import Basics
package import Torch

// What models give is looked at where it leaves them, so that a failed model never ends in a black video and success.

extension Tensor {
  /// Checks what a model gave: finite, and not one value everywhere.
  ///
  /// - Parameter name: what it is, in the plural.
  /// - Returns: the tensor.
  /// - Throws: `LiveTalkError` with one sentence.
  package func checked(as name: String) throws -> Tensor {
    try GeneratedValues.check(Tensor.stack([min(), max()], 0), name)
    return self
  }
}

package enum GeneratedValues {
  /// - Parameter extremes: the least and the largest value, which are no numbers where any value is none.
  /// - Throws: `LiveTalkError` with one sentence.
  static func check(_ extremes: Tensor, _ name: String) throws {
    let values = extremes.to(.cpu, .float32).array(Float.self)
    // Tensors are empty after an operation that failed, which the scope of its errors tells.
    guard values.count == 2 else { return }
    guard values.allSatisfy(\.isFinite) else { throw notFinite(name) }
    if values[0] == values[1] { try refuseFlat(name) }
  }

  /// - Parameter sum: of all values of frames, which is no number where any value is none.
  static func checkFrames(_ sum: Tensor) throws {
    guard sum.array(Float.self).allSatisfy(\.isFinite) else { throw notFinite("pixels of the video") }
  }

  private static func notFinite(_ name: String) -> LiveTalkError {
    LiveTalkError(
      "The \(name) are not finite numbers: with fp16 try --dtype bf16 or fp32, else the weights are not those of a working model "
        + "('livetalk checkpoint inspect' looks at all of them).")
  }

  static func refuseFlat(_ name: String) throws {
    throw LiveTalkError(
      "The \(name) are the same everywhere, as those of no face are: the weights are not those of a working model.")
  }
}

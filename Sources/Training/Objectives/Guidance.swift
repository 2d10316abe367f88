import Torch

/// How much a score model's prediction is pushed towards its conditions, separately for text and audio.
public struct Guidance: Codable, Hashable, Sendable {
  /// What the scales mean.
  public enum Convention: String, Sendable, CaseIterable {
    /// `uncond + text · (textOnly - uncond) + audio · (cond - textOnly)`: 1 is no guidance, and the paper's guidance of 6 is 6.
    case classifierFree
    /// The published code: equal scales are `cond + s · (cond - uncond)`, so that its 5 is a guidance of 6, while different ones are
    /// as above, and 5 is 5; two zeros mean no guidance.
    case literal
  }

  public var text: Double
  public var audio: Double
  public var convention: Convention

  /// The paper's guidance of the teacher.
  public static let paper = Guidance(text: 6, audio: 6)
  public static let none = Guidance(text: 1, audio: 1)

  public init(text: Double, audio: Double, convention: Convention = .classifierFree) {
    self.text = text
    self.audio = audio
    self.convention = convention
  }

  /// The branches of a prediction.
  public struct Branches {
    /// All conditions.
    public var cond: Tensor
    /// The text without sound; only for different scales.
    public var text: Tensor?
    /// The negative text without sound; only where there is guidance.
    public var uncond: Tensor?

    public init(cond: Tensor, text: Tensor? = nil, uncond: Tensor? = nil) {
      self.cond = cond
      self.text = text
      self.uncond = uncond
    }
  }

  /// Whether a prediction needs more than one pass.
  public var isOn: Bool {
    switch convention {
    case .classifierFree: text != 1 || audio != 1
    case .literal: text != 0 || audio != 0
    }
  }
  /// Whether the branch with text alone is needed.
  public var separatesAudio: Bool { isOn && text != audio }

  /// The guided prediction.
  public func combine(_ branches: Branches) -> Tensor {
    guard isOn, let uncond = branches.uncond else { return branches.cond }
    let cond = branches.cond
    guard separatesAudio, let textOnly = branches.text else {
      switch convention {
      case .classifierFree: return uncond + (cond - uncond) * text
      case .literal: return cond + (cond - uncond) * text
      }
    }
    return uncond + (textOnly - uncond) * text + (cond - textOnly) * audio
  }

  /// The branches that this guidance needs, each predicted by `predict`.
  ///
  /// - Parameter negativeText: what stands for no text, `[1 or B, L, textDim]`.
  public func branches(
    _ conditions: Conditions, negativeText: Tensor, _ predict: (Conditions) -> Tensor
  ) -> Branches {
    var branches = Branches(cond: predict(conditions))
    guard isOn else { return branches }
    let silent = conditions.silent
    let negative = negativeText.expand([conditions.text.size(0)] + negativeText.shape[1...])
    if separatesAudio { branches.text = predict(silent) }
    // Unguided text cancels the prediction without it.
    let needsNegative = !(separatesAudio && convention == .classifierFree && text == 1)
    branches.uncond = needsNegative ? predict(silent.with(text: negative)) : branches.text
    return branches
  }
}

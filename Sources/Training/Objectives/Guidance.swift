package import Torch

/// Classifier-free guidance, with separate scales for text and audio.
package struct Guidance: Codable, Hashable, Sendable {
  package enum Convention: String, Sendable, CaseIterable {
    /// `uncond + text · (textOnly - uncond) + audio · (cond - textOnly)`: 1 is no guidance, and the paper's guidance of 6 is 6.
    case classifierFree
    /// The published code: equal scales are `cond + s · (cond - uncond)`, so that its 5 is a guidance of 6, while different ones are
    /// as above, and 5 is 5; two zeros mean no guidance.
    case literal
  }

  package var text: Double
  package var audio: Double
  package var convention: Convention

  /// The paper's guidance of the teacher.
  package static let paper = Guidance(text: 6, audio: 6)
  /// That of Wan2.2-S2V's published configuration, of text and sound together.
  package static let wanS2V = Guidance(text: 4.5, audio: 4.5)
  package static let none = Guidance(text: 1, audio: 1)

  package init(text: Double, audio: Double, convention: Convention = .classifierFree) {
    self.text = text
    self.audio = audio
    self.convention = convention
  }

  /// The predictions that guidance combines.
  package struct Branches {
    /// All conditions.
    package var cond: Tensor
    /// Text without audio; only for unequal scales.
    package var text: Tensor?
    /// The negative prompt without audio; only with guidance.
    package var uncond: Tensor?

    package init(cond: Tensor, text: Tensor? = nil, uncond: Tensor? = nil) {
      self.cond = cond
      self.text = text
      self.uncond = uncond
    }
  }

  /// Whether there is any guidance.
  package var isOn: Bool {
    switch convention {
    case .classifierFree: text != 1 || audio != 1
    case .literal: text != 0 || audio != 0
    }
  }
  /// Whether the branch of text without audio is needed.
  package var separatesAudio: Bool { isOn && text != audio }

  /// The guided prediction.
  package func combine(_ branches: Branches) -> Tensor {
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

  /// Runs `predict` for the branches that this guidance needs.
  ///
  /// - Parameter negativeText: the negative prompt, `[1 or B, L, textDim]`.
  package func branches(
    _ conditions: Conditions, negativeText: Tensor, _ predict: (Conditions) -> Tensor
  ) -> Branches {
    var branches = Branches(cond: predict(conditions))
    guard isOn else { return branches }
    let silent = conditions.silent
    let negative = negativeText.expand([conditions.text.size(0)] + negativeText.shape[1...])
    if separatesAudio { branches.text = predict(silent) }
    // With a text scale of 1 the negative branch cancels out.
    let needsNegative = !(separatesAudio && convention == .classifierFree && text == 1)
    branches.uncond = needsNegative ? predict(silent.with(text: negative)) : branches.text
    return branches
  }
}

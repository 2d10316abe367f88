import Models
import NN
package import Torch

/// Regularisation of the speech encoder's training.
package struct PhonemeSettings: CheckedSettings {
  /// Of features and of each layer's residual.
  package var dropout = 0.1
  /// The mean share of rows that are masked, in spans.
  package var maskShare = 0.05
  /// The length of a masked span.
  package var maskSeconds = 0.2
  package var labelSmoothing = 0.0
  /// Of what a row is asked for, in seconds from the middle of what it sees. Video frames are further apart than phonemes change: a
  /// row that tells its neighbourhood tells what is said between two frames.
  package var moments = [0.0]

  package init() {}

  package func check(_ check: inout ConfigurationCheck) {
    check.inside(0..<1, "dropout", dropout)
    check.inside(0..<1, "maskShare", maskShare)
    check.positive("maskSeconds", maskSeconds)
    check.inside(0..<1, "labelSmoothing", labelSmoothing)
    check.finite("moments", moments)
  }
}

/// The speech encoder's loss: classification of the phonemes about each feature row.
package struct PhonemeObjective: Sendable {
  package let settings: PhonemeSettings

  package init(_ settings: PhonemeSettings = PhonemeSettings()) { self.settings = settings }

  package struct Outcome: Sendable {
    /// Mean cross entropy over the labelled moments of all rows.
    package let loss: Tensor
    /// Of the labelled moments, detached.
    package let accuracy: Tensor
  }

  /// - Parameter generator: of dropout and masks, on the model's device; nil for evaluation.
  package func callAsFunction(_ model: PhonemeModel, _ batch: PhonemeBatch, _ generator: RandomGenerator?) -> Outcome {
    let states = model.encoder.hiddenStates(batch.samples, rows: batch.rows, noise: generator.map { noise(batch, $0) })
    let logits = model.head(states).reshape(-1, model.symbols.count)  // [B·N·O, symbols]
    let labels = batch.labels.to(logits.device).flatten()  // [B·N·O]
    let wide = logits.dtype.size < 4 ? logits.to(.float32) : logits
    let isLabelled = (labels .>= 0).to(.float32)
    let isRight = (logits.detach().argmax(-1) .== labels).to(.float32)
    return Outcome(
      loss: wide.crossEntropy(labels, labelSmoothing: generator == nil ? 0 : settings.labelSmoothing),
      accuracy: isRight.sum() / isLabelled.sum())
  }

  private func noise(_ batch: PhonemeBatch, _ generator: RandomGenerator) -> Wav2Vec2Noise {
    let (sounds, rows) = (batch.labels.size(0), batch.labels.size(1))
    let seconds = Double(batch.samples.size(1)) / LabelledSound.sampleRate
    let run = Int((settings.maskSeconds * Double(rows) / seconds).rounded())
    return Wav2Vec2Noise(
      hide: { $0 * visibleRows(sounds, rows, run: run, generator).to($0.device, $0.dtype) },
      disturb: { $0.dropout(settings.dropout, generator) })
  }

  /// The mask: 0 for hidden rows, `[B, N, 1]`. No span is longer than half of the rows.
  func visibleRows(_ sounds: Int, _ rows: Int, run: Int, _ generator: RandomGenerator) -> Tensor {
    var visible = [Float](repeating: 1, count: sounds * rows)
    let length = min(max(run, 1), rows / 2)
    // Rounded at random, so that short sounds have the same share masked.
    let wanted = length > 0 ? settings.maskShare * Double(rows) / Double(length) : 0
    let runs = wanted > 0 ? generator.uniform([sounds]).array(Double.self).map { Int(wanted + $0) } : []
    for (sound, count) in runs.enumerated() where count > 0 {
      for start in generator.integers(0..<rows - length + 1, [count]).array(Int.self) {
        for row in start..<start + length { visible[sound * rows + row] = 0 }
      }
    }
    return Tensor(visible, [sounds, rows, 1])
  }
}

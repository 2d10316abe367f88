import Models
import NN
import Torch

/// What the encoder's training disturbs.
package struct PhonemeSettings: CheckedSettings {
  /// Share of the values that dropout takes away from features and from what each layer adds.
  package var dropout = 0.1
  /// Share of a sound's rows that are hidden on average, in runs; the encoder has to tell them from their neighbours.
  package var maskShare = 0.05
  /// The length of a hidden run.
  package var maskSeconds = 0.2
  /// How much of the certainty of a label is spread over all symbols.
  package var labelSmoothing = 0.0

  package init() {}

  package func check(_ check: inout ConfigurationCheck) {
    check.inside(0..<1, "dropout", dropout)
    check.inside(0..<1, "maskShare", maskShare)
    check.positive("maskSeconds", maskSeconds)
    check.inside(0..<1, "labelSmoothing", labelSmoothing)
  }
}

/// What the speech encoder is trained with: it tells the phoneme of each feature row.
package struct PhonemeObjective: Sendable {
  package let settings: PhonemeSettings

  package init(_ settings: PhonemeSettings = PhonemeSettings()) { self.settings = settings }

  package struct Outcome: Sendable {
    /// Mean cross entropy of the labelled rows, from which gradients flow.
    package let loss: Tensor
    /// Share of the labelled rows whose likeliest symbol is theirs, outside the graph.
    package let accuracy: Tensor
  }

  /// - Parameter generator: draws dropout and hidden rows, on the device of the model; nil to measure without either.
  package func callAsFunction(_ model: PhonemeModel, _ batch: PhonemeBatch, _ generator: RandomGenerator?) -> Outcome {
    let states = model.encoder.hiddenStates(batch.samples, rows: batch.rows, noise: generator.map { noise(batch, $0) })
    let logits = model.head(states).flatten(0, 1)  // [B·N, symbols]
    let labels = batch.labels.to(logits.device).flatten()  // [B·N]
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

  /// 1 where a row stays and 0 where it is hidden, `[B, N, 1]`. No run is longer than half of the rows.
  func visibleRows(_ sounds: Int, _ rows: Int, run: Int, _ generator: RandomGenerator) -> Tensor {
    var visible = [Float](repeating: 1, count: sounds * rows)
    let length = min(max(run, 1), rows / 2)
    // Rounded up or down by chance, so that short sounds are hidden in the same share.
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

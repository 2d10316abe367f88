package import Foundation
import Models
package import Session
import Torch

/// Silero's voice activity detector, for one microphone after the other: the weights are loaded once.
package struct SpeechProbabilities: Sendable {
  private let model: SileroVAD

  /// - Parameter file: `silero_vad_16k.safetensors`.
  /// - Throws: `FileError`, or `CheckpointMismatch` with all keys that are wrong.
  package init(contentsOf file: URL) throws {
    model = try withInferenceMode { try SileroVAD(weights: try readWeights(file), name: file.path) }
  }

  /// A detector with a state of its own.
  package func detector() -> any VoiceActivityDetector { SpeechProbability(model) }
}

/// The state of one sound. A window takes half a millisecond on a processor: it needs no thread of its own.
private actor SpeechProbability: VoiceActivityDetector {
  private let model: SileroVAD
  private var stream: SileroVADStream

  init(_ model: SileroVAD) { (self.model, stream) = (model, SileroVADStream(model)) }

  func probability(of window: [Float]) throws -> Float {
    try withTorchErrors { stream.append(window) }.last ?? 0
  }

  func reset() { stream = SileroVADStream(model) }
}

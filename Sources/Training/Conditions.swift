package import Torch

// B batch, F latent frames, H and W latent pixels.

/// The conditions of a batch of clips.
package struct Conditions: Sendable {
  /// Encoded text, `[B, L, textDim]`.
  package var text: Tensor
  /// One row per video frame, `[B, 4F - 3, audioInputDim]`.
  package var audioFeatures: Tensor
  /// The encoded picture, `[B, C, R, H, W]`; how many latent frames it has is the family's.
  package var referenceLatent: Tensor

  package init(text: Tensor, audioFeatures: Tensor, referenceLatent: Tensor) {
    self.text = text
    self.audioFeatures = audioFeatures
    self.referenceLatent = referenceLatent
  }

  /// Audio features set to zero, which is not the absence of audio: biases and normalisation still contribute.
  package var silent: Conditions { with(audioFeatures: audioFeatures * 0) }

  package func with(text: Tensor? = nil, audioFeatures: Tensor? = nil) -> Conditions {
    Conditions(
      text: text ?? self.text, audioFeatures: audioFeatures ?? self.audioFeatures, referenceLatent: referenceLatent)
  }

  func to(_ dtype: DType) -> Conditions {
    Conditions(text: text.to(dtype), audioFeatures: audioFeatures.to(dtype), referenceLatent: referenceLatent.to(dtype))
  }
}

import Generation
import Models
package import Torch

// B batch, F latent frames, H and W latent pixels.

/// The conditions of a batch of clips.
package struct Conditions: Sendable {
  /// Encoded text, `[B, L, textDim]`.
  package var text: Tensor
  /// One row per video frame, `[B, 4F - 3, audioInputDim]`.
  package var audioFeatures: Tensor
  /// The encoded picture, `[B, C, 1, H, W]`.
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

extension WanTransformer {
  /// The flow of whole clips `[B, C, F, H, W]`, in fp32.
  ///
  /// - Parameters:
  ///   - timesteps: `[B, 1]`, or `[B, F]` for one per frame.
  ///   - mask: `blockCausalMask` for the student; nil for bidirectional attention (teacher, critic).
  package func flow(_ xt: Tensor, timesteps: Tensor, _ conditions: Conditions, mask: Tensor? = nil) -> Tensor {
    let conditions = conditions.to(dtype)
    return self(
      xt.to(dtype),
      condition: ReferenceLatent.condition(conditions.referenceLatent, frames: xt.size(2), startsClip: true),
      timestep: read(timesteps: timesteps), text: read(text: conditions.text),
      audio: audioContext(packed: pack(audioFeatures: conditions.audioFeatures)), mask: mask
    ).to(.float32)
  }
}

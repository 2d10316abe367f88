package import Models
package import Torch

/// What Live Avatar is given of a picture: the sink frame, and the latent frames that are said to come before the video.
package struct LiveAvatarConditions: Sendable {
  /// How the published systems encode a picture. They differ.
  package enum Encoding: String, Sendable, CaseIterable {
    /// The pipeline over several GPUs: the sink is the picture as one frame; before the video it stood still for 73 frames.
    case oneFrame
    /// The system of one GPU: the sink is the second latent frame of five equal ones; before the video the picture stood still for 365
    /// frames, of which the last 19 latent frames count.
    case fiveFrames
  }

  /// `[1, C, 1, h, w]`.
  package let sink: Tensor
  /// Oldest first, `[1, C, m, h, w]`.
  package let motion: Tensor

  package init(sink: Tensor, motion: Tensor) { (self.sink, self.motion) = (sink, motion) }

  /// - Parameter image: `[1, 3, 1, H, W]` in [-1, 1].
  package init(_ image: Tensor, _ vae: WanVAE, encoding: Encoding = .oneFrame) {
    func still(_ frames: Int) -> Tensor {
      vae.encode(video: image.expand(1, 3, frames, image.size(3), image.size(4)))
    }
    let (videoFrames, latentFrames) = (WanS2VTransformer.motionVideoFrames, WanS2VTransformer.motionLatentFrames)
    switch encoding {
    case .oneFrame: self.init(sink: vae.encode(image: image), motion: still(videoFrames))
    case .fiveFrames:
      let before = still(5 * videoFrames)
      self.init(
        sink: still(5).narrow(2, 1, 1), motion: before.narrow(2, before.size(2) - latentFrames, latentFrames))
    }
  }

  /// Both, as the transformer reads them.
  package var reference: Tensor { Tensor.cat([sink, motion], 2) }
}

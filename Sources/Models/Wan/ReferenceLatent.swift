package import Torch

/// What the encoded picture `[B, C, 1, H, W]` gives to the transformer: a condition for every latent frame, and the clip's first.
package enum ReferenceLatent {
  /// The picture repeated for each of `frames` latent frames, and a mask channel behind it: `[B, C+1, frames, H, W]`.
  ///
  /// The mask is 0 for the clip's first frame, whose picture is given, and 1 for all others.
  package static func condition(_ reference: Tensor, frames: Int, startsClip: Bool) -> Tensor {
    let (batch, height, width) = (reference.size(0), reference.size(3), reference.size(4))
    let repeated = reference.expand(batch, reference.size(1), frames, height, width)
    let mask = Tensor.ones([batch, 1, frames, height, width], reference.dtype, device: reference.device)
    if startsClip { mask.narrow(2, 0, 1).fill_(0) }
    return Tensor.cat([repeated, mask], 1)
  }

  /// Latents `[B, C, F, H, W]` of a clip's beginning with the picture as their first frame.
  package static func pinned(_ latents: Tensor, to reference: Tensor) -> Tensor {
    guard latents.size(2) > 1 else { return reference }
    return Tensor.cat([reference, latents.narrow(2, 1, latents.size(2) - 1)], 2)
  }
}

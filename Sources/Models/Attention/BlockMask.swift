package import Torch

// F latent frames of a clip, T tokens of a frame, L = F·T.

/// Block-causal attention over a whole clip: a token sees its own block and the ones before. What trains a student on whole clips in one
/// pass sees what it will see when it rolls out block by block.
package final class BlockMask {
  package let framesPerBlock: Int
  /// Attention sees the newest so many latent frames, counted from the end of the token's block; nil for the whole clip.
  package let windowFrames: Int?
  private var known: (frames: Int, tokensPerFrame: Int, mask: Tensor)?

  package init(framesPerBlock: Int, windowFrames: Int? = nil) {
    (self.framesPerBlock, self.windowFrames) = (framesPerBlock, windowFrames)
  }

  /// True where a token of row q may see token k: `[L, L]`. That of the last clip is kept.
  package func mask(frames: Int, tokensPerFrame: Int, device: Device) -> Tensor {
    if let known, known.frames == frames, known.tokensPerFrame == tokensPerFrame, known.mask.device == device {
      return known.mask
    }
    let mask = BlockMask.mask(
      frames: frames, tokensPerFrame: tokensPerFrame, framesPerBlock: framesPerBlock, windowFrames: windowFrames,
      device: device)
    known = (frames, tokensPerFrame, mask)
    return mask
  }

  package static func mask(
    frames: Int, tokensPerFrame: Int, framesPerBlock: Int, windowFrames: Int?, device: Device
  ) -> Tensor {
    let tokens = Tensor.range(Double(frames * tokensPerFrame), .int64, device: device)
    let blockTokens = Double(framesPerBlock * tokensPerFrame)
    let end = ((tokens.to(.float64) / blockTokens).floor() + 1) * blockTokens  // [L]
    let key = tokens.to(.float64).unsqueeze(0)
    var mask = key .< end.unsqueeze(1)
    if let windowFrames {
      mask = mask .& (key .>= (end - Double(windowFrames * tokensPerFrame)).unsqueeze(1))
    }
    return mask .| (tokens.unsqueeze(0) .== tokens.unsqueeze(1))
  }
}

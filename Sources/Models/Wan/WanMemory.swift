// How much memory Wan's models take beside their weights, by arithmetic over their layers. Counts are of values, not bytes.
//
// C width, T tokens of a frame, n latent frames of a block, h and w latent pixels.

extension WanTrunkConfiguration {
  /// What a timestep's context holds: in the type of the model, and in that of the layers that read timesteps.
  package var timestepContext: (modelType: Int, timeType: Int) { ((6 * numLayers + 2) * dim, 7 * dim) }

  /// What a text's context holds: itself and every layer's keys and values.
  package func textContext(rows: Int) -> Int { (2 * numLayers + 1) * rows * dim }

  /// What a pass over so many tokens holds at its widest, without gradients: in attention, or in the feed-forward layer.
  ///
  /// - Parameters:
  ///   - beside: tokens of a condition, whose keys are copied to be rotated, and stand with those of `memory` in one copy; 0 for none, and
  ///     then the memory is read where it is.
  ///   - memory: tokens in the memory of earlier blocks, the block's own included.
  ///   - float8: whether linear layers are computed in 8 bits: inputs are scaled, cut off and rounded first.
  package func passActivations(tokens: Int, memory: Int, beside: Int, float8: Bool) -> Int {
    // x, its modulated form, queries, keys and values, rotated queries, the result.
    let attention = 7 * tokens * dim + (beside > 0 ? (3 * beside + 2 * memory) * dim : 0)
    // x, its modulated form, hidden values, the result.
    let feedForward = tokens * (3 * dim + ffnDim)
    guard float8 else { return max(attention, feedForward) }
    return max(attention, feedForward + tokens * ffnDim * 5 / 2)
  }
}

extension WanS2VConfiguration {
  /// Tokens of the sink frame and of what moved before, for latents of this size.
  package func conditionTokens(height: Int, width: Int) -> Int {
    let (rows, columns) = (height / trunk.patchSize[1], width / trunk.patchSize[2])
    return 2 * rows * columns + (rows / 2) * (columns / 2) + 4 * (rows / 4) * (columns / 4)
  }

  /// What a block's sound is to all layers that add it.
  package func soundContext(framesPerBlock: Int) -> Int {
    framesPerBlock * trunk.dim * (audioLayers.count * (2 * (audioTokens + 1) + 2) + audioTokens + 2)
  }
}

extension WanVAEConfiguration {
  /// What a stream remembers between blocks: every causal convolution's last two frames.
  package func decoderHistory(height: Int, width: Int) -> Int {
    let widths = decoderLevelWidths
    var channels = widths.last ?? decoderWidth
    var pixels = height * width
    // The first layer, and two residual blocks around attention.
    var values = (latentChannels + 4 * channels) * pixels
    for (level, levelWidth) in widths.enumerated().reversed() {
      for _ in 0...residualBlocks {
        values += (channels + levelWidth) * pixels
        channels = levelWidth
      }
      guard level > 0 else { break }
      if temporalDownsampling[level - 1] { values += channels * pixels }
      if !isResidual { channels /= 2 }
      pixels *= 4
    }
    return 2 * (values + channels * pixels)
  }

  /// What decoding a block holds at its widest, and what encoding a still picture of so many frames does; at full resolution, in a
  /// residual block or, in the decoder, before it where the picture is made larger.
  package func decodingActivations(framesPerBlock: Int, height: Int, width: Int) -> Int {
    let most = framesPerPass(height: height, width: width)
    let frames = temporalStride * min(framesPerBlock, most)
    let pixels = height * width * (spatialStride / patchSize) * (spatialStride / patchSize)
    let channels = decoderLevelWidths[0]
    let above = isResidual ? decoderLevelWidths[min(1, decoderLevelWidths.count - 1)] : 2 * channels
    // Before and after the enlargement, and the convolution's result; then the block's input, its normalised form behind two frames of
    // history, the first convolution's result, and the same of the second.
    let enlarging = frames * pixels * (above / 4 + above + channels)
    let residual = pixels * channels * (3 * frames + frames + 2)
    return max(enlarging, residual)
  }

  package func encodingActivations(frames: Int, height: Int, width: Int) -> Int {
    let pass = min(frames, Self.latentFramesPerPass * temporalStride)
    let pixels = height * width * (spatialStride / patchSize) * (spatialStride / patchSize)
    return pixels * levelWidths[0] * (4 * pass + 2)
  }
}

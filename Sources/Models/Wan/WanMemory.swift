package import Torch

// How much memory Wan's models take beside their weights, by arithmetic over their layers. Counts are of values, not bytes, where nothing else is said.
//
// C width, T tokens of a frame, n latent frames of a block, h and w latent pixels.

/// Whether fused kernels run, on this processor, over tensors of that type.
private func fuses(_ dtype: DType, onProcessor: Bool) -> Bool {
  onProcessor && Torch.usesFusedKernels && dtype != .float16
}

extension WanTrunkConfiguration {
  /// What a timestep's context holds where these layers are: in the type of the model, and in that of the layers that read timesteps.
  package func timestepContext(_ layers: Range<Int>) -> (modelType: Int, timeType: Int) {
    ((6 * layers.count + (isLast(layers) ? 2 : 0)) * dim, isFirst(layers) ? 7 * dim : 0)
  }

  /// What a text's context holds where these layers are: their keys and values, and with the first the text.
  package func textContext(rows: Int, _ layers: Range<Int>) -> Int {
    (2 * layers.count + (isFirst(layers) ? 1 : 0)) * rows * dim
  }

  /// Whether these are the layers of the device that has what stands before them, or the head.
  package func isFirst(_ layers: Range<Int>) -> Bool { layers.lowerBound == 0 }
  package func isLast(_ layers: Range<Int>) -> Bool { layers.upperBound == numLayers }

  /// Bytes that a pass over so many tokens holds at its widest, without gradients: in attention, or in the feed-forward layer.
  ///
  /// - Parameters:
  ///   - beside: tokens of a condition, whose keys are copied to be rotated, and stand with those of `memory` in one copy; 0 for none, and
  ///     then the memory is read where it is.
  ///   - memory: tokens in the memory of earlier blocks, the block's own included.
  ///   - float8: whether linear layers are computed in 8 bits: inputs are scaled, cut off and rounded first.
  ///   - onProcessor: whether it runs on this processor, with its kernels and attention's own buffers; on a GPU there are none to speak of.
  package func passActivations(
    tokens: Int, memory: Int, beside: Int, dtype: DType, float8: Bool, onProcessor: Bool
  ) -> Int {
    let workspace =
      onProcessor
      ? Tensor.attentionWorkspace(queries: tokens, keys: memory + beside, heads: numHeads, headDim: headDim, dtype) : 0
    let latents = tokens * outDim * patchSize.reduce(1, *)
    // The latents, x, its modulated form, queries, keys and values, rotated queries.
    let attention = latents + 6 * tokens * dim + (beside > 0 ? 2 * (beside + memory) * dim : 0)
    // While they are copied the condition's keys, then the result with the buffers, and then the result before and after projection.
    let result = tokens * dim * dtype.size
    let attentionBytes = attention * dtype.size + max(beside * dim * dtype.size, result + max(result, workspace))
    // The latents, x, its modulated form, what both attentions gave; hidden values with their activation, which a fused kernel puts in
    // their place, or with their 8-bit forms. The result comes when the modulated form is gone.
    let hidden = float8 ? ffnDim * 7 / 2 : fuses(dtype, onProcessor: onProcessor) ? ffnDim : 2 * ffnDim
    let feedForward = latents + tokens * (4 * dim + hidden)
    // Rotary factors of these tokens and of those beside them.
    let factors = (tokens + beside) * headDim * DType.float32.size
    return max(attentionBytes, feedForward * dtype.size) + factors
  }
}

// What autograd keeps. In bf16 the inputs of norms are kept in fp32: `wide` is then 2, otherwise 1.

extension WanTrunkConfiguration {
  /// What is kept of a layer over so many tokens until its backward pass, beside its input.
  ///
  /// - Parameter trainsAll: whether all weights are trained, those that read timesteps too, or factors beside them only.
  package func recordedLayer(tokens: Int, wide: Int, trainsAll: Bool) -> Int {
    // Modulated and normalised forms that linear layers read, values, rotated queries and keys, what both attentions gave, the sum after
    // self-attention; what norms read: the layer's input, queries and keys, the text's queries, the sum after cross-attention.
    let kept = 10 + 4 * wide + (wide > 1 ? wide : 0)
    // What gates, scales and the norms' weights are multiplied with.
    return tokens * ((kept + (trainsAll ? 7 : 0)) * dim + 2 * ffnDim)
  }

  /// What a layer's backward pass takes beside what was kept for it: gradients of the layer's output and of the feed-forward layer.
  package func layerGradients(tokens: Int) -> Int { tokens * (2 * dim + ffnDim) }

  /// What is kept of reading a text: every layer's keys before and after their norm, and values.
  package func recordedText(rows: Int, wide: Int, trainsAll: Bool) -> Int {
    numLayers * rows * dim * (wide + 2 + (trainsAll ? 1 : 0))
  }
}

extension WanS2VConfiguration {
  /// Tokens of the sink frame and of what moved before, for latents of this size.
  package func conditionTokens(height: Int, width: Int) -> Int {
    let (rows, columns) = (height / trunk.patchSize[1], width / trunk.patchSize[2])
    return 2 * rows * columns + (rows / 2) * (columns / 2) + 4 * (rows / 4) * (columns / 4)
  }

  /// What a block's sound is to those of these layers that add it, in the type of the model; and with the first the encoded sound of the
  /// block and of what stands before it, in fp32.
  package func soundContext(framesPerBlock: Int, _ layers: Range<Int>) -> (modelType: Int, wide: Int) {
    let adding = audioLayers.count { layers.contains($0) }
    let encoded = WanS2VTransformer.motionLatentFrames + framesPerBlock
    return (
      framesPerBlock * trunk.dim * adding * (2 * (audioTokens + 1) + 2),
      trunk.isFirst(layers) ? encoded * trunk.dim * (audioTokens + 2) : 0
    )
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

  /// What encoding a video remembers between passes, as `decoderHistory`; the convolutions that halve time remember one frame.
  func encoderHistory(height: Int, width: Int) -> Int {
    var pixels = fullPixels(height: height, width: width)
    var channels = self.width
    var values = 2 * pixelChannels * pixels
    for (level, levelWidth) in levelWidths.enumerated() {
      for _ in 0..<residualBlocks {
        values += 2 * (channels + levelWidth) * pixels
        channels = levelWidth
      }
      guard level < temporalDownsampling.count else { break }
      pixels /= 4
      if temporalDownsampling[level] { values += channels * pixels }
    }
    // Two residual blocks around attention, and the last convolution.
    return values + 2 * 5 * channels * pixels
  }

  private func fullPixels(height: Int, width: Int) -> Int {
    height * width * (spatialStride / patchSize) * (spatialStride / patchSize)
  }

  /// What decoding a block holds at its widest: at full resolution in the second norm or convolution of a residual block, or before it where
  /// the picture is made larger.
  ///
  /// - Parameter onProcessor: whether it runs on this processor, with its kernels.
  package func decodingActivations(
    framesPerBlock: Int, height: Int, width: Int, dtype: DType, onProcessor: Bool
  ) -> Int {
    let most = framesPerPass(height: height, width: width)
    let frames = temporalStride * min(framesPerBlock, most)
    let pixels = fullPixels(height: height, width: width)
    let channels = decoderLevelWidths[0]
    let above = decoderLevelWidths[min(1, decoderLevelWidths.count - 1)]
    let enlarged = isResidual ? above : above / 2
    // The level's and the layer's input, both of a quarter of the pixels, the enlarged picture, the convolution's result. A shortcut is
    // two copies of the result in place of the enlarged picture.
    let enlarging = frames * pixels * (above / 2 + (isResidual ? 3 * above : above + enlarged))
    // The level's input; the block's input, the first convolution's result, and the norm of that: three steps of it and the length of every
    // pixel where no kernel takes them at once, or behind two frames of history with the second convolution's result, and the history that is
    // to be and that was.
    let fused = fuses(dtype, onProcessor: onProcessor)
    let (lengths, norm) = fused ? (0, 0) : (frames, 5 * frames)
    let residual = pixels * (frames * enlarged + lengths + channels * max(norm, 4 * frames + 4))
    // Of more passes than one the frames of the earlier ones wait.
    let done = temporalStride * max(0, framesPerBlock - most) * pixels * pixelChannels
    return max(enlarging, residual) + done
  }

  /// What encoding a still picture of so many frames holds at its widest: as in decoding, with the pixels and the history of all layers,
  /// which a session does not keep.
  package func encodingActivations(frames: Int, height: Int, width: Int, dtype: DType, onProcessor: Bool) -> Int {
    let pass = min(frames, Self.latentFramesPerPass * temporalStride)
    let pixels = fullPixels(height: height, width: width)
    let inputs = residualBlocks > 1 ? 2 : 1  // the level's, and that of a block which is not its first
    let history =
      frames > pass
      ? encoderHistory(height: height, width: width)
      : 2 * pixels * (pixelChannels + 2 * residualBlocks * levelWidths[0])
    let fused = fuses(dtype, onProcessor: onProcessor)
    let (lengths, norm) = fused ? (0, 0) : (pass, (inputs + 4) * pass)
    let channels = levelWidths[0] * max(norm, (inputs + 3) * pass + 4)
    return pixels * (pixelChannels * pass + lengths + channels) + history
  }
}

import NN
import Torch

// A speakers, n latent frames of a block, T tokens of a frame, K tokens of a frame's sound, C width, H heads, D = C/H.

/// Adds sound to the tokens after one layer: AdaLN by the frame's global vector, then cross-attention of the frame's tokens to those of
/// its sound.
struct AudioInjector: Sendable {
  private let attention: WanAttention
  private let modulation: Linear

  /// What one injector makes of a block's sound.
  struct Sound: Sendable {
    let shift, scale: Tensor  // [A, n, C]
    let keys, values: Tensor  // [A·n, K, H, D]
  }

  init(_ config: WanS2VConfiguration, _ index: Int, _ path: ParameterPath) {
    attention = WanAttention(
      dim: config.dim, heads: config.numHeads, eps: 1e-6, joinsProjections: false, path / "injector" / index)
    modulation = Linear(config.dim, config.dim * 2, path / "injector_adain_layers" / index / "linear")
  }

  /// Of a sound on any device, on that of the layer.
  ///
  /// - Parameters:
  ///   - local: `[A, n, K, C]`.
  ///   - global: `[A, n, 1, C]`.
  func read(local: Tensor, global: Tensor) -> Sound {
    let device = modulation.device
    let parts = modulation(global.to(device).squeeze(2).silu()).chunks(2, -1)
    let (keys, values) = attention.crossKeysAndValues(local.to(device).flatten(0, 1))
    return Sound(shift: parts[0], scale: parts[1], keys: keys, values: values)
  }

  /// What is to be added to tokens x `[A, n·T, C]`, `[A, n·T, C]`.
  func callAsFunction(_ x: Tensor, _ sound: Sound, name: String, tap: WanTap?) -> Tensor {
    let frames = sound.shift.size(1)
    let modulated = x.normModulate(shift: sound.shift, scale: sound.scale, eps: 1e-5)
    let perFrame = modulated.unflatten(1, frames, -1).flatten(0, 1)  // [A·n, T, C]
    tap?("\(name).adain", perFrame)
    let read = attention.crossAttention(perFrame, (sound.keys, sound.values))
    tap?("\(name).attention", read)
    return read.unflatten(0, -1, frames).flatten(1, 2)
  }

  /// As the pass itself, but keeps only its inputs for the gradient and runs again where that is asked for.
  func checkpointed(_ x: Tensor, _ sound: Sound, name: String) -> Tensor {
    let tensors = [x, sound.shift, sound.scale, sound.keys, sound.values] + attention.tensors
    return Tensor.checkpointed(tensors) { inputs in
      self(
        inputs[0], Sound(shift: inputs[1], scale: inputs[2], keys: inputs[3], values: inputs[4]), name: name, tap: nil)
    }
  }
}

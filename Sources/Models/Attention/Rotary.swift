import Foundation
package import Torch

/// Rotary position embedding over time, height and width.
///
/// A head of width D turns its interleaved pairs by angles position · 10000^(-2i/d); d is 2⌊D/6⌋ for height and for width, and
/// what is left for time. Positions are computed, not looked up, so time has no end. Angles in fp64, factors in fp32.
package struct Rotary: Sendable {
  /// Height and width in tokens.
  package let grid: (height: Int, width: Int)
  private let timeFrequencies: Tensor  // [Dt/2], fp64
  private let spatialFrequencies: Tensor  // [Dh/2], fp64
  private let spatial: Tensor  // [h·w, (Dh + Dw)/2, 2]
  private let device: Device
  /// The type that factors are rounded to.
  private let precision: DType

  /// - Parameters:
  ///   - grid: height and width in tokens.
  ///   - precision: the type that factors are rounded to before they are used in fp32.
  package init(headDim: Int, grid: (height: Int, width: Int), precision: DType = .float32, device: Device) {
    let side = 2 * (headDim / 6)
    timeFrequencies = Rotary.frequencies(headDim - 2 * side, device)
    spatialFrequencies = Rotary.frequencies(side, device)
    self.grid = grid
    self.device = device
    self.precision = precision
    spatial = Rotary.spatial(
      rows: .range(Double(grid.height), .float64, device: device),
      columns: .range(Double(grid.width), .float64, device: device), spatialFrequencies, precision)
  }

  /// Cosines and sines `[F·T, D/2, 2]` of latent frames at any times, on a grid spread over the whole one as the published code does
  /// for coarser tokens: n rows stand at n evenly spaced places from the first row to the last, cut to whole numbers.
  package func factors(times: [Int], grid coarse: (height: Int, width: Int)) -> Tensor {
    func places(_ count: Int, of whole: Int) -> Tensor {
      let step = count > 1 ? Double(whole - 1) / Double(count - 1) : 0
      // The last one is set, not multiplied, so that rounding cannot cut it.
      return Tensor(
        (0..<count).map { $0 > 0 && $0 == count - 1 ? Double(whole - 1) : (Double($0) * step).rounded(.down) },
        device: device)
    }
    let spatial = Rotary.spatial(
      rows: places(coarse.height, of: grid.height), columns: places(coarse.width, of: grid.width), spatialFrequencies,
      precision)
    return joined(Rotary.factors(Tensor(times.map { Double($0) }, device: device), timeFrequencies, precision), spatial)
  }

  /// Cosines and sines `[F·T, D/2, 2]` for latent frames at consecutive times from `start`.
  package func factors(start: Int, frames: Int) -> Tensor {
    joined(timeFactors(start: start, frames: frames), spatial)
  }

  /// Every frame's time `[F, Dt/2, 2]` with every place `[T, (Dh + Dw)/2, 2]`.
  private func joined(_ time: Tensor, _ spatial: Tensor) -> Tensor {
    let (frames, tokens) = (time.size(0), spatial.size(0))
    let full = Tensor.cat(
      [
        time.unsqueeze(1).expand(frames, tokens, time.size(1), 2),
        spatial.unsqueeze(0).expand(frames, tokens, spatial.size(1), 2),
      ], 2)
    return full.flatten(0, 1)
  }

  /// The factors `[D/2, 2]` that turn a key at any time to one `frames` later (earlier if negative).
  package func shift(byFrames frames: Int) -> Tensor {
    let time = timeFactors(start: frames, frames: 1).squeeze(0)
    let still = Tensor([1, 0] as [Float], [1, 2], device: device).expand(spatial.size(1), 2)
    return Tensor.cat([time, still], 0)
  }

  private func timeFactors(start: Int, frames: Int) -> Tensor {
    Rotary.factors(.range(Double(start), Double(start + frames), .float64, device: device), timeFrequencies, precision)
  }

  private static func frequencies(_ width: Int, _ device: Device) -> Tensor {
    Tensor((0..<width / 2).map { 1 / pow(10000, Double(2 * $0) / Double(width)) }, device: device)
  }

  private static func factors(_ positions: Tensor, _ frequencies: Tensor, _ precision: DType) -> Tensor {  // [n, d, 2]
    let angles = positions.unsqueeze(1) * frequencies.unsqueeze(0)
    return Tensor.stack([angles.cos(), angles.sin()], -1).to(precision).to(.float32)
  }

  private static func spatial(rows: Tensor, columns: Tensor, _ frequencies: Tensor, _ precision: DType) -> Tensor {
    let shape = [rows.size(0), columns.size(0), frequencies.size(0), 2]
    return Tensor.cat(
      [
        factors(rows, frequencies, precision).unsqueeze(1).expand(shape),
        factors(columns, frequencies, precision).unsqueeze(0).expand(shape),
      ], 2
    ).flatten(0, 1)
  }
}

/// The sinusoidal embedding `[N, width]` of timesteps `[N]`: cosines, then sines, of timestep · 10000^(-i/half).
///
/// Computed in fp64 and cast to the timesteps' type. Source: `sinusoidal_embedding_1d` of the reference.
package func sinusoidalEmbedding(_ timesteps: Tensor, width: Int) -> Tensor {
  let half = width / 2
  let frequencies = Tensor((0..<half).map { pow(10000, -Double($0) / Double(half)) }, device: timesteps.device)
  let angles = timesteps.to(.float64).unsqueeze(1) * frequencies.unsqueeze(0)
  return Tensor.cat([angles.cos(), angles.sin()], 1).to(timesteps.dtype)
}

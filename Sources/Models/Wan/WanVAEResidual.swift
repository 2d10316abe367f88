package import Torch

// What Wan 2.2's autoencoder has beyond Wan 2.1's: pixels folded into channels, and shortcuts around the levels.

extension Tensor {
  /// A video `[B, c, T, H, W]` with its squares of p by p pixels as channels, `[B, c·p·p, T, H/p, W/p]`, the channels innermost in
  /// memory. Of a colour's pixels those of one column are neighbours.
  package func folded(_ p: Int) -> Tensor {
    if p == 1 { return channelsLast3D() }
    let squares = unflatten(4, size(4) / p, p).unflatten(3, size(3) / p, p)  // [B, c, T, h, q, w, r]
    return squares.permute(0, 2, 3, 5, 1, 6, 4).flatten(4).permute(0, 4, 1, 2, 3)
  }

  /// The reverse of `folded`, the colours innermost in memory.
  func unfolded(_ p: Int) -> Tensor {
    if p == 1 { return self }
    let squares = unflatten(1, size(1) / (p * p), p, p)  // [B, c, r, q, T, h, w]
    return squares.permute(0, 4, 5, 3, 6, 2, 1).flatten(4, 5).flatten(2, 3).permute(0, 4, 1, 2, 3)
  }
}

/// A way around a level that has no weights.
protocol LevelShortcut: Sendable {
  /// - Parameter startsVideo: whether these are a video's first frames.
  func callAsFunction(_ x: Tensor, startsVideo: Bool) -> Tensor
}

/// The means of neighbouring values: a cube of `time` frames by `space` by `space` pixels becomes channels, of which consecutive
/// ones are averaged ("AvgDown3D").
struct AverageDown: LevelShortcut {
  let outputs: Int
  let time: Int
  let space: Int
  /// Values whose mean is one.
  private let group: Int

  init(_ inputs: Int, _ outputs: Int, time: Int, space: Int) {
    let values = inputs * time * space * space
    require(values % outputs == 0, "A shortcut cannot average \(values) values into \(outputs) channels.")
    self.outputs = outputs
    self.time = time
    self.space = space
    group = values / outputs
  }

  func callAsFunction(_ x: Tensor, startsVideo: Bool) -> Tensor {
    if time == 1 && space == 1 && group == 1 { return x }
    // A video's first frame is averaged with zeros before it; later passes are whole pairs of frames.
    let lead = (time - x.size(2) % time) % time
    let x = lead > 0 ? x.pad(0, 0, 0, 0, lead, 0) : x
    let cubes = x.unflatten(4, x.size(4) / space, space).unflatten(3, x.size(3) / space, space)
      .unflatten(2, x.size(2) / time, time)  // [B, C, T, t, h, p, w, q]
    return cubes.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).unflatten(4, outputs, group).mean(-1)
      .permute(0, 4, 1, 2, 3)
  }
}

/// Repeated values: every channel as often as fills a cube of `time` frames by `space` by `space` pixels of each of the channels
/// that come out ("DupUp3D").
struct DuplicateUp: LevelShortcut {
  let outputs: Int
  let time: Int
  let space: Int
  private let copies: Int

  init(_ inputs: Int, _ outputs: Int, time: Int, space: Int) {
    let values = outputs * time * space * space
    require(values % inputs == 0, "A shortcut cannot fill \(values) values from \(inputs) channels.")
    self.outputs = outputs
    self.time = time
    self.space = space
    copies = values / inputs
  }

  func callAsFunction(_ x: Tensor, startsVideo: Bool) -> Tensor {
    let (b, c, t, h, w) = (x.size(0), x.size(1), x.size(2), x.size(3), x.size(4))
    let cubes = x.permute(0, 2, 3, 4, 1).unsqueeze(5).expand(b, t, h, w, c, copies)
      .reshape(b, t, h, w, outputs, time, space, space)
    let y = cubes.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, t * time, h * space, w * space, outputs)
      .permute(0, 4, 1, 2, 3)
    // A video's first frame stays one: the last of its copies.
    return startsVideo && time > 1 ? y.narrow(2, time - 1, y.size(2) - time + 1) : y
  }
}

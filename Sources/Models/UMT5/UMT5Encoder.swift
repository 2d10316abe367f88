import Foundation
package import NN
package import Torch

// B prompts, L positions (512), n positions of one prompt, C width, A attention width, H heads, D = A/H, F feed-forward width.

/// The sizes of a umT5 text encoder.
package struct UMT5Configuration: Codable, Hashable, Sendable {
  package let vocabulary: Int
  package let width: Int
  package let attentionWidth: Int
  package let feedForwardWidth: Int
  package let heads: Int
  package let layers: Int
  package let buckets: Int
  /// Distances from here on share the last bucket.
  package let maxDistance: Int

  package init(
    vocabulary: Int, width: Int, attentionWidth: Int, feedForwardWidth: Int, heads: Int, layers: Int, buckets: Int = 32,
    maxDistance: Int = 128
  ) {
    self.vocabulary = vocabulary
    self.width = width
    self.attentionWidth = attentionWidth
    self.feedForwardWidth = feedForwardWidth
    self.heads = heads
    self.layers = layers
    self.buckets = buckets
    self.maxDistance = maxDistance
  }

  /// The encoder that Wan2.1 ships: 5.7 billion parameters.
  package static let xxl = UMT5Configuration(
    vocabulary: 256_384, width: 4096, attentionWidth: 4096, feedForwardWidth: 10_240, heads: 64, layers: 24)

  /// The configuration of a checkpoint, read off the shapes of its tensors; `name` (a file) is what errors call it.
  ///
  /// - Throws: `CheckpointMismatch` where a tensor that tells a size is missing or impossible.
  package init(readingFrom weights: [String: Tensor], name: String) throws {
    var missing: [String] = []
    var misshaped: [String] = []
    func sizes(_ key: String) -> (Int, Int) {
      guard let tensor = weights[key] else {
        missing.append(key)
        return (1, 1)
      }
      let shape = tensor.shape
      guard shape.count == 2, shape[0] > 0, shape[1] > 0 else {
        misshaped.append("\(key) is \(shape), expected two dimensions")
        return (1, 1)
      }
      return (shape[0], shape[1])
    }
    let (vocabulary, width) = sizes("token_embedding.weight")
    let attentionWidth = sizes("blocks.0.attn.q.weight").0
    let feedForwardWidth = sizes("blocks.0.ffn.fc1.weight").0
    let (buckets, heads) = sizes("blocks.0.pos_embedding.embedding.weight")
    if attentionWidth % heads != 0 {
      misshaped.append("blocks.0.attn.q.weight has \(attentionWidth) rows, not a multiple of \(heads) heads")
    }
    if missing.isEmpty, buckets < 4 || buckets % 4 != 0 {
      misshaped.append("blocks.0.pos_embedding.embedding.weight has \(buckets) rows, not a multiple of 4")
    }
    if !missing.isEmpty || !misshaped.isEmpty {
      throw CheckpointMismatch(name: name, missing: missing, misshaped: misshaped)
    }
    let layers = (0...).first { weights["blocks.\($0).norm1.weight"] == nil } ?? 0
    self.init(
      vocabulary: vocabulary, width: width, attentionWidth: attentionWidth, feedForwardWidth: feedForwardWidth,
      heads: heads, layers: max(layers, 1), buckets: buckets)
  }
}

/// Bidirectional attention with a learned bias per distance, and without the factor 1/√D.
struct UMT5Attention: Sendable {
  let q: Linear
  let k: Linear
  let v: Linear
  let o: Linear
  let heads: Int

  init(_ configuration: UMT5Configuration, _ path: ParameterPath) {
    let (width, attentionWidth) = (configuration.width, configuration.attentionWidth)
    q = Linear(width, attentionWidth, bias: false, path / "q")
    k = Linear(width, attentionWidth, bias: false, path / "k")
    v = Linear(width, attentionWidth, bias: false, path / "v")
    o = Linear(attentionWidth, width, bias: false, path / "o")
    heads = configuration.heads
  }

  /// x `[1, n, C]`, bias `[1, H, n, n]`, keyMask `[n]`, true where a key counts.
  func callAsFunction(_ x: Tensor, bias: Tensor, keyMask: Tensor?) -> Tensor {
    func split(_ t: Tensor) -> Tensor { t.unflatten(-1, heads, -1).transpose(1, 2) }  // [1, H, n, D]
    var scores = split(q(x)).matmul(split(k(x)).transpose(-2, -1)) + bias  // [1, H, n, n]
    if let keyMask { scores = scores.maskedFill(keyMask.logicalNot(), -.infinity) }
    let weights = scores.to(.float32).softmax(-1).to(x.dtype)
    return o(weights.matmul(split(v(x))).transpose(1, 2).flatten(-2, -1))  // [1, n, C]
  }
}

/// `fc2(fc1(x) · gelu(gate(x)))`.
struct UMT5FeedForward: Sendable {
  let gate: Linear
  let fc1: Linear
  let fc2: Linear

  init(_ configuration: UMT5Configuration, _ path: ParameterPath) {
    let (width, inner) = (configuration.width, configuration.feedForwardWidth)
    gate = Linear(width, inner, bias: false, path / "gate" / 0)
    fc1 = Linear(width, inner, bias: false, path / "fc1")
    fc2 = Linear(inner, width, bias: false, path / "fc2")
  }

  func callAsFunction(_ x: Tensor) -> Tensor { fc2(fc1(x) * gate(x).gelu(tanhForm: true)) }
}

/// One layer: attention and feed-forward, each normalised before and added after.
struct UMT5Layer: Sendable {
  let norm1: RMSNorm
  let attention: UMT5Attention
  let norm2: RMSNorm
  let feedForward: UMT5FeedForward
  let positions: Embedding  // [buckets, H]

  init(_ configuration: UMT5Configuration, _ path: ParameterPath) {
    norm1 = RMSNorm(configuration.width, eps: 1e-6, path / "norm1")
    attention = UMT5Attention(configuration, path / "attn")
    norm2 = RMSNorm(configuration.width, eps: 1e-6, path / "norm2")
    feedForward = UMT5FeedForward(configuration, path / "ffn")
    positions = Embedding(configuration.buckets, configuration.heads, path / "pos_embedding" / "embedding")
  }

  /// x `[1, n, C]`, buckets `[n, n]`.
  func callAsFunction(_ x: Tensor, buckets: Tensor, keyMask: Tensor?, tap: UMT5Encoder.Tap?) -> Tensor {
    let bias = positions(buckets).permute(2, 0, 1).unsqueeze(0)  // [1, H, n, n]
    tap?("pos_bias", bias)
    let attended = attention(norm1(x), bias: bias, keyMask: keyMask)
    tap?("attn", attended)
    let y = x + attended
    let fed = feedForward(norm2(y))
    tap?("ffn", fed)
    return y + fed
  }
}

/// The umT5 text encoder of Wan, with the keys of `models_t5_umt5-xxl-enc-bf16.pth`.
///
/// The parameters stay where the path's store left them, such as in a mapped file; each layer is brought to the device and type
/// of the run when its turn comes, and let go after it. A run in the file's own type on the CPU copies no weights.
package struct UMT5Encoder: Sendable {
  /// Receives intermediate values by name: `token_embedding`, `blockN.attn`, `blockN`, `norm`, …
  package typealias Tap = (String, Tensor) -> Void

  package let configuration: UMT5Configuration
  package let device: Device
  package let dtype: DType
  private let tokens: Embedding
  private let layers: [UMT5LayerParameters]
  private let norm: RMSNorm

  /// - Parameters:
  ///   - device: where it runs; the store's own place and type hold for the parameters at rest.
  ///   - dtype: the type it runs in, fp32 or bf16.
  package init(
    _ configuration: UMT5Configuration, _ path: ParameterPath, device: Device = .cpu, dtype: DType = .float32
  ) {
    self.configuration = configuration
    self.device = device
    self.dtype = dtype
    tokens = Embedding(configuration.vocabulary, configuration.width, path / "token_embedding")
    layers = (0..<configuration.layers).map { UMT5LayerParameters(configuration, path / "blocks" / $0) }
    norm = RMSNorm(configuration.width, eps: 1e-6, path / "norm")
  }

  /// The encoder of a checkpoint, whatever its sizes; `name` (a file) is what errors call it.
  ///
  /// All keys and shapes are checked before anything runs.
  /// - Throws: `CheckpointMismatch`, with every missing, misshaped and unused key.
  package init(
    weights: [String: Tensor], name: String, device: Device = .cpu, dtype: DType? = nil, checksValues: Bool = true
  ) throws {
    let configuration = try UMT5Configuration(readingFrom: weights, name: name)
    let store = ParameterStore(weights: weights, name: name, checksValues: checksValues)
    let stored = weights["token_embedding.weight"]?.dtype ?? .float32
    self.init(configuration, store.root, device: device, dtype: dtype ?? stored)
    try store.finish()
  }

  /// The text context of prompts: rows past a prompt's end are 0.
  ///
  /// Only the rows of the prompt are computed: keys past its end are masked, so that its rows do not depend on them. A mask
  /// with gaps runs all rows.
  /// - Parameters:
  ///   - ids: `[B, L]`, padded on the right.
  ///   - mask: `[B, L]`, not 0 where there is a token.
  ///   - everyRow: computes the masked rows too, as the published code does; the result is the same.
  /// - Returns: `[B, L, C]` in the run's type.
  package func encode(ids: Tensor, mask: Tensor, everyRow: Bool = false, tap: Tap? = nil) -> Tensor {
    require(ids.rank == 2 && ids.shape == mask.shape, "Ids and mask are [B, L].")
    let (count, length) = (ids.size(0), ids.size(1))
    let kept = (0..<count).map { mask.select(0, $0).to(.cpu).array(Int.self).map { $0 != 0 } }
    var rows: [(used: Int, keyMask: Tensor?)] = []
    for flags in kept {
      let tokens = flags.count { $0 }
      let isPrefix = !flags.prefix(tokens).contains(false)
      let keyMask = Tensor(flags.map { $0 ? 1 : 0 } as [Int]).to(device, .bool)
      rows.append(isPrefix && !everyRow ? (tokens, nil) : (length, keyMask))
    }
    // One layer serves all prompts before the next is brought in.
    var states = (0..<count).map { index in
      let prompt = ids.narrow(0, index, 1).narrow(1, 0, rows[index].used)
      return tokens(prompt.to(tokens.weight.device)).to(device, dtype)  // [1, n, C]
    }
    if let first = states.first { tap?("token_embedding", first) }
    let buckets = UMT5Buckets(configuration)
    for (number, parameters) in layers.enumerated() {
      let layer = parameters.layer(configuration, device, dtype)
      for index in states.indices where rows[index].used > 0 {
        let table = buckets.table(rows[index].used).to(device)
        let inner: Tap? = index == 0 ? tap.map { tap in { tap("block\(number).\($0)", $1) } } : nil
        states[index] = layer(states[index], buckets: table, keyMask: rows[index].keyMask, tap: inner)
      }
      if let first = states.first { tap?("block\(number)", first) }
    }
    let weight = norm.weight.to(device, dtype)
    let results = states.enumerated().map { index, state in
      let normed = state.rmsNorm(weight, eps: norm.eps)
      if index == 0 { tap?("norm", normed) }
      let tokens = kept[index].count { $0 }
      return normed.narrow(1, 0, tokens).pad(0, 0, 0, length - tokens)  // [1, L, C]
    }
    return Tensor.cat(results, 0)
  }
}

/// The parameters of one layer at rest.
private struct UMT5LayerParameters: Sendable {
  private let parameters: [String: Tensor]

  init(_ configuration: UMT5Configuration, _ path: ParameterPath) {
    let start = path.store.parameters.count
    _ = UMT5Layer(configuration, path)
    parameters = path.store.parameters[start...].reduce(into: [:]) { parameters, entry in
      parameters[String(entry.name.dropFirst(path.key.count + 1))] = entry.tensor
    }
  }

  /// The layer on the device and in the type of the run; what is there already is shared.
  func layer(_ configuration: UMT5Configuration, _ device: Device, _ dtype: DType) -> UMT5Layer {
    UMT5Layer(
      configuration,
      ParameterStore(weights: parameters, name: "a layer", device: device, dtype: dtype, checksValues: false).root)
  }
}

/// Which row of a position table holds for a key at some distance from its query.
package struct UMT5Buckets {
  private let half: Int
  private let maxDistance: Int

  package init(_ configuration: UMT5Configuration) {
    half = configuration.buckets / 2
    maxDistance = configuration.maxDistance
  }

  /// The bucket of a key `position` places after its query.
  ///
  /// Each direction has half of the buckets: one per distance at first, then logarithmic ones whose bounds are those of a
  /// truncated fp32 logarithm.
  package func bucket(_ position: Int) -> Int {
    let side = position > 0 ? half : 0
    let distance = abs(position)
    let exact = half / 2
    if distance < exact { return side + distance }
    let scale = Float(Foundation.log(Double(maxDistance) / Double(exact)))
    let step = Foundation.log(Float(distance) / Float(exact)) / scale * Float(half - exact)
    return side + min(exact + Int(step), half - 1)
  }

  /// `[n, n]`: of the query in the row and the key in the column.
  func table(_ n: Int) -> Tensor {
    let line = (1 - n..<n).map(bucket)
    return Tensor((0..<n).flatMap { query in line[(n - 1 - query)..<(2 * n - 1 - query)] }, [n, n])
  }
}

import NN
package import Torch

// Silero VAD 6 (github.com/snakers4/silero-vad): the probability that somebody speaks, for each 32 ms of sound at 16 kHz.
//
// Letters: N sounds side by side, C channels, L steps of 8 ms within a window, H the LSTM's width.

extension Tensor {
  /// `1 / (1 + exp(-x))`, which this form computes without overflow.
  fileprivate func sigmoid() -> Tensor { (self * 0.5).tanh() * 0.5 + 0.5 }
}

/// One step of an LSTM (PyTorch's `LSTMCell`, gates in the order input, forget, cell, output).
struct LSTMCell: Sendable {
  private let weightInput: Tensor  // [4H, C]
  private let weightHidden: Tensor  // [4H, H]
  private let biasInput: Tensor  // [4H]
  private let biasHidden: Tensor  // [4H]

  init(_ inputs: Int, _ width: Int, _ path: ParameterPath) {
    weightInput = path.parameter("weight_ih", [4 * width, inputs], .uniform(fanIn: width))
    weightHidden = path.parameter("weight_hh", [4 * width, width], .uniform(fanIn: width))
    biasInput = path.parameter("bias_ih", [4 * width], .uniform(fanIn: width))
    biasHidden = path.parameter("bias_hh", [4 * width], .uniform(fanIn: width))
  }

  /// x `[N, C]`, hidden and cell `[N, H]`.
  func callAsFunction(_ x: Tensor, hidden: Tensor, cell: Tensor) -> (hidden: Tensor, cell: Tensor) {
    let gates = (x.linear(weightInput, biasInput) + hidden.linear(weightHidden, biasHidden)).chunks(4, 1)  // 4 × [N, H]
    let cell = gates[1].sigmoid() * cell + gates[0].sigmoid() * gates[2].tanh()
    return (gates[3].sigmoid() * cell.tanh(), cell)
  }
}

/// A convolution over time with three taps, and a rectifier.
private struct VADConvolution: Sendable {
  private let weight: Tensor  // [out, in, 3]
  private let bias: Tensor  // [out]
  private let stride: Int

  init(_ inputs: Int, _ outputs: Int, stride: Int, _ path: ParameterPath) {
    weight = path.parameter("weight", [outputs, inputs, 3], .uniform(fanIn: 3 * inputs))
    bias = path.parameter("bias", [outputs], .uniform(fanIn: 3 * inputs))
    self.stride = stride
  }

  func callAsFunction(_ x: Tensor) -> Tensor { x.conv1d(weight, bias, stride: stride, padding: 1).relu() }
}

/// Silero's voice activity detector. The model has no state; `SileroVADStream` keeps that of one sound.
package struct SileroVAD: Sendable {
  package static let sampleRate = 16_000
  /// New samples that one call takes: 32 ms.
  package static let windowSamples = 512
  /// Samples before them that it sees again.
  static let contextSamples = 64
  /// Samples that are mirrored behind the window.
  private static let paddedSamples = 64
  private static let frequencies = 129
  private static let width = 128

  /// What one window leaves to the next.
  struct State: Sendable {
    var context: Tensor  // [N, contextSamples]
    var hidden: Tensor  // [N, H]
    var cell: Tensor  // [N, H]
  }

  private let device: Device
  private let fourier: Tensor  // [2 · frequencies, 1, 256]: windowed cosines, then sines
  private let convolutions: [VADConvolution]
  private let lstm: LSTMCell
  private let outputWeight: Tensor  // [1, H, 1]
  private let outputBias: Tensor  // [1]

  init(_ path: ParameterPath) {
    device = path.store.device
    let (bins, width) = (Self.frequencies, Self.width)
    fourier = (path / "stft_conv").parameter("weight", [2 * bins, 1, 256], .uniform(fanIn: 256))
    let sizes = [(bins, width, 1), (width, 64, 2), (64, 64, 2), (64, width, 1)]
    convolutions = sizes.enumerated().map { index, size in
      VADConvolution(size.0, size.1, stride: size.2, path / "conv\(index + 1)")
    }
    lstm = LSTMCell(width, width, path / "lstm_cell")
    outputWeight = (path / "final_conv").parameter("weight", [1, width, 1], .uniform(fanIn: width))
    outputBias = (path / "final_conv").parameter("bias", [1], .uniform(fanIn: width))
  }

  /// - Parameter weights: those of `silero_vad_16k.safetensors`.
  /// - Throws: `CheckpointMismatch` with all keys that are wrong.
  package init(weights: [String: Tensor], name: String = "the weights", device: Device = .cpu) throws {
    let store = ParameterStore(weights: weights, name: name, device: device, dtype: .float32, isFrozen: true)
    self.init(store.root)
    try store.finish()
  }

  /// The state before any sound: silence was heard.
  func initialState(count: Int = 1) -> State {
    State(
      context: .zeros([count, Self.contextSamples], device: device),
      hidden: .zeros([count, Self.width], device: device), cell: .zeros([count, Self.width], device: device))
  }

  /// The probability of speech in the next window of each of several sounds.
  ///
  /// - Parameter window: `[N, windowSamples]`, −1…1.
  /// - Returns: `[N]`.
  func callAsFunction(_ window: Tensor, _ state: inout State) -> Tensor {
    let heard = Tensor.cat([state.context, window], 1)
    state.context = window.narrow(1, Self.windowSamples - Self.contextSamples, Self.contextSamples)
    let end = heard.size(1)
    let mirrored = heard.narrow(1, end - 1 - Self.paddedSamples, Self.paddedSamples).flip(1)
    let spectrum = Tensor.cat([heard, mirrored], 1).unsqueeze(1).conv1d(fourier, nil, stride: 128)  // [N, 2 · bins, L]
    let parts = spectrum.chunks(2, 1)
    let magnitude = (parts[0].square() + parts[1].square()).sqrt()  // [N, bins, L]
    let x = convolutions.reduce(magnitude) { $1($0) }.squeeze(-1)  // [N, H]: one step is left
    (state.hidden, state.cell) = lstm(x, hidden: state.hidden, cell: state.cell)
    return state.hidden.relu().unsqueeze(-1).conv1d(outputWeight, outputBias).flatten().sigmoid()  // [N]
  }
}

/// The probability of speech in one sound, as it comes.
package struct SileroVADStream {
  private let model: SileroVAD
  private var state: SileroVAD.State
  private var waiting: [Float] = []

  package init(_ model: SileroVAD) {
    self.model = model
    state = model.initialState()
  }

  /// Takes further samples, any number of them. Samples that are not finite count as silence: one would spoil all that follows.
  ///
  /// - Parameter samples: mono at `SileroVAD.sampleRate`, −1…1.
  /// - Returns: the probability of speech in each window that they complete, in order.
  package mutating func append(_ samples: some Sequence<Float>) -> [Float] {
    waiting.append(contentsOf: samples.lazy.map { $0.isFinite ? min(max($0, -1), 1) : 0 })
    var probabilities: [Float] = []
    var start = 0
    withInferenceMode {
      while waiting.count - start >= SileroVAD.windowSamples {
        let window = Tensor(Array(waiting[start..<start + SileroVAD.windowSamples]), [1, SileroVAD.windowSamples])
        probabilities.append(Float(model(window, &state).item))
        start += SileroVAD.windowSamples
      }
    }
    waiting.removeFirst(start)
    return probabilities
  }

  /// The LSTM's state, for comparisons: each `[1, H]`.
  package var stateTensors: [(name: String, tensor: Tensor)] { [("hidden", state.hidden), ("cell", state.cell)] }

  /// Forgets what was heard, as at the beginning.
  package mutating func reset() {
    state = model.initialState()
    waiting = []
  }
}

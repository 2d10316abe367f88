import Models
import NN
import Testing
import Torch

@Suite struct WanVAETests {
  let configuration = WanVAEConfiguration(
    width: 4, latentChannels: 4, widthMultipliers: [1, 2, 2, 2], residualBlocks: 1,
    temporalDownsampling: [false, true, true], latentMean: [0.1, -0.2, 0.3, 0], latentDeviation: [1.5, 0.5, 2, 1])

  func random(_ configuration: WanVAEConfiguration, dtype: DType = .float32, seed: UInt64 = 1) -> WanVAE {
    WanVAE(configuration, ParameterStore(random: RandomGenerator(seed: seed), dtype: dtype).root)
  }

  func weights(_ configuration: WanVAEConfiguration) -> [String: Tensor] {
    let store = ParameterStore(random: RandomGenerator(seed: 5))
    _ = WanVAE(configuration, store.root)
    return Dictionary(uniqueKeysWithValues: store.parameters.map { ($0.name, $0.tensor) })
  }

  func latent(_ frames: Int, dtype: DType = .float32, seed: UInt64 = 2, batch: Int = 1) -> Tensor {
    RandomGenerator(seed: seed).normal([batch, 4, frames, 3, 2], dtype)
  }

  func decode(_ latent: Tensor, in chunks: [Int], _ vae: WanVAE) -> Tensor {
    var stream = vae.stream()
    var start = 0
    let parts = chunks.map { length in
      defer { start += length }
      return stream.decode(latent.narrow(2, start, length), clamped: false)
    }
    return Tensor.cat(parts, 2)
  }

  // MARK: Decoding

  @Test(arguments: [[7], [1, 1, 1, 1, 1, 1, 1], [1, 1, 3, 2], [3, 3, 1], [2, 5], [1, 6]])
  func `A streamed decode equals the whole decode however it is cut`(_ chunks: [Int]) {
    let vae = random(configuration)
    let latent = latent(7, batch: 2)
    let whole = vae.decode(latent, clamped: false)
    #expect(whole.shape == [2, 3, 25, 24, 16])
    #expect(whole.abs().max().item > 0.01)
    #expect(decode(latent, in: chunks, vae).maxAbsDifference(whole) < 1e-5)
  }

  @Test(arguments: [DType.bfloat16, .float16])
  func `A streamed decode equals the whole decode in half precision`(_ dtype: DType) throws {
    let weights = weights(configuration)
    let vae = try WanVAE(weights: weights, name: "weights", dtype: dtype)
    let latent = latent(7, dtype: dtype)
    let whole = vae.decode(latent, clamped: false)
    #expect(whole.dtype == dtype)
    for chunks in [[1, 1, 3, 2], [3, 3, 1], [7]] {
      #expect(decode(latent, in: chunks, vae).maxAbsDifference(whole) < 0.01)
    }
    let precise = try WanVAE(weights: weights, name: "weights").decode(latent.to(.float32), clamped: false)
    #expect(whole.maxAbsDifference(precise) < 0.15)
  }

  @Test func `The first latent frame gives one video frame and each further one four`() {
    var stream = random(configuration).stream()
    #expect(stream.decode(latent(1)).size(2) == 1)
    #expect(stream.decode(latent(1)).size(2) == 4)
    #expect(stream.decode(latent(3)).size(2) == 12)
    #expect(stream.latentFrames == 5)
  }

  @Test func `A frame does not depend on later ones`() {
    let vae = random(configuration)
    let long = latent(5)
    let difference = vae.decode(long).narrow(2, 0, 9).maxAbsDifference(vae.decode(long.narrow(2, 0, 3)))
    #expect(difference < 1e-6)
  }

  @Test func `Streams side by side do not disturb each other, and encoding disturbs none`() {
    let vae = random(configuration)
    let (a, b) = (latent(5, seed: 3), latent(5, seed: 4))
    let alone = [decode(a, in: [2, 3], vae), decode(b, in: [1, 4], vae)]
    var (first, second) = (vae.stream(), vae.stream())
    let a0 = first.decode(a.narrow(2, 0, 2), clamped: false)
    let b0 = second.decode(b.narrow(2, 0, 1), clamped: false)
    _ = vae.encode(image: a0.narrow(2, 0, 1))
    _ = vae.decode(b)
    let a1 = first.decode(a.narrow(2, 2, 3), clamped: false)
    let b1 = second.decode(b.narrow(2, 1, 4), clamped: false)
    #expect(Tensor.cat([a0, a1], 2).maxAbsDifference(alone[0]) < 1e-6)
    #expect(Tensor.cat([b0, b1], 2).maxAbsDifference(alone[1]) < 1e-6)
  }

  @Test func `A copied stream goes its own way, and a reset one starts a new video`() {
    let vae = random(configuration)
    var stream = vae.stream()
    let start = stream.decode(latent(2))
    var fork = stream
    _ = fork.decode(latent(1, seed: 8))
    let next = stream.decode(latent(1, seed: 9))
    #expect(fork.decode(latent(1, seed: 9)).maxAbsDifference(next) > 1e-4)
    stream.reset()
    #expect(stream.latentFrames == 0)
    #expect(stream.decode(latent(2)).maxAbsDifference(start) < 1e-6)
  }

  @Test func `Decoded values become bytes rounded towards zero`() {
    let video = Tensor([-1, 0, 1, 0.999] as [Float], [1, 1, 1, 2, 2]).expand(1, 3, 1, 2, 2)
    let pixels = WanVAE.pixels(video)
    #expect(pixels.shape == [1, 2, 2, 3])
    #expect(pixels.array(UInt8.self) == [0, 127, 255, 254].flatMap { [UInt8](repeating: $0, count: 3) })
    #expect(WanVAE.pixels(video.to(.bfloat16)).select(-1, 0).array(UInt8.self) == [0, 127, 255, 255])
  }

  // MARK: Encoding

  @Test func `Frames after the last whole group of four are ignored`() {
    let vae = random(configuration)
    let video = RandomGenerator(seed: 6).uniform([2, 3, 8, 16, 24])
    let whole = vae.encode(video: video)
    #expect(whole.shape == [2, 4, 2, 2, 3])
    #expect(vae.encode(video: video.narrow(2, 0, 5)).maxAbsDifference(whole) < 1e-6)
    #expect(vae.encode(image: video.narrow(2, 0, 1)).maxAbsDifference(whole.narrow(2, 0, 1)) < 1e-5)
  }

  @Test func `A long video is encoded as its start is`() {
    let vae = random(configuration)
    let video = RandomGenerator(seed: 6).uniform([1, 3, 29, 16, 16])
    let latent = vae.encode(video: video)
    #expect(latent.size(2) == 8)
    #expect(vae.encode(video: video.narrow(2, 0, 17)).maxAbsDifference(latent.narrow(2, 0, 5)) < 1e-5)
  }

  @Test func `Latents are the mean of the moments, normalised`() {
    let vae = random(configuration)
    let video = RandomGenerator(seed: 6).uniform([1, 3, 5, 16, 16])
    let mean = Tensor([0.1, -0.2, 0.3, 0] as [Float], [1, 4, 1, 1, 1])
    let deviation = Tensor([1.5, 0.5, 2, 1] as [Float], [1, 4, 1, 1, 1])
    let expected = (vae.moments(video: video).narrow(1, 0, 4) - mean) / deviation
    #expect(vae.encode(video: video).maxAbsDifference(expected) < 1e-5)
  }

  // MARK: Weights

  @Test func `The published configuration has the published number of tensors and parameters`() {
    let store = ParameterStore.shapes()
    _ = WanVAE(.wan21, store.root)
    #expect(store.layout.count == 194)
    #expect(store.layout.reduce(0) { $0 + $1.shape.reduce(1, *) } == 126_892_531)
    let shapes = Dictionary(uniqueKeysWithValues: store.layout.map { ($0.name, $0.shape) })
    #expect(shapes["decoder.upsamples.7.time_conv.weight"] == [768, 384, 3, 1, 1])
    #expect(shapes["decoder.upsamples.4.shortcut.weight"] == [384, 192, 1, 1, 1])
    #expect(shapes["encoder.downsamples.10.residual.6.weight"] == [384, 384, 3, 3, 3])
    #expect(shapes["encoder.middle.1.norm.gamma"] == [384, 1, 1])
  }

  @Test(arguments: [
    WanVAEConfiguration(
      width: 4, latentChannels: 16, widthMultipliers: [1, 2, 4, 4], residualBlocks: 2,
      temporalDownsampling: [false, true, true]),
    WanVAEConfiguration(
      width: 2, latentChannels: 3, widthMultipliers: [1, 2, 4], residualBlocks: 1,
      temporalDownsampling: [true, false]),
    WanVAEConfiguration(
      width: 6, latentChannels: 5, widthMultipliers: [2, 1], residualBlocks: 3,
      temporalDownsampling: [true]),
  ])
  func `A configuration is read off the shapes of its weights and runs`(_ expected: WanVAEConfiguration) throws {
    let vae = try WanVAE(weights: weights(expected), name: "weights")
    #expect(vae.configuration == expected)
    let video = RandomGenerator(seed: 1).uniform([1, 3, 9, 16, 16])
    let latent = vae.encode(video: video)
    #expect(latent.size(1) == expected.latentChannels)
    #expect(latent.size(2) == 1 + 8 / expected.temporalStride)
    #expect(latent.size(3) == 16 / expected.spatialStride)
    #expect(vae.decode(latent).shape == video.shape)
  }

  @Test func `Loading lists every missing, misshaped and unused key`() throws {
    var weights = weights(configuration)
    weights["decoder.head.2.bias"] = nil
    weights["conv1.weight"] = nil
    weights["encoder.head.0.gamma"] = Tensor.ones([3])
    weights["extra.weight"] = Tensor.ones([1])
    let error = #expect(throws: CheckpointMismatch.self) { try WanVAE(weights: weights, name: "vae.pth") }
    #expect(error?.missing.sorted() == ["conv1.weight", "decoder.head.2.bias"])
    #expect(error?.misshaped.count == 1)
    #expect(error?.misshaped.first?.hasPrefix("encoder.head.0.gamma") == true)
    #expect(error?.unused == ["extra.weight"])
  }

  @Test func `Weights of something else are refused by the name of what they lack`() {
    let error = #expect(throws: TorchError.self) { try WanVAE(weights: ["w": Tensor.ones([1])], name: "w") }
    #expect(error?.description.contains("encoder.conv1.weight") == true)
  }

  // MARK: Gradients

  /// The derivative of a weighted sum of what `run` gives with respect to some entries of `leaf`.
  func checkGradient(of leaf: Tensor, entries: [Int], _ run: () -> Tensor) {
    let factors = RandomGenerator(seed: 11).normal(run().shape, .float64)
    ModelsTests.checkGradient(of: leaf, entries: entries, loss: { (run() * factors).sum() })
  }

  @Test func `Gradients flow through decoding to the latent and to every parameter`() {
    let store = ParameterStore(random: RandomGenerator(seed: 1), dtype: .float64)
    let vae = WanVAE(configuration, store.root)
    for (_, tensor) in store.parameters { tensor.requiresGrad = true }
    let latent = latent(4, dtype: .float64)
    latent.requiresGrad = true
    let decode = { vae.decode(latent, clamped: false) }
    checkGradient(of: latent, entries: [0, 7, 40, 95], decode)
    for (name, tensor) in store.parameters {
      let largest = tensor.grad.map { $0.abs().max().item } ?? 0
      let takesPart = name.hasPrefix("decoder") || name.hasPrefix("conv2")
      #expect(largest.isFinite && (largest > 0) == takesPart, "\(name)")
    }
    let byName = Dictionary(uniqueKeysWithValues: store.parameters.map { ($0.name, $0.tensor) })
    for name in ["decoder.upsamples.3.residual.0.gamma", "decoder.upsamples.5.time_conv.weight"] {
      let parameter = byName[name]
      #expect(parameter != nil)
      if let parameter { checkGradient(of: parameter, entries: [0, 3, 5], decode) }
    }
  }

  @Test func `Gradients flow through encoding to the pixels and to every parameter`() {
    let store = ParameterStore(random: RandomGenerator(seed: 1), dtype: .float64)
    let vae = WanVAE(configuration, store.root)
    for (_, tensor) in store.parameters { tensor.requiresGrad = true }
    let video = RandomGenerator(seed: 3).uniform([1, 3, 13, 16, 8], .float64)
    video.requiresGrad = true
    checkGradient(of: video, entries: [0, 500, 4000]) { vae.moments(video: video) }
    for (name, tensor) in store.parameters {
      let largest = tensor.grad.map { $0.abs().max().item } ?? 0
      #expect(largest.isFinite && (largest > 0) == (name.hasPrefix("encoder") || name.hasPrefix("conv1")), "\(name)")
    }
  }
}

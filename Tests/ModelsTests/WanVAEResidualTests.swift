import NN
import Testing
import Torch

@testable import Models

/// The autoencoder in the shape of Wan 2.2's.
@Suite struct WanVAEResidualTests {
  let configuration = WanVAEConfiguration(
    width: 4, decoderWidth: 6, latentChannels: 5, widthMultipliers: [1, 2, 4, 4], residualBlocks: 1,
    temporalDownsampling: [false, true, true], patchSize: 2, isResidual: true)

  /// Random weights in double precision, none of them where it usually starts.
  func random(_ configuration: WanVAEConfiguration) -> (vae: WanVAE, store: ParameterStore) {
    let generator = RandomGenerator(seed: 1)
    let store = ParameterStore(random: generator, dtype: .float64)
    let vae = WanVAE(configuration, store.root)
    for (name, tensor) in store.parameters where name.hasSuffix("gamma") {
      tensor.add_(generator.normal(tensor.shape, .float64), alpha: 0.2)
    }
    return (vae, store)
  }

  // MARK: Parts

  @Test func `Pixels fold into channels by colour, column and row`() {
    let video = Tensor.range(3 * 2 * 4 * 6).reshape(1, 3, 2, 4, 6)
    let folded = video.folded(2)
    #expect(folded.shape == [1, 12, 2, 2, 3])
    for (colour, column, row) in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (2, 1, 1)] {
      let channel = folded.select(1, colour * 4 + column * 2 + row)
      let pixels = video.select(1, colour).slice(2, row, 4, step: 2).slice(3, column, 6, step: 2)
      #expect(channel.equals(pixels), "colour \(colour), column \(column), row \(row)")
    }
    #expect(folded.unfolded(2).equals(video))
    #expect(video.folded(1).equals(video) && video.unfolded(1).equals(video))
  }

  @Test func `A shortcut down averages a cube's values, the first frame's with zeros`() {
    let down = AverageDown(1, 2, time: 2, space: 2)
    // Frames of ones, threes, fives: the first stands alone, the others make one cube.
    let x = Tensor([1, 3, 5] as [Float], [1, 1, 3, 1, 1]).expand(1, 1, 3, 2, 2)
    let y = down(x, startsVideo: true)
    #expect(y.shape == [1, 2, 2, 1, 1])
    #expect(y.flatten().array() == [0, 3, 1, 5])
    let mixed = AverageDown(2, 1, time: 1, space: 2)(Tensor.range(8).reshape(1, 2, 1, 2, 2), startsVideo: false)
    #expect(mixed.array() == [3.5])
    #expect(AverageDown(4, 4, time: 1, space: 1)(x, startsVideo: true).equals(x))
  }

  @Test func `A shortcut up repeats values, and gives one frame for the first`() {
    let x = Tensor([1, 2] as [Float], [1, 1, 2, 1, 1])
    let up = DuplicateUp(1, 1, time: 2, space: 2)
    #expect(up(x, startsVideo: false).equals(Tensor([1, 1, 2, 2] as [Float], [1, 1, 4, 1, 1]).expand(1, 1, 4, 2, 2)))
    #expect(up(x, startsVideo: true).equals(Tensor([1, 2, 2] as [Float], [1, 1, 3, 1, 1]).expand(1, 1, 3, 2, 2)))
    // Two channels fill one: the first its upper row, the second its lower.
    let halves = DuplicateUp(2, 1, time: 1, space: 2)(Tensor([1, 2] as [Float], [1, 2, 1, 1, 1]), startsVideo: true)
    #expect(halves.array() == [1, 1, 2, 2])
  }

  // MARK: Streams

  @Test(arguments: [[7], [1, 1, 1, 1, 1, 1, 1], [1, 1, 3, 2], [3, 3, 1], [2, 5], [1, 6]])
  func `A streamed decode equals the whole decode however it is cut`(_ chunks: [Int]) {
    let vae = random(configuration).vae
    let latent = RandomGenerator(seed: 2).normal([2, 5, 7, 2, 3], .float64)
    let whole = vae.decode(latent, clamped: false)
    #expect(whole.shape == [2, 3, 25, 32, 48] && whole.abs().max().item > 0.01)
    var stream = vae.stream()
    var start = 0
    for length in chunks {
      let video = stream.decode(latent.narrow(2, start, length), clamped: false)
      let first = start == 0 ? 0 : 4 * start - 3
      start += length
      #expect(video.size(2) == 4 * start - 3 - first)
      #expect(video.maxAbsDifference(whole.narrow(2, first, video.size(2))) < 1e-10)
    }
  }

  @Test(arguments: [true, false])
  func `A decoder rewritten with sub-pixel convolutions decodes the same`(_ isResidual: Bool) throws {
    let configuration = WanVAEConfiguration(
      width: 4, latentChannels: 5, widthMultipliers: [1, 2, 2], residualBlocks: 1, temporalDownsampling: [false, true],
      patchSize: 2, isResidual: isResidual)
    let (vae, store) = random(configuration)
    let weights = Dictionary(uniqueKeysWithValues: store.parameters.map { ($0.name, $0.tensor) })
    let rewritten = WanVAEConfiguration.subPixel(weights)
    let subPixel = try WanVAE(weights: rewritten, name: "weights")
    #expect(subPixel.configuration.isSubPixel && !configuration.isSubPixel)
    let latent = RandomGenerator(seed: 2).normal([2, 5, 5, 2, 3], .float64)
    let whole = vae.decode(latent, clamped: false)
    #expect(subPixel.decode(latent, clamped: false).maxAbsDifference(whole) < 1e-10)
    var stream = subPixel.stream()
    let parts = [0..<1, 1..<4, 4..<5].map { stream.decode(latent.narrow(2, $0.lowerBound, $0.count), clamped: false) }
    #expect(Tensor.cat(parts, 2).maxAbsDifference(whole) < 1e-10)
    // What is rewritten already stays.
    let key = try #require(rewritten.keys.first { $0.hasPrefix("decoder.") && $0.contains("resample.1.weight") })
    #expect(WanVAEConfiguration.subPixel(rewritten)[key]?.shape == rewritten[key]?.shape)
  }

  @Test func `Several groups of frames at once encode as one after the other`() {
    let vae = random(configuration).vae
    let video = RandomGenerator(seed: 3).uniform([2, 3, 17, 32, 48], .float64)
    let whole = vae.moments(video: video)
    #expect(whole.shape == [2, 10, 5, 2, 3])
    var cache = FeatureCache()
    let groups = [0..<1, 1..<5, 5..<9, 9..<13, 13..<17].map { frames in
      vae.encoder(video.narrow(2, frames.lowerBound, frames.count).folded(2), &cache, nil)
    }
    #expect(vae.toMoments(Tensor.cat(groups, 2)).maxAbsDifference(whole) < 1e-10)
    #expect(vae.moments(video: video.narrow(2, 0, 1)).maxAbsDifference(whole.narrow(2, 0, 1)) < 1e-10)
  }

  // MARK: Weights

  @Test func `The published configuration has the published number of tensors and parameters`() {
    let store = ParameterStore.shapes()
    _ = WanVAE(.wan22, store.root)
    #expect(store.layout.count == 196)
    #expect(store.layout.reduce(0) { $0 + $1.shape.reduce(1, *) } == 704_688_668)
    #expect(WanVAEConfiguration.wan22.spatialStride == 16 && WanVAEConfiguration.wan22.temporalStride == 4)
    #expect(WanVAEConfiguration.wan22.latentMean.count == 48 && WanVAEConfiguration.wan22.latentDeviation.count == 48)
  }

  @Test(arguments: [
    WanVAEConfiguration(
      width: 2, decoderWidth: 3, latentChannels: 48, widthMultipliers: [1, 2, 4, 4], residualBlocks: 2,
      temporalDownsampling: [false, true, true], patchSize: 2, isResidual: true),
    WanVAEConfiguration(
      width: 4, latentChannels: 3, widthMultipliers: [1, 2, 2], residualBlocks: 1, temporalDownsampling: [true, false],
      isResidual: true),
    WanVAEConfiguration(
      width: 3, decoderWidth: 4, latentChannels: 3, widthMultipliers: [1, 2], residualBlocks: 1,
      temporalDownsampling: [true], patchSize: 4),
    WanVAEConfiguration(
      width: 4, latentChannels: 3, widthMultipliers: [1, 2, 2], residualBlocks: 1, temporalDownsampling: [true, false],
      isResidual: true, isSubPixel: true),
    WanVAEConfiguration(
      width: 3, decoderWidth: 4, latentChannels: 3, widthMultipliers: [1, 2], residualBlocks: 1,
      temporalDownsampling: [true], patchSize: 4, isSubPixel: true),
  ])
  func `A configuration is read off the shapes of its weights and runs`(_ expected: WanVAEConfiguration) throws {
    let weights = Dictionary(uniqueKeysWithValues: random(expected).store.parameters.map { ($0.name, $0.tensor) })
    let vae = try WanVAE(weights: weights, name: "weights")
    #expect(vae.configuration == expected)
    let video = RandomGenerator(seed: 1).uniform([1, 3, 9, 16, 32], .float64)
    let latent = vae.encode(video: video)
    #expect(
      latent.shape == [
        1, expected.latentChannels, 1 + 8 / expected.temporalStride, 16 / expected.spatialStride,
        32 / expected.spatialStride,
      ])
    #expect(vae.decode(latent).shape == video.shape)
  }

  // MARK: Gradients

  @Test func `Gradients flow through encoding and decoding to the pixels and to every parameter`() {
    let (vae, store) = random(configuration)
    for (_, tensor) in store.parameters { tensor.requiresGrad = true }
    let video = RandomGenerator(seed: 3).uniform([1, 3, 17, 16, 32], .float64)
    video.requiresGrad = true
    let factors = RandomGenerator(seed: 11).normal(video.shape, .float64)
    checkGradient(of: video, entries: [0, 700, 5000, 20_000]) {
      let moments = vae.moments(video: video)
      let latent = moments.narrow(1, 0, 5) + moments.narrow(1, 5, 5)
      return (vae.reconstruct(latent) * factors).sum()
    }
    for (name, tensor) in store.parameters {
      let largest = tensor.grad.map { $0.abs().max().item } ?? 0
      #expect(largest.isFinite && largest > 0, "\(name)")
    }
  }
}

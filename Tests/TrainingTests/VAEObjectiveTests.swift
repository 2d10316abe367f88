import Generation
import Models
import NN
import Testing
import Torch

@testable import Training

@Suite struct VAEObjectiveTests {
  let configuration = WanVAEConfiguration(
    width: 4, latentChannels: 4, widthMultipliers: [1, 2, 2], residualBlocks: 1, temporalDownsampling: [true, true],
    latentMean: [0.1, -0.2, 0.3, 0], latentDeviation: [1.5, 0.5, 2, 1])

  func model(_ dtype: DType = .float32) -> (vae: WanVAE, parameters: [(name: String, tensor: Tensor)]) {
    let store = ParameterStore(random: RandomGenerator(seed: 1), dtype: dtype)
    let vae = WanVAE(configuration, store.root)
    return (vae, store.parameters)
  }

  /// A bright disc that moves over a slope.
  func clip(_ dtype: DType = .float32, frames: Int = 9, side: Int = 16) -> Tensor {
    let column = Tensor.range(Double(side), dtype).unsqueeze(0)
    let row = column.transpose(0, 1)
    let pictures = (0..<frames).map { frame in
      let distance = (column - (4 + Double(frame))).square() + (row - 8.0).square()
      let disc = (distance * -0.1).exp()
      return Tensor.stack([disc, disc * 0.5 - 0.3, (column + row) * 0.03 - 0.5], 0)
    }
    return Tensor.stack(pictures, 1).unsqueeze(0)
  }

  /// 17 frames pass through the encoder and the decoder in two parts, whose memory of each other has gradients too.
  @Test(arguments: [5, 17])
  func `Its gradients are those of differences in every parameter, encoder and decoder`(frames: Int) {
    let (vae, parameters) = model(.float64)
    let video = clip(.float64, frames: frames, side: 8)
    var settings = VAELossSettings()
    settings.divergence = 0.1
    let objective = VAEObjective(settings)
    expectGradients(of: parameters) { objective(vae, video: video, RandomGenerator(seed: 2)).loss }
  }

  @Test func `Each part is what it says, and the loss their weighted sum`() {
    let (vae, _) = model(.float64)
    let video = clip(.float64)
    var settings = VAELossSettings()
    (settings.absolute, settings.squared, settings.divergence, settings.edges, settings.motion) = (2, 3, 5, 7, 11)
    let outcome = VAEObjective(settings)(vae, video: video, RandomGenerator(seed: 2))
    let parts = Dictionary(uniqueKeysWithValues: outcome.parts.map { ($0.name, $0.value.item) })
    let output = outcome.reconstruction
    #expect(output.shape == video.shape)

    let moments = vae.moments(video: video)
    let (mean, variance) = (moments.narrow(1, 0, 4), moments.narrow(1, 4, 4).exp())
    let noise = RandomGenerator(seed: 2).normal(mean.shape, .float64)
    let latent = mean + variance.sqrt() * noise
    let statistics = [configuration.latentMean, configuration.latentDeviation].map { Tensor($0, [1, 4, 1, 1, 1]) }
    let served = vae.decode((latent - statistics[0]) / statistics[1], clamped: false)
    #expect(served.maxAbsDifference(output) < 1e-12)

    func expect(_ name: String, _ value: Double) { #expect(abs((parts[name] ?? .nan) - value) < 1e-12, "\(name)") }
    expect("absolute", (output - video).abs().mean().item)
    expect("squared", (output - video).square().mean().item)
    expect("divergence", ((mean.square() + variance - variance.log() - 1) / 2).mean().item)
    func changes(_ x: Tensor, _ dim: Int) -> Tensor { x.slice(dim, 1, x.size(dim)) - x.slice(dim, 0, x.size(dim) - 1) }
    func gap(_ dim: Int) -> Double { (changes(output, dim) - changes(video, dim)).abs().mean().item }
    expect("edges", (gap(3) + gap(4)) / 2)
    expect("motion", gap(2))
    let weights = ["absolute": 2.0, "squared": 3, "divergence": 5, "edges": 7, "motion": 11]
    let sum = weights.reduce(0) { $0 + $1.value * (parts[$1.key] ?? .nan) }
    #expect(abs(outcome.loss.item - sum) < 1e-10)
  }

  @Test func `Mixing puts other moments of the clip at places of all latent frames but the first`() {
    let (vae, _) = model(.float64)
    var settings = VAELossSettings()
    settings.noise = 0
    func reconstruction(_ video: Tensor) -> Tensor {
      VAEObjective(settings)(vae, video: video, RandomGenerator(seed: 2)).reconstruction
    }
    let (moving, still) = (clip(.float64, frames: 13), clip(.float64, frames: 1).expand(1, 3, 13, 16, 16))
    let (plain, plainStill) = (reconstruction(moving), reconstruction(still))
    settings.mixing = 1
    let mixed = reconstruction(moving)
    #expect(mixed.narrow(2, 0, 1).maxAbsDifference(plain.narrow(2, 0, 1)) < 1e-12)
    #expect(mixed.narrow(2, 1, 12).maxAbsDifference(plain.narrow(2, 1, 12)) > 1e-3)
    // Where nothing moves all moments are equal, but for what the encoder remembers of the beginning.
    #expect(reconstruction(still).maxAbsDifference(plainStill) < mixed.maxAbsDifference(plain))
  }

  func train(steps: Int, seed: UInt64) -> [Double] {
    let (vae, parameters) = model()
    var optimizer = HandAdam(parameters.map(\.tensor), rate: 3e-3)
    let generator = RandomGenerator(seed: seed)
    let (objective, video) = (VAEObjective(), clip())
    return (0..<steps).map { _ in
      let loss = objective(vae, video: video, generator).loss
      optimizer.descend(loss)
      return loss.item
    }
  }

  @Test func `The loss falls over twenty steps, and one seed gives one course`() {
    let losses = train(steps: 20, seed: 3)
    #expect(!losses.contains { !$0.isFinite })
    #expect((losses.last ?? .infinity) < 0.6 * losses[0], "\(losses)")
    #expect(train(steps: 6, seed: 3) == Array(losses.prefix(6)))
    #expect(train(steps: 2, seed: 4) != Array(losses.prefix(2)))
  }

  @Test func `A picture and half precision have a loss too`() {
    let (vae, parameters) = model(.bfloat16)
    for (_, tensor) in parameters { tensor.requiresGrad = true }
    let outcome = VAEObjective()(vae, video: clip(frames: 1), RandomGenerator(seed: 2))
    #expect(outcome.loss.dtype == .float32)
    #expect(outcome.parts.map(\.name) == ["absolute", "squared", "divergence", "edges", "psnr"])
    outcome.loss.backward()
    #expect(parameters.count { ($0.tensor.grad?.abs().max().item ?? 0) > 0 } > parameters.count / 2)
  }

  @Test func `Frames past the last whole group count for nothing`() {
    let (vae, _) = model()
    let whole = VAEObjective()(vae, video: clip(frames: 5), RandomGenerator(seed: 2)).loss.item
    #expect(VAEObjective()(vae, video: clip(frames: 7), RandomGenerator(seed: 2)).loss.item == whole)
  }

  @Test func `What is written is the avatar's autoencoder, with its own statistics`() throws {
    let folder = try TemporaryFolder()
    let (vae, parameters) = model()
    let statistics = LatentStatistics(mean: configuration.latentMean, deviation: configuration.latentDeviation)
    try CheckpointSettings(headDim: 8, imageSizes: CheckpointSettings.published.imageSizes, provenance: "a test")
      .write(to: folder.url)
    try writeVAE(parameters, statistics: statistics, to: folder.url)
    let checkpoint = try CheckpointFolder(folder.url)
    #expect(checkpoint.settings.headDim == 8 && checkpoint.settings.provenance == "a test")
    let loaded = try checkpoint.loadVAE()
    #expect(loaded.configuration == configuration)
    #expect(loaded.encode(video: clip()).equals(vae.encode(video: clip())))
  }

  @Test func `Latent statistics are those of all clips together`() throws {
    let (vae, _) = model(.float64)
    let clips = [clip(.float64), clip(.float64, frames: 5) * 0.5, clip(.float64, frames: 1, side: 8)]
    let statistics = try LatentStatistics(of: vae, over: clips)
    let latents = clips.map { vae.moments(video: $0).narrow(1, 0, 4).transpose(0, 1).flatten(1) }
    let all = Tensor.cat(latents, 1)
    let own = (0..<4).map { all.select(0, $0).variance(unbiased: false).sqrt().item }
    let average = own.reduce(0, +) / 4
    for (channel, (mean, divisor)) in zip(statistics.mean, statistics.deviation).enumerated() {
      #expect(abs(mean - all.select(0, channel).mean().item) < 1e-12)
      #expect(abs(divisor - (own[channel] * average).squareRoot()) < 1e-12)
    }
    // What transformers see has a mean square of 1, and strong channels stay stronger.
    let normalised = zip(own, statistics.deviation).map { $0 / $1 }
    #expect(abs(normalised.reduce(0) { $0 + $1 * $1 } / 4 - 1) < 1e-9)
    #expect(zip(own, normalised).max { $0.0 < $1.0 }?.1 == normalised.max())
    #expect(message { _ = try LatentStatistics(of: vae, over: []) } == "There is no clip to measure latents over.")
  }
}

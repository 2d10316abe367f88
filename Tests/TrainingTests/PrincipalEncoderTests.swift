import Basics
import Models
import NN
import Testing
import Torch

@testable import Training

@Suite struct PrincipalEncoderTests {
  let configuration = WanVAEConfiguration(
    width: 8, latentChannels: 6, widthMultipliers: [1, 2, 2], residualBlocks: 1, temporalDownsampling: [true, true],
    patchSize: 2, isResidual: true)

  private func random() -> [String: Tensor] {
    let store = ParameterStore(random: RandomGenerator(seed: 1))
    _ = WanVAE(configuration, store.root)
    return Dictionary(uniqueKeysWithValues: store.parameters.map { ($0.name, $0.tensor) })
  }

  /// Smooth pictures that move, out of a few waves.
  private func clips(_ count: Int = 12, speed: Double = 0.4) -> [Tensor] {
    let generator = RandomGenerator(seed: 3)
    let column = Tensor.range(32).reshape(1, 1, 1, 1, 32)
    let row = Tensor.range(32).reshape(1, 1, 1, 32, 1)
    let time = Tensor.range(9).reshape(1, 1, 9, 1, 1)
    return (0..<count).map { _ in
      let waves = (0..<3).map { _ in
        let f = generator.normal([3], .float32).array(Float.self).map(Double.init)
        let colour = generator.normal([1, 3, 1, 1, 1], .float32) * 0.2
        return (column * (0.1 * f[0]) + row * (0.1 * f[1]) + time * speed + 3 * f[2]).sin() * colour
      }
      return waves[0] + waves[1] + waves[2]
    }
  }

  private func fitted(_ clips: [Tensor]) throws -> WanVAE {
    let even = clips.map { (video: $0, weights: Tensor.ones([1, 1] + $0.shape[2...])) }
    return try WanVAE(
      weights: PrincipalEncoder.weights(random(), configuration, clips: even), name: "test",
      statistics: LatentStatistics(mean: [Double](repeating: 0, count: 6), deviation: [Double](repeating: 1, count: 6)))
  }

  private func latents(_ vae: WanVAE, _ video: Tensor) -> Tensor { vae.moments(video: video).narrow(1, 0, 6) }

  @Test func `Latents are close to linear in the pixels, and strongest first`() throws {
    let clips = self.clips()
    let vae = try fitted(clips)
    let whole = Tensor.cat(clips.map { latents(vae, $0) }, 0)
    let energies = whole.square().mean(0, 2, 3, 4).array(Float.self)
    #expect(zip(energies, energies.dropFirst()).allSatisfy { $0 > $1 * 0.9 }, "\(energies)")
    #expect(abs(whole.square().mean().item - 1) < 0.1)
    // The latent of a mixture is the mixture of the latents.
    let mixed = latents(vae, clips[0] * 0.3 + clips[1] * 0.7)
    let expected = latents(vae, clips[0]) * 0.3 + latents(vae, clips[1]) * 0.7
    #expect((mixed - expected).square().mean().item < 0.01 * expected.square().mean().item)
  }

  /// The share of unseen pixels' squares that least squares from a latent to the 4 frames of 8 by 8 pixels misses.
  private func missed(_ vae: WanVAE) -> Double {
    func rows(_ clips: ArraySlice<Tensor>) -> (latents: Tensor, cubes: Tensor) {
      let z = clips.map { latents(vae, $0).narrow(2, 1, 2).permute(0, 2, 3, 4, 1).reshape(-1, 6) }
      let x = clips.map { video in
        video.narrow(2, 1, 8).unflatten(4, 4, 8).unflatten(3, 4, 8).unflatten(2, 2, 4)  // [1, 3, F, 4, h, 8, w, 8]
          .permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(-1, 3 * 4 * 64)
      }
      return (Tensor.cat(z, 0), Tensor.cat(x, 0))
    }
    let clips = self.clips(60)
    let (z, x) = rows(clips[0..<50])
    let eigen = SymmetricEigen(z.transpose(0, 1).matmul(z).array(Float.self).map(Double.init), size: 6)
    let inverse = Tensor(eigen.applying { 1 / $0 }.map(Float.init), [6, 6])
    let decoder = inverse.matmul(z.transpose(0, 1)).matmul(x)
    let (unseen, truth) = rows(clips[50...])
    return (unseen.matmul(decoder) - truth).square().mean().item / truth.square().mean().item
  }

  @Test func `A linear decoder misses far less than behind random weights`() throws {
    let statistics = LatentStatistics(
      mean: [Double](repeating: 0, count: 6), deviation: [Double](repeating: 1, count: 6))
    let fitted = missed(try self.fitted(clips()))
    let plain = missed(try WanVAE(weights: random(), name: "test", statistics: statistics))
    #expect(fitted < 0.3 * plain, "\(fitted), \(plain)")
  }

  @Test func `The first frame of a still video has the latent of those after it`() throws {
    let vae = try fitted(clips())
    let still = clips(1, speed: 0)[0]
    let latent = latents(vae, still)
    let (first, later) = (latent.narrow(2, 0, 1), latent.narrow(2, 1, 2))
    #expect((later - first).square().mean().item < 0.01 * first.square().mean().item)
  }

  @Test func `Weights of pixels decide what is kept`() throws {
    let clips = self.clips()
    func error(_ weight: Tensor) throws -> Tensor {
      let pairs = clips.map { (video: $0, weights: weight) }
      let vae = try WanVAE(
        weights: PrincipalEncoder.weights(random(), configuration, clips: pairs), name: "test",
        statistics: LatentStatistics(
          mean: [Double](repeating: 0, count: 6), deviation: [Double](repeating: 1, count: 6)))
      return latents(vae, clips[0])
    }
    let even = Tensor.ones([1, 1, 9, 32, 32])
    let left = Tensor.cat([Tensor.full([1, 1, 9, 32, 16], 50), Tensor.ones([1, 1, 9, 32, 16])], 4)
    #expect(try error(even).maxAbsDifference(error(left)) > 1e-2)
    #expect(try error(even).maxAbsDifference(error(even * 3)) < 1e-2)
  }

  @Test func `Autoencoders and clips that it cannot be computed for are refused`() {
    let plain = WanVAEConfiguration(
      width: 4, latentChannels: 4, widthMultipliers: [1, 2], residualBlocks: 1, temporalDownsampling: [true])
    let clip = (video: clips(1)[0], weights: Tensor.ones([1, 1, 9, 32, 32]))
    #expect(throws: LiveTalkError.self) { try PrincipalEncoder.weights([:], plain, clips: [clip]) }
    #expect(throws: LiveTalkError.self) { try PrincipalEncoder.weights(random(), configuration, clips: []) }
    let wide = WanVAEConfiguration(
      width: 8, latentChannels: 16, widthMultipliers: [1, 2, 2], residualBlocks: 1, temporalDownsampling: [true, true],
      patchSize: 2, isResidual: true)
    #expect(throws: LiveTalkError.self) { try PrincipalEncoder.weights(random(), wide, clips: [clip]) }
    let short = (video: clip.video.narrow(2, 0, 1), weights: clip.weights.narrow(2, 0, 1))
    #expect(throws: LiveTalkError.self) { try PrincipalEncoder.weights(random(), configuration, clips: [short]) }
  }
}

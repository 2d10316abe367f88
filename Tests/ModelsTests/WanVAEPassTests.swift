import NN
import Testing
import Torch

@testable import Models

@Suite struct WanVAEPassTests {
  @Test func `a block of large frames is decoded frame by frame and is the same video`() throws {
    let config = WanVAEConfiguration(
      width: 4, latentChannels: 4, widthMultipliers: [1, 1, 1, 1], residualBlocks: 1,
      temporalDownsampling: [false, true, true])
    let store = ParameterStore(random: RandomGenerator(seed: 1))
    let vae = WanVAE(config, store.root)
    #expect(config.framesPerPass(height: 64, width: 64) == 1)
    #expect(config.framesPerPass(height: 16, width: 16) == 16)
    #expect(config.framesPerPass(height: 512, width: 512) == 1)
    withInferenceMode {
      // 48×64 latent pixels: 384×512 pixels of video, one latent frame a pass.
      let latent = RandomGenerator(seed: 2).normal([1, 4, 3, 48, 64])
      var together = vae.stream()
      var apart = vae.stream()
      let block = together.decode(latent)
      let frames = Tensor.cat((0..<3).map { apart.decode(latent.narrow(2, $0, 1)) }, 2)
      #expect(block.shape == [1, 3, 9, 384, 512])
      #expect(block.maxAbsDifference(frames) == 0)
    }
  }
}

import Models
import Testing
import Torch

@testable import Generation

@Suite struct ModelPresetTests {
  @Test(arguments: ModelPreset.all.map(\.name))
  func `the parts of a preset fit each other`(name: String) throws {
    let preset = try #require(ModelPreset(named: name))
    let (transformer, vae) = (preset.transformer, preset.vae)
    #expect(transformer.problem == nil)
    #expect(transformer.outDim == vae.latentChannels)
    #expect(transformer.inDim == 2 * vae.latentChannels + 1)
    #expect(transformer.textDim == preset.textEncoder.width)
    #expect(transformer.audioInputDim == preset.audioEncoder.featureWidth)
    #expect(vae.temporalStride == LatentGeometry.livetalk.temporalStride)
    #expect(preset.size.height % (vae.spatialStride * transformer.patchSize[1]) == 0)
    #expect(preset.size.width % (vae.spatialStride * transformer.patchSize[2]) == 0)
  }

  @Test func `a session of 48 latent channels and 16 pixels to a latent pixel makes its size of video`() throws {
    try withInferenceMode {
      let models = try AvatarModels(random: .mini, device: .cpu, dtype: .float32)
      #expect(models.pixelsPerToken == (32, 32))
      let size = ReferencePicture.Size(height: 64, width: 96)
      try models.check(size)
      #expect(throws: TorchError.self) { try models.check(ReferencePicture.Size(height: 64, width: 80)) }

      let generator = RandomGenerator(seed: 2)
      let picture = generator.uniform([1, 3, 1, size.height, size.width])
      let session = try AvatarSession(
        transformer: models.transformer, vae: models.vae, referenceLatent: models.vae.encode(image: picture),
        textEmbedding: generator.normal([1, 4, 128]), options: SessionOptions(steps: 2))
      #expect(session.size == size)
      for frames in [9, 12] {
        #expect(session.videoFramesInNextBlock == frames)
        let made = try session.next(audioFeatures: generator.normal([1, frames, 6 * 96])).read()
        #expect(made.count == frames && made.allSatisfy { $0.count == 64 * 96 * 3 })
      }
    }
  }
}

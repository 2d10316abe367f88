import ClipShards
import Foundation
import Generation
import Models
import NN
import Testing
import Torch

@testable import Training

@Suite struct EncodedByTests {
  private func folder() throws -> (place: TemporaryFolder, base: CheckpointFolder, vae: URL) {
    let place = try TemporaryFolder()
    let vae = place["base"].appendingPathComponent(ModelFamily.liveTalk.file(.vae).names[0])
    try FileManager.default.createDirectory(at: vae.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data("one autoencoder".utf8).write(to: vae)
    let base = try CheckpointFolder(place["base"])
    let origin = [CheckpointFolder.Part.vae.title: try fingerprint(of: vae)]
    let writer = try ShardWriter(
      place["latents"], ShardDescription(kind: .latents, width: 16, height: 16, origin: origin))
    let config = WanTransformerConfiguration.tinyForClips
    try writer.append(
      "a", ClipMetadata(caption: "a face"),
      [
        "latents": .zeros([16, 3, 2, 2]), "referenceLatent": .zeros([16, 1, 2, 2]),
        "audioFeatures": .zeros([9, config.audioInputDim]), "text": .zeros([4, config.textDim]),
      ])
    try writer.writeShared(["negativeText": .zeros([2, config.textDim])])
    try writer.flush()
    return (place, base, vae)
  }

  private func open(_ place: TemporaryFolder, _ base: CheckpointFolder) throws {
    let model = try WanTransformer(.tinyForClips, ParameterStore(random: RandomGenerator(seed: 1)).root)
    _ = try LatentClips(place["latents"].path, for: model, device: .cpu, encodedBy: base)
  }

  @Test func `clips are taken with the encoders that made them`() throws {
    let (place, base, _) = try folder()
    try open(place, base)
  }

  @Test func `clips of another autoencoder are refused, not trained on`() throws {
    let (place, base, vae) = try folder()
    try Data("another autoencoder".utf8).write(to: vae)
    #expect(
      message { try open(place, base) }
        .contains("were encoded by another video autoencoder than that of \(place["base"].path)"))
  }

  @Test func `a checkpoint without encoders takes any clips`() throws {
    let (place, base, vae) = try folder()
    try FileManager.default.removeItem(at: vae)
    try open(place, base)
  }
}

extension WanTransformerConfiguration {
  fileprivate static let tinyForClips = WanTransformerConfiguration(
    trunk: WanTrunkConfiguration(
      dim: 48, inDim: 33, ffnDim: 64, textDim: 8, freqDim: 16, numHeads: 1, numLayers: 1),
    audioInputDim: 12, audioHiddenSize: 8)
}

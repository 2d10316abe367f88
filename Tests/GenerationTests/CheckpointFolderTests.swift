import Foundation
import Models
import NN
import Testing
import Torch

@testable import Generation

@Suite struct CheckpointFolderTests {
  private func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return ""
    } catch { return "\(error)" }
  }

  @Test func `one error lists all parts that are missing`() throws {
    let folder = try TemporaryFolder()
    try folder.write("", to: "Wan2.1-T2V-1.3B/Wan2.1_VAE.pth")
    let checkpoint = try CheckpointFolder(folder.url)
    let text = message { try checkpoint.requireAll() }
    for part in ModelFamily.liveTalk.parts where !part.isOptional {
      #expect(text.contains("\(part.title) (\(ModelFamily.liveTalk.file(part).names[0]))") == (part != .vae), "\(part)")
    }
    #expect(message { _ = try checkpoint.require(.tokenizer) }.contains("google/umt5-xxl/tokenizer.json"))
    #expect(try checkpoint.require(.vae).lastPathComponent == "Wan2.1_VAE.pth")
  }

  @Test func `of the names a part may have the published one comes first`() throws {
    let folder = try TemporaryFolder()
    try folder.write("", to: "wav2vec2/pytorch_model.bin")
    let checkpoint = try CheckpointFolder(folder.url)
    #expect(checkpoint.file(.audioEncoder)?.lastPathComponent == "pytorch_model.bin")
    try folder.write("", to: "wav2vec2/model.safetensors")
    #expect(checkpoint.file(.audioEncoder)?.lastPathComponent == "model.safetensors")
    #expect(checkpoint.file(.transformer) == nil)
  }

  @Test func `a folder that is none is refused`() throws {
    let folder = try TemporaryFolder()
    try folder.write("", to: "file")
    #expect(message { _ = try CheckpointFolder(folder.url.appendingPathComponent("no")) }.contains("no such"))
    #expect(message { _ = try CheckpointFolder(folder.url.appendingPathComponent("file")) }.contains("not a file"))
  }

  @Test func `settings are written and read, and without any the published ones hold`() throws {
    let folder = try TemporaryFolder()
    #expect(try CheckpointFolder(folder.url).settings == .published)
    let settings = CheckpointSettings(
      headDim: 24, imageSizes: [ReferencePicture.Size(height: 64, width: 96)], provenance: "made for a test")
    try settings.write(to: folder.url)
    #expect(try CheckpointFolder(folder.url).settings == settings)
    #expect(try CheckpointFolder(folder.url, headDim: 48).settings.headDim == 48)
  }

  @Test func `an autoencoder is loaded with the latent statistics that the folder states`() throws {
    let folder = try TemporaryFolder()
    let configuration = WanVAEConfiguration(
      width: 4, latentChannels: 2, widthMultipliers: [1, 2, 2], residualBlocks: 1, temporalDownsampling: [true, true])
    let store = ParameterStore(random: RandomGenerator(seed: 1))
    _ = WanVAE(configuration, store.root)
    try folder.write("", to: "Wan2.1-T2V-1.3B/note")
    try writePickle(
      Dictionary(uniqueKeysWithValues: store.parameters.map { ($0.name, $0.tensor) }),
      to: folder.url.appendingPathComponent("Wan2.1-T2V-1.3B/Wan2.1_VAE.pth"))
    #expect(try CheckpointFolder(folder.url).loadVAE().configuration.latentDeviation == [1, 1])

    var settings = CheckpointSettings.published
    settings.latentStatistics = LatentStatistics(mean: [0.25, -1], deviation: [2, 0.5])
    try settings.write(to: folder.url)
    let checkpoint = try CheckpointFolder(folder.url)
    #expect(checkpoint.settings == settings)
    #expect(try checkpoint.loadVAE().configuration.latentMean == [0.25, -1])
    #expect(try checkpoint.loadVAE().configuration.latentDeviation == [2, 0.5])
    try checkpoint.verify(.vae)

    settings.latentStatistics = LatentStatistics(mean: [0, 0, 0], deviation: [1, 1, 1])
    try settings.write(to: folder.url)
    let text = message { try CheckpointFolder(folder.url).verify(.vae) }
    #expect(text.contains("those of 3 channels, and the autoencoder has 2"))
  }

  @Test(arguments: [
    (#"{"headDim": 24, "imageSizes": [{"height": 8, "width": 8}], "headdim": 3}"#, "unknown key 'headdim'"),
    (#"{"headDim": 24}"#, "not a settings file"),
    (#"{"headDim": 24, "imageSizes": [{"height": 8, "width": 8}], "head_dims": 3}"#, "did you mean 'headDim'?"),
    (
      #"{"headDim": 4, "imageSizes": [{"height": 8, "width": 8}], "latentStatistics": {"mean": [0], "deviation": [0]}}"#,
      "a deviation that is not positive"
    ),
    (#"{"headDim": "x", "imageSizes": []}"#, "not a settings file"),
    (#"{"headDim": 24, "imageSizes": []}"#, "impossible size"),
    (#"{"headDim": 0, "imageSizes": [{"height": 8, "width": 8}]}"#, "impossible size"),
    (#"{"headDim": 8, "imageSizes": [{"height": -8, "width": 8}]}"#, "impossible size"),
    ("[1, 2]", "not a settings file"), ("{", "not a settings file"), ("", "the file is empty"),
  ])
  func `wrong settings are refused with their file`(json: String, reason: String) throws {
    let folder = try TemporaryFolder()
    try folder.write(json, to: "livetalk.json")
    let text = message { _ = try CheckpointFolder(folder.url) }
    #expect(text.contains(reason) && text.contains("livetalk.json"), "\(text)")
  }

  @Test func `what does not fit is refused in the same words by inspection and by loading`() throws {
    let folder = try TemporaryFolder()
    let root = folder.url.appendingPathComponent("tiny")
    try RandomCheckpoint(.tiny).write(to: root)
    let checkpoint = try CheckpointFolder(root)
    #expect(CheckpointInspection(of: checkpoint).complete)
    try checkpoint.verifyWeights()
    let file = try checkpoint.require(.transformer)
    let sound = try readWeights(file).mapValues { $0.clone() }

    func expectRefusal(_ text: String, changing change: (inout [String: Tensor]) -> Void) throws {
      var weights = sound
      change(&weights)
      try writeSafetensors(weights, to: file)
      let inspection = CheckpointInspection(of: checkpoint)
      #expect(!inspection.complete)
      #expect(inspection.items.compactMap(\.problem).contains { $0.contains(text) }, "\(inspection)")
      #expect(message { try checkpoint.verifyWeights() }.contains(text))
      #expect(message { _ = try AvatarModels(loading: checkpoint, device: .cpu, dtype: .float32) }.contains(text))
    }
    // Wan's own image-to-video models: 16 of noise, 4 of a mask, 16 of the picture.
    try expectRefusal("takes 36 channels, not 33") { $0["patch_embedding.weight"] = Tensor.zeros([96, 36, 1, 2, 2]) }
    try expectRefusal("its text encoder gives 64 values a word but the transformer takes 80") {
      $0["text_embedding.0.weight"] = Tensor.zeros([96, 80])
    }
    try expectRefusal("its speech encoder gives 192 features a frame but the transformer takes 200") {
      $0["audio_proj.proj.weight"] = Tensor.zeros([32, 4 * 200])
    }
  }
}

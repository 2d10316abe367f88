import Basics
import Foundation
import Models
import NN
import Testing
import Torch

@testable import Generation

/// Values that are not finite, and pictures of one colour, stop a run with a sentence.
@Suite struct FiniteValuesTests {
  /// A change of one value in the middle.
  private func spoilt(_ tensor: Tensor, _ value: Double) -> Tensor {
    let flat = tensor.clone().reshape(-1)
    flat.narrow(0, flat.count / 2, 1).fill_(value)
    return flat.reshape(tensor.shape)
  }

  @Test(arguments: [CheckpointFolder.Part.transformer, .vae, .textEncoder, .audioEncoder], [Double.nan, .infinity])
  func `one value of a checkpoint that is not finite is named by inspection and by loading`(
    part: CheckpointFolder.Part, value: Double
  ) throws {
    let checkpoint = try TinyCheckpoint()
    var weights = try checkpoint.weights(part)
    let key = try #require(weights.keys.sorted().last { $0.hasSuffix(".weight") && !$0.hasPrefix("lm_head.") })
    weights[key] = weights[key].map { spoilt($0, value) }
    try checkpoint.write(weights, to: part)
    let folder = try checkpoint.open()
    let file = try folder.require(part).lastPathComponent
    let inspection = CheckpointInspection(of: folder)
    let problem = inspection.items.first { $0.part == part.rawValue }?.problem ?? ""
    #expect(
      !inspection.complete && problem.contains(file) && problem.contains("'\(key)'") && problem.contains("not finite"),
      "\(problem)")
    let text = refusal {
      if part == .textEncoder {
        _ = try folder.encodeText("Hello.", device: .cpu, dtype: .float32)
      } else {
        _ = try AvatarModels(loading: folder, device: .cpu, dtype: .float32)
      }
    }
    #expect(text.contains(file) && text.contains("'\(key)'"), "\(text)")
    if part == .transformer {
      // As training loads it.
      let training = refusal { _ = try folder.loadTransformer { ParameterStore(weights: $0, name: $1) } }
      #expect(training.contains(file) && training.contains("'\(key)'"))
    }
    if part == .audioEncoder {
      #expect(refusal { _ = try folder.loadAudioEncoder(dtype: .bfloat16) }.contains("'\(key)'"))
    }
  }

  @Test func `a value that a type cannot hold is named with the type`() throws {
    let store = ParameterStore(weights: ["w": Tensor([1, 1e6] as [Float])], name: "file", dtype: .float16)
    _ = store.root.parameter("w", [2])
    #expect(refusal { try store.finish() }.contains("'w in float16'"))
  }

  @Test(arguments: DType.allCases)
  func `every type's infinities and what is no number are seen, wherever they are`(dtype: DType) {
    let count = 70_001
    #expect(Tensor.zeros([count], dtype).isAllFinite && Tensor.zeros([0, 3], dtype).isAllFinite)
    #expect((Tensor.ones([count]) * -3).to(.cpu, dtype == .uint8 || dtype == .bool ? .int16 : dtype).isAllFinite)
    guard dtype.isFloatingPoint else { return }
    let values: [Double] = dtype == .float8E4M3 ? [.nan] : [.nan, .infinity, -.infinity]
    for value in values {
      for place in [0, 1, 16_384, count - 1] {
        let tensor = Tensor.ones([count])
        tensor.narrow(0, place, 1).fill_(value)
        #expect(!tensor.to(.cpu, dtype).isAllFinite, "\(value) at \(place)")
      }
      let grid = Tensor.ones([64, 3])
      grid.narrow(0, 63, 1).fill_(value)
      #expect(!grid.to(.cpu, dtype).transpose(0, 1).isAllFinite && !grid.to(.cpu, dtype).narrow(1, 1, 1).isAllFinite)
      #expect(grid.to(.cpu, dtype).narrow(0, 0, 63).isAllFinite)
    }
  }

  @Test func `latents that are not finite stop a session`() throws {
    let system = try TinySystem()
    let broken = NoiseSource(
      initial: { Tensor.full($1, .nan) }, renewed: { Tensor.full($2, Double($0 + $1)) })
    let text = refusal {
      try withInferenceMode {
        let session = try AvatarSession(
          transformer: system.transformer, vae: system.vae, referenceLatent: system.reference,
          textEmbedding: system.text, options: SessionOptions(), noise: broken)
        _ = try session.next(audioFeatures: system.features(9)).read()
      }
    }
    #expect(text.contains("latents of the video are not finite") && text.contains("--dtype"))
  }

  @Test(arguments: [0, Double.nan])
  func `a decoder that gives one colour, or no number, stops a session`(value: Double) throws {
    let system = try TinySystem()
    let store = ParameterStore(random: RandomGenerator(seed: 1))
    let vae = WanVAE(system.vae.configuration, store.root)
    for (name, tensor) in store.parameters where name.hasPrefix("decoder.head.2.") { tensor.fill_(value) }
    let text = refusal {
      try withInferenceMode {
        let session = try AvatarSession(
          transformer: system.transformer, vae: vae, referenceLatent: system.reference, textEmbedding: system.text,
          options: SessionOptions())
        _ = try session.next(audioFeatures: system.features(9)).read()
      }
    }
    #expect(
      text.contains(value == 0 ? "pixels of a frame are the same everywhere" : "pixels of the video are not finite"),
      "\(text)")
  }

  @Test func `what models give is checked for numbers and for difference`() throws {
    #expect(try Tensor([1, 2] as [Float]).checked(as: "values").count == 2)
    #expect(
      refusal { _ = try Tensor([1, 1] as [Float]).checked(as: "features") }.contains(
        "The features are the same everywhere"))
    #expect(
      refusal { _ = try Tensor([1, .nan] as [Float]).checked(as: "features") }.contains("The features are not finite"))
    #expect(
      haveOneColour([1, 2, 3, 1, 2, 3] as [UInt8]) && !haveOneColour([1, 2, 3, 1, 2, 4] as [UInt8]))
  }
}

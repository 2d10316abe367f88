import Basics
import Foundation
import Models
import PromptCleaning
import TextTokenizer
import Torch

/// Goldens of the text's way to the transformer: cleaning, token ids, position buckets, values inside the encoder, the context.
enum UMT5Cases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let outputs = try golden.outputs()
    guard let ids = outputs["ids"], let mask = outputs["mask"] else {
      throw LiveTalkError("the case has no ids or mask")
    }
    try compareTokens(golden, ids: ids, mask: mask, recorder)
    for (file, weights) in try checkpoints(golden) {
      let encoder = try UMT5Encoder(weights: weights, name: file, device: golden.device, dtype: .float32)
      try compareSizes(file, encoder.configuration, golden.config["encoder"], recorder)
      if let positions = outputs["relative_position"], let expected = outputs["relative_bucket"] {
        let buckets = UMT5Buckets(encoder.configuration)
        let actual = positions.array(Int.self).map(buckets.bucket)
        recorder.expect("\(file): relative_bucket", actual == expected.array(Int.self))
      }
      var taps: [String: Tensor] = [:]
      let context = encoder.encode(ids: ids, mask: mask) { taps["first.\($0)"] = $1 }
      try recorder.compare("\(file): prompt_embeds", context, outputs["prompt_embeds"], golden.tolerance())
      for (name, expected) in outputs where name.hasPrefix("first.") {
        guard var actual = taps[name] else { throw LiveTalkError("nothing gives '\(name)'") }
        if name.hasSuffix("pos_bias") {  // given for its first rows and columns
          actual = actual.narrow(2, 0, expected.size(2)).narrow(3, 0, expected.size(3))
        }
        try recorder.compare("\(file): \(name)", actual, expected, golden.tolerance())
      }
    }
  }

  /// The cleaned text and the tokens of every prompt, by every tokenizer of the case.
  private static func compareTokens(
    _ golden: ParityCase, ids: Tensor, mask: Tensor, _ recorder: ParityRecorder
  ) throws {
    for folder in golden.json["files"].keys where folder.hasSuffix("/") {
      let tokenizer = try Tokenizer(contentsOf: golden.directory.appendingPathComponent(folder))
      for (row, prompt) in golden.json["prompts"].list.enumerated() {
        let name = try prompt["name"].string()
        let cleaned = PromptCleaning.clean(try prompt["prompt"].string())
        recorder.expect("\(name): cleaned", cleaned == (try prompt["cleaned"].string()))
        let text = tokenizer.encode(cleaned, length: ids.size(1))
        recorder.expect("\(name): ids", text.ids == ids.select(0, row).array(Int64.self))
        recorder.expect("\(name): mask", text.mask == mask.select(0, row).array(Int64.self))
      }
    }
  }

  /// Every form of the same weights that the case holds.
  private static func checkpoints(_ golden: ParityCase) throws -> [(String, [String: Tensor])] {
    let files = golden.json["files"].keys.filter { $0.hasSuffix(".pth") || $0.hasSuffix(".safetensors") }
    return try (["weights.safetensors"] + files).map { file in
      (file, try readWeights(golden.directory.appendingPathComponent(file)))
    }
  }

  private static func compareSizes(
    _ file: String, _ read: UMT5Configuration, _ stated: JSON, _ recorder: ParityRecorder
  ) throws {
    let expected = UMT5Configuration(
      vocabulary: try stated["vocab_size"].int(), width: try stated["dim"].int(),
      attentionWidth: try stated["dim_attn"].int(), feedForwardWidth: try stated["dim_ffn"].int(),
      heads: try stated["num_heads"].int(), layers: try stated["encoder_layers"].int(),
      buckets: try stated["num_buckets"].int())
    recorder.expect("\(file): configuration", read == expected)
  }
}

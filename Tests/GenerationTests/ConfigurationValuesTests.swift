import Foundation
import Models
import Testing
import Torch

@testable import Generation

/// Whatever a configuration says, reading it throws one sentence or works: it never ends the process.
@Suite struct ConfigurationValuesTests {
  /// As JSON texts.
  static let values = [
    "-1", "0", "2000000000", "9223372036854775807", "-9223372036854775808", "1e30", "1e400", "1.5", "-0.0", "\"text\"",
    "true",
    "null", "[]", "{}", "[0]", "[-1]", "[9223372036854775807]", "[[1]]",
  ]
  /// Those that no size can be.
  static let impossible: Set<String> = [
    "-1", "0", "2000000000", "9223372036854775807", "-9223372036854775808", "1e30", "1.5", "\"text\"", "[]", "{}",
    "[-1]",
  ]

  /// Sets a key of a JSON file; the text need not be valid.
  private func set(_ key: String, _ value: String, in file: URL) throws {
    var object = try #require(JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
    object[key] = "@@"
    let text = String(decoding: try JSONSerialization.data(withJSONObject: object, options: .sortedKeys), as: UTF8.self)
    try Data(text.replacing("\"@@\"", with: value).utf8).write(to: file)
  }

  /// What the readers of the parts that a file speaks of say.
  private func read(_ checkpoint: TinyCheckpoint, _ parts: CheckpointFolder.Part...) -> String {
    refusal {
      let folder = try checkpoint.open()
      try withTorchErrors {
        for part in parts { try folder.verify(part) }
        try folder.verifyFit()
      }
    }
  }

  static let speechKeys = [
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "conv_dim", "conv_kernel",
    "conv_stride",
    "conv_bias", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups", "layer_norm_eps", "feat_extract_norm",
    "do_stable_layer_norm", "model_type", "hidden_act",
  ]

  @Test(arguments: speechKeys)
  func `the speech encoder's configuration`(key: String) throws {
    let checkpoint = try TinyCheckpoint()
    let file = try checkpoint.file(.audioConfiguration)
    let sound = try Data(contentsOf: file)
    for value in Self.values {
      try sound.write(to: file)
      try set(key, value, in: file)
      let text = read(checkpoint, .audioConfiguration, .audioEncoder)
      if Self.impossible.contains(value) { #expect(!text.isEmpty, "\(key): \(value)") }
      #expect(
        text.isEmpty || text.contains("config.json") || text.contains("does not fit")
          || text.contains("transformer takes"), "\(key): \(value): \(text)")
    }
    try sound.write(to: file)
    #expect(read(checkpoint, .audioConfiguration, .audioEncoder) == "")
  }

  @Test func `lists of the speech encoder's convolutions are as long as its weights'`() throws {
    let checkpoint = try TinyCheckpoint()
    let file = try checkpoint.file(.audioConfiguration)
    for list in [
      [Int](repeating: 1 << 9, count: 7), [Int](repeating: 1, count: 6), [Int](repeating: 2, count: 100_000),
    ] {
      for key in ["conv_dim", "conv_kernel", "conv_stride"] {
        let sound = try Data(contentsOf: file)
        try set(key, "\(list)", in: file)
        #expect(!read(checkpoint, .audioConfiguration, .audioEncoder).isEmpty, "\(key)")
        try sound.write(to: file)
      }
    }
  }

  static let settingsKeys = [
    "headDim", "imageSizes", "textLength", "cachePolicy", "positionLimit", "latentStatistics", "provenance",
  ]

  @Test(arguments: settingsKeys)
  func `the folder's settings`(key: String) throws {
    let checkpoint = try TinyCheckpoint()
    let file = checkpoint.root.appendingPathComponent("livetalk.json")
    let sound = try Data(contentsOf: file)
    let policies = ["rolling", "anchor", "full"].flatMap { name in
      [
        "", ":", ":0", ":-3", ":9223372036854775807", ":9223372036854775807/9223372036854775807",
        ":-9223372036854775808/15", ":99999999999999999999",
      ]
      .map { "\"\(name)\($0)\"" }
    }
    let sizes = ["0", "-8", "9223372036854775807", "1e9", "8193"].map { "[{\"height\": \($0), \"width\": 128}]" }
    let statistics = ["[]", "[1e400]", "[0, 1]", "[null]"].map { "{\"mean\": \($0), \"deviation\": \($0)}" }
    let more = ["cachePolicy": policies, "imageSizes": sizes, "latentStatistics": statistics][key] ?? []
    for value in Self.values + more {
      try sound.write(to: file)
      try set(key, value, in: file)
      let text = read(checkpoint, .transformer, .vae)
      if key == "headDim" || key == "textLength", Self.impossible.contains(value) {
        #expect(!text.isEmpty, "\(key): \(value)")
      }
      if more.contains(value), value != "\"full\"" { #expect(!text.isEmpty, "\(key): \(value)") }
      guard text.isEmpty else { continue }
      // What is taken is taken by a session too.
      let settings = try checkpoint.open().settings
      _ = SessionOptions(settings)
    }
  }

  @Test(arguments: ["dim", "num_heads", "audio_inject_layers", "num_layers", "in_dim", "eps"])
  func `Live Avatar's configuration`(key: String) throws {
    let checkpoint = try TinyCheckpoint(liveAvatar: true)
    let file = try checkpoint.file(.transformerConfiguration)
    let sound = try Data(contentsOf: file)
    for value in Self.values + ["[0, 1, 9223372036854775807]", "[0, 0, 0]", "[-1, 0, 1]"] {
      try sound.write(to: file)
      try set(key, value, in: file)
      let text = refusal { try checkpoint.open().verifyWeights() }
      if key == "audio_inject_layers", value != "null" { #expect(!text.isEmpty, "\(key): \(value)") }
    }
  }

  static let tokenizerPaths = [
    "model.unk_id", "model.vocab", "model.byte_fallback", "model.type", "normalizer", "pre_tokenizer", "post_processor",
    "added_tokens", "truncation", "padding",
  ]

  @Test(arguments: tokenizerPaths)
  func `the tokenizer`(path: String) throws {
    let checkpoint = try TinyCheckpoint()
    let file = try checkpoint.file(.tokenizer)
    var object = try #require(JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
    let keys = path.split(separator: ".").map(String.init)
    if keys.count == 2 {
      var inner = try #require(object[keys[0]] as? [String: Any])
      inner[keys[1]] = "@@"
      object[keys[0]] = inner
    } else {
      object[path] = "@@"
    }
    let text = String(decoding: try JSONSerialization.data(withJSONObject: object), as: UTF8.self)
    let more = [
      #"[["a", 1e400], ["b", -1e300]]"#, #"[["", 0]]"#,
      #"{"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "x"}}], "special_tokens": {"x": {"ids": [-5, 2147483647]}}}"#,
      #"{"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "x"}}], "special_tokens": {"x": {"ids": [1e30]}}}"#,
      String(repeating: "[", count: 100_000), String(repeating: #"{"type":"Sequence","normalizers":["#, count: 20_000),
    ]
    for value in Self.values + more {
      try Data(text.replacing("\"@@\"", with: value).utf8).write(to: file)
      let refused = refusal {
        _ = try withTorchErrors {
          try withInferenceMode { try checkpoint.open().encodeText("Two words.", device: .cpu, dtype: .float32) }
        }
      }
      if value.contains("-5"), path == "post_processor" { #expect(refused.contains("more words"), "\(refused)") }
    }
  }

  // MARK: Files of tensors

  static let shapes = [
    "[9223372036854775807]", "[0, 9223372036854775807]", "[9223372036854775807, 0]",
    "[0, 4611686018427387904, 4611686018427387904]",
    "[-1]", "[-1, -1]", "[0, -1]", "[1.5]", "[1e30]", "[\"1\"]", "[true]", "[[1]]", "null", "1",
    "[\(String(repeating: "1,", count: 1000))1]",
  ]

  @Test(arguments: shapes)
  func `the header of a safetensors file`(shape: String) throws {
    let checkpoint = try TinyCheckpoint()
    for (part, key) in [
      (CheckpointFolder.Part.transformer, "patch_embedding.weight"),
      (.audioEncoder, "wav2vec2.encoder.layer_norm.bias"),
    ] {
      for offsets in [
        "[0, 0]", "[0, 4]", "[-4, 0]", "[9223372036854775807, 9223372036854775807]", "[0, 9223372036854775807]",
        "[4, 0]", "[]", "[0, 1e30]", "null",
      ] {
        for type in ["F32", "U8", "F8_E4M3"] {
          let header = #"{"\#(key)": {"dtype": "\#(type)", "shape": \#(shape), "data_offsets": \#(offsets)}}"#
          var data = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
          data.append(Data(header.utf8) + Data(repeating: 0, count: 4))
          try data.write(to: checkpoint.file(part))
          let text = refusal { try checkpoint.open().verify(part) }
          #expect(!text.isEmpty, "\(shape) \(offsets)")
        }
      }
    }
  }

  @Test(arguments: ["0", "-1", "18446744073709551615", "9223372036854775808", "104857601"])
  func `the length of a header`(length: String) throws {
    let checkpoint = try TinyCheckpoint()
    let file = try checkpoint.file(.transformer)
    let number = UInt64(length) ?? UInt64.max
    try (withUnsafeBytes(of: number.littleEndian) { Data($0) } + Data("{}".utf8)).write(to: file)
    #expect(refusal { try checkpoint.open().verify(.transformer) }.contains("model.safetensors"))
  }

  @Test(arguments: values + [#"{"a": 1}"#, #"{"a": "../x"}"#, #"{"a": "."}"#, #"{"a": ""}"#, #"{"a": "\u0000"}"#])
  func `the index of a file in parts`(value: String) throws {
    let checkpoint = try TinyCheckpoint()
    let index = #"{"metadata": {"total_size": \#(value == "null" ? "1e99" : value)}, "weight_map": \#(value)}"#
    try checkpoint.replace(.transformer, by: "LiveTalk-1.3B-V0.1/model.safetensors.index.json") {
      try Data(index.utf8).write(to: $0)
    }
    #expect(!refusal { try checkpoint.open().verify(.transformer) }.isEmpty)
    #expect(!CheckpointInspection(of: try checkpoint.open()).complete)
  }

  /// Shapes that tell impossible sizes.
  @Test func `tensors that tell sizes, in every shape they should not have`() throws {
    let checkpoint = try TinyCheckpoint()
    let shapes: [[Int]] = [
      [], [0], [1], [0, 0], [1, 1], [3, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1], [7, 5, 1, 2, 2], [2, 33, 1, 2, 2],
    ]
    for part in [CheckpointFolder.Part.transformer, .vae, .textEncoder, .audioEncoder] {
      let original = try checkpoint.weights(part)
      let telling = [
        "patch_embedding.weight", "head.head.weight", "text_embedding.0.weight", "time_embedding.0.weight",
        "audio_proj.proj.weight",
        "blocks.0.ffn.0.weight", "encoder.conv1.weight", "conv2.weight", "decoder.conv1.weight",
        "encoder.downsamples.0.residual.2.weight",
        "encoder.downsamples.3.residual.2.weight", "token_embedding.weight", "blocks.0.attn.q.weight",
        "blocks.0.ffn.fc1.weight",
        "blocks.0.pos_embedding.embedding.weight", "feature_projection.projection.weight", "encoder.layer_norm.weight",
      ]
      for key in telling where original[key] != nil {
        for shape in shapes where original[key]?.shape != shape {
          var weights = original
          weights[key] = Tensor.zeros(shape)
          try checkpoint.write(weights, to: part)
          let text = refusal { try withTorchErrors { try checkpoint.open().verify(part) } }
          #expect(!text.isEmpty, "\(key) \(shape)")
        }
      }
      try checkpoint.write(original, to: part)
    }
    try checkpoint.open().verifyWeights()
  }
}

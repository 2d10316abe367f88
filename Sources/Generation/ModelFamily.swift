package import Foundation
package import Models
import Torch

/// What the checkpoints of one kind of model have in common: the names of their files, and how video, latents and sound lie over
/// each other.
package struct ModelFamily: Sendable {
  /// A file of a checkpoint.
  package struct File: Sendable {
    /// Where it is in the folder as published, first choice first; under the first of these names it is written.
    package let names: [String]
    /// Where else people have it: in folders of diffusers' layout or ComfyUI's, or all files in one folder.
    package let otherNames: [String]
    /// The Hugging Face repository that the published file is in, or the command that makes it.
    package let source: String

    package var allNames: [String] { names + otherNames }

    init(_ names: [String], or otherNames: [String] = [], from source: String) {
      (self.names, self.otherNames, self.source) = (names, otherNames, source)
    }
  }

  /// Which models a checkpoint's files hold.
  package enum Kind: Sendable { case liveTalk, liveAvatar }

  package let kind: Kind
  package let name: String
  package let geometry: LatentGeometry
  /// What holds where a checkpoint folder has no `livetalk.json`.
  package let settings: CheckpointSettings
  private let files: [CheckpointFolder.Part: File]

  private static func within(_ folders: [String], _ names: [String]) -> [String] {
    folders.flatMap { folder in names.map { "\(folder)/\($0)" } }
  }

  private static let transformerNames =
    ["model", "diffusion_pytorch_model"].flatMap { ["\($0).safetensors", "\($0).safetensors.index.json"] }
    + ["model.pt", "model.pth", "pytorch_model.bin", "diffusion_pytorch_model.bin"]
  private static let speechNames = ["model.safetensors", "pytorch_model.bin"]
  private static let textEncoderNames = [
    "models_t5_umt5-xxl-enc-bf16.pth", "models_t5_umt5-xxl-enc-bf16.safetensors", "umt5_xxl_fp16.safetensors",
    "umt5-xxl-enc-bf16.safetensors", "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
  ]
  private static let otherTextEncoderNames =
    within(["text_encoder"], ["model.safetensors", "model.safetensors.index.json"] + textEncoderNames)
    + within(["text_encoders"], textEncoderNames) + textEncoderNames
  private static let vaeNames = [
    "Wan2.1_VAE.pth", "Wan2.1_VAE.safetensors", "Wan2.2_VAE.pth", "wan_2.1_vae.safetensors", "wan2.2_vae.safetensors",
  ]
  private static let otherVAENames =
    within(["vae"], ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"] + vaeNames) + vaeNames
  private static let otherTokenizerNames = [
    "google/umt5-xxl/tokenizer.json", "umt5-xxl/tokenizer.json", "tokenizer/tokenizer.json", "tokenizer.json",
  ]

  private static let liveTalkFiles: [CheckpointFolder.Part: File] = {
    let (own, wan, speech) = ("GAIR/LiveTalk-1.3B-V0.1", "Wan-AI/Wan2.1-T2V-1.3B", "facebook/wav2vec2-base-960h")
    return [
      .transformer: File(
        ["LiveTalk-1.3B-V0.1/model.safetensors", "LiveTalk-1.3B-V0.1/model.safetensors.index.json"],
        or: within(["LiveTalk-1.3B-V0.1", "transformer"], transformerNames) + transformerNames, from: own),
      .vae: File(
        ["Wan2.1-T2V-1.3B/Wan2.1_VAE.pth", "Wan2.1-T2V-1.3B/Wan2.1_VAE.safetensors"], or: otherVAENames, from: wan),
      .textEncoder: File(
        [
          "Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.pth",
          "Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.safetensors",
        ], or: otherTextEncoderNames, from: wan),
      .tokenizer: File(
        ["Wan2.1-T2V-1.3B/google/umt5-xxl/tokenizer.json"], or: otherTokenizerNames, from: wan),
      .audioEncoder: File(
        ["wav2vec2/model.safetensors", "wav2vec2/pytorch_model.bin"],
        or: within(["wav2vec2-base-960h"], speechNames) + ["pytorch_model.bin"], from: speech),
      .audioConfiguration: File(
        ["wav2vec2/config.json"], or: ["wav2vec2-base-960h/config.json", "config.json"], from: speech),
      .faceReader: File(["face-reader/model.safetensors"], from: "livetalk train reader"),
    ]
  }()

  /// LiveTalk, and OmniAvatar's bidirectional models, whose tensors have the same names.
  package static let liveTalk = ModelFamily(
    kind: .liveTalk, name: "LiveTalk", geometry: .livetalk, settings: .published, files: liveTalkFiles)

  private static let liveAvatarFiles: [CheckpointFolder.Part: File] = {
    let (base, own) = ("Wan-AI/Wan2.2-S2V-14B", "Quark-Vision/Live-Avatar")
    let (folder, speech) = ("Wan2.2-S2V-14B", "Wan2.2-S2V-14B/wav2vec2-large-xlsr-53-english")
    return [
      .transformer: File(
        ["safetensors.index.json", "safetensors"].map { "\(folder)/diffusion_pytorch_model.\($0)" },
        or: ["safetensors.index.json", "safetensors"].map { "diffusion_pytorch_model.\($0)" }
          + within(
            [folder, "diffusion_models", "."],
            ["wan2.2_s2v_14B_bf16.safetensors", "wan2.2_s2v_14B_fp8_scaled.safetensors"]),
        from: base),
      .transformerConfiguration: File(["\(folder)/config.json"], or: ["config.json"], from: base),
      .adapter: File(["LiveAvatar/liveavatar.safetensors"], or: ["liveavatar.safetensors"], from: own),
      .vae: File(
        ["\(folder)/Wan2.1_VAE.pth", "\(folder)/Wan2.1_VAE.safetensors"], or: otherVAENames, from: base),
      .textEncoder: File(
        ["pth", "safetensors"].map { "\(folder)/models_t5_umt5-xxl-enc-bf16.\($0)" }, or: otherTextEncoderNames,
        from: base),
      .tokenizer: File(
        ["\(folder)/google/umt5-xxl/tokenizer.json"], or: otherTokenizerNames, from: base),
      .audioEncoder: File(
        ["\(speech)/model.safetensors", "\(speech)/pytorch_model.bin"],
        or: within(["wav2vec2-large-xlsr-53-english"], speechNames), from: base),
      .audioConfiguration: File(
        ["\(speech)/config.json"], or: ["wav2vec2-large-xlsr-53-english/config.json"], from: base),
    ]
  }()

  /// Live Avatar: Wan2.2-S2V with an adapter that distils it to four steps.
  package static let liveAvatar = ModelFamily(
    kind: .liveAvatar, name: "Live Avatar", geometry: .liveAvatar, settings: .publishedLiveAvatar,
    files: liveAvatarFiles)

  package static let all = [liveTalk, liveAvatar]

  /// The family whose transformer is in the folder under its published name; elsewhere Live Avatar where its adapter is, which no other
  /// family has, and else LiveTalk.
  package init(of root: URL) {
    func holds(_ names: [String]) -> Bool {
      names.contains { FileManager.default.fileExists(atPath: root.appendingPathComponent($0).path) }
    }
    self =
      ModelFamily.all.first { holds($0.file(.transformer).names) }
      ?? (holds(ModelFamily.liveAvatar.file(.adapter).allNames) ? .liveAvatar : .liveTalk)
  }

  private init(
    kind: Kind, name: String, geometry: LatentGeometry, settings: CheckpointSettings,
    files: [CheckpointFolder.Part: File]
  ) {
    (self.kind, self.name, self.geometry, self.settings, self.files) = (kind, name, geometry, settings, files)
  }

  /// The files that its checkpoints have or may have.
  package var parts: [CheckpointFolder.Part] { CheckpointFolder.Part.allCases.filter { files[$0] != nil } }

  package func file(_ part: CheckpointFolder.Part) -> File {
    files[part] ?? File([], from: "")
  }

  /// Where a part is written in a checkpoint folder: under its published name.
  package func place(of part: CheckpointFolder.Part, in root: URL) -> URL {
    root.appendingPathComponent(file(part).names[0])
  }
}

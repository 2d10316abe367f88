package import Foundation
package import Models
import Torch

/// What the checkpoints of one kind of model have in common: the names of their files, and how video, latents and sound lie over
/// each other.
package struct ModelFamily: Sendable {
  /// A file of a checkpoint.
  package struct File: Sendable {
    /// Where it may be in the folder, first choice first; the first one is the published name.
    package let names: [String]
    /// The Hugging Face repository that the published file is in, or the command that makes it.
    package let source: String

    init(_ names: [String], from source: String) { (self.names, self.source) = (names, source) }
  }

  /// Which models a checkpoint's files hold.
  package enum Kind: Sendable { case liveTalk, liveAvatar }

  package let kind: Kind
  package let name: String
  package let geometry: LatentGeometry
  /// What holds where a checkpoint folder has no `livetalk.json`.
  package let settings: CheckpointSettings
  private let files: [CheckpointFolder.Part: File]

  private static let liveTalkFiles: [CheckpointFolder.Part: File] = {
    let (own, wan, speech) = ("GAIR/LiveTalk-1.3B-V0.1", "Wan-AI/Wan2.1-T2V-1.3B", "facebook/wav2vec2-base-960h")
    return [
      .transformer: File(
        ["LiveTalk-1.3B-V0.1/model.safetensors", "LiveTalk-1.3B-V0.1/model.safetensors.index.json"], from: own),
      .vae: File(["Wan2.1-T2V-1.3B/Wan2.1_VAE.pth", "Wan2.1-T2V-1.3B/Wan2.1_VAE.safetensors"], from: wan),
      .textEncoder: File(
        [
          "Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.pth",
          "Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.safetensors",
        ], from: wan),
      .tokenizer: File(["Wan2.1-T2V-1.3B/google/umt5-xxl/tokenizer.json"], from: wan),
      .audioEncoder: File(["wav2vec2/model.safetensors", "wav2vec2/pytorch_model.bin"], from: speech),
      .audioConfiguration: File(["wav2vec2/config.json"], from: speech),
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
        ["safetensors.index.json", "safetensors"].map { "\(folder)/diffusion_pytorch_model.\($0)" }, from: base),
      .transformerConfiguration: File(["\(folder)/config.json"], from: base),
      .adapter: File(["LiveAvatar/liveavatar.safetensors"], from: own),
      .vae: File(["\(folder)/Wan2.1_VAE.pth", "\(folder)/Wan2.1_VAE.safetensors"], from: base),
      .textEncoder: File(
        ["pth", "safetensors"].map { "\(folder)/models_t5_umt5-xxl-enc-bf16.\($0)" }, from: base),
      .tokenizer: File(["\(folder)/google/umt5-xxl/tokenizer.json"], from: base),
      .audioEncoder: File(["\(speech)/model.safetensors", "\(speech)/pytorch_model.bin"], from: base),
      .audioConfiguration: File(["\(speech)/config.json"], from: base),
    ]
  }()

  /// Live Avatar: Wan2.2-S2V with an adapter that distils it to four steps.
  package static let liveAvatar = ModelFamily(
    kind: .liveAvatar, name: "Live Avatar", geometry: .liveAvatar, settings: .publishedLiveAvatar,
    files: liveAvatarFiles)

  package static let all = [liveTalk, liveAvatar]

  /// The family whose transformer is in the folder; LiveTalk where none is.
  package init(of root: URL) {
    self =
      ModelFamily.all.first { family in
        family.file(.transformer).names.contains {
          FileManager.default.fileExists(atPath: root.appendingPathComponent($0).path)
        }
      } ?? .liveTalk
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

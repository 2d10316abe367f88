import Basics
import ClipShards
import Datasets
import Dialogue
import Foundation
import Generation
import Media
import Models
import PromptCleaning
import Session
import TextTokenizer
import Torch
import Training
import WebRTC

/// Something that reads what users bring.
struct Reader: Sendable {
  let name: String
  /// The name of the mutated file in the folder that is read.
  let file: String
  var container = Container.none
  /// Pieces that mean something in the format.
  var words: [String] = []
  /// Where its files lie, under Tests: a folder and the endings taken from it.
  let corpus: [(folder: String, endings: [String])]
  /// Puts what stands around the file into an empty folder; called once.
  var prepare: @Sendable (URL) throws -> Void = { _ in }
  /// Reads the folder and whatever is in it; throws what a user is told.
  let read: @Sendable (URL) throws -> Void

  static let all: [Reader] = tensorFiles + adapters + settings + media + texts + streams

  private static let jsonWords = [
    "{", "}", "[", "]", ",", ":", "\"", "null", "true", "1e999", "\\ud800", "\\u0000", "[[[[[[[[[[[[[[[[",
  ]

  // MARK: - Tensors

  private static let tensorFiles = [
    Reader(
      name: "safetensors", file: "input.safetensors", container: .safetensors,
      words: jsonWords + ["\"dtype\":\"F8_E4M3\"", "\"shape\":[0]", "\"data_offsets\":[0,0]", "__metadata__"],
      corpus: [("Fuzz/Corpus/safetensors", ["safetensors"])]
    ) { try touch(readWeights($0.appendingPathComponent("input.safetensors"))) },
    Reader(
      name: "pickle", file: "input.pth", container: .zip,
      words: ["ctorch\nFloatStorage\n", "}q", "\u{28}", "\u{2E}", "ccollections\nOrderedDict\n", "t", "R", "a", "u"],
      corpus: [("Fuzz/Corpus/pickle", ["pth"])]
    ) { try touch(readWeights($0.appendingPathComponent("input.pth"))) },
    Reader(
      name: "index", file: "model.safetensors.index.json", words: jsonWords + ["../", "model.safetensors"],
      corpus: [("Fuzz/Corpus/index", ["json"])],
      prepare: { try writeSafetensors(["a": Tensor.ones([2])], to: $0.appendingPathComponent("model.safetensors")) }
    ) { try touch(readWeights($0.appendingPathComponent("model.safetensors.index.json"))) },
    Reader(
      name: "shards", file: "index.json", words: jsonWords, corpus: [("Fuzz/Corpus/shards", ["json"])],
      prepare: {
        try writeSafetensors(
          ["clip-0/sound": Tensor.zeros([8]), "clip-0/video": Tensor.zeros([3, 1, 2, 2], .uint8)],
          to: $0.appendingPathComponent("shard-00000.safetensors"))
      }
    ) { folder in
      let clips = try PreparedClips(folder)
      for clip in 0..<min(clips.count, 4) { _ = try? clips.tensor(clip, "sound") }
    },
  ]

  /// Reads the values, so that a tensor outside its file is noticed.
  private static func touch(_ tensors: [String: Tensor]) throws {
    try withTorchErrors {
      for tensor in tensors.values where tensor.count < 1 << 24 { _ = tensor.to(.float32).sum().item }
    }
  }

  private static let adapters = [
    Reader(
      name: "adapter", file: "adapter_model.safetensors", container: .safetensors,
      words: jsonWords + [
        "lora_A.default.weight", "lora_B.weight", "lora_down.weight", ".alpha", ".diff_b", ".dora_scale", "lora_unet_",
        "modules_to_save", "\"shape\":[0,4]", "F8_E4M3",
      ],
      corpus: [], prepare: writeAdapter, read: mergeAdapter),
    Reader(
      name: "adapter_config.json", file: "adapter_config.json",
      words: jsonWords + ["\"lora_alpha\"", "alpha_pattern", "rank_pattern", "(a*)*$", "(", "use_rslora", "use_dora"],
      corpus: [], prepare: writeAdapter, read: mergeAdapter),
  ]

  private static let adaptedLayers = ["blocks.0.self_attn.q", "blocks.1.ffn.0"]

  /// An adapter in two namings with the settings beside it, and a base.
  private static func writeAdapter(_ folder: URL) throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    var (base, adapter): ([String: Tensor], [String: Tensor]) = ([:], [:])
    for layer in adaptedLayers {
      base["\(layer).weight"] = Tensor.ones([6, 4])
      base["\(layer).bias"] = Tensor.ones([6])
    }
    adapter["base_model.model.\(adaptedLayers[0]).lora_A.weight"] = Tensor.ones([2, 4])
    adapter["base_model.model.\(adaptedLayers[0]).lora_B.weight"] = Tensor.ones([6, 2])
    adapter["lora_unet_blocks_1_ffn_0.lora_down.weight"] = Tensor.ones([2, 4])
    adapter["lora_unet_blocks_1_ffn_0.lora_up.weight"] = Tensor.ones([6, 2])
    adapter["lora_unet_blocks_1_ffn_0.alpha"] = Tensor.ones([])
    try writeSafetensors(base, to: folder.appendingPathComponent("base.safetensors"))
    try writeSafetensors(adapter, to: folder.appendingPathComponent("adapter_model.safetensors"))
    let settings =
      #"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "alpha_pattern": {"self_attn.q": 8}, "rank_pattern": {"ffn.0": 2}}"#
    try Data(settings.utf8).write(to: folder.appendingPathComponent("adapter_config.json"))
  }

  private static func mergeAdapter(_ folder: URL) throws {
    try withTorchErrors {
      let base = try readWeights(folder.appendingPathComponent("base.safetensors"))
      let adapter = try LoRAAdapter(contentsOf: folder)
      let merging = try LoRAAdapter.Merging([adapter], into: base)
      for entry in merging.layout where entry.shape.reduce(1, *) < 1 << 24 { _ = try merging.tensor(entry.name) }
    }
  }

  // MARK: - Settings

  private static let settings = [
    Reader(
      name: "yaml", file: "input.yaml",
      words: [": ", "- ", "&a ", "*a ", "!!binary ", "---\n", ".nan", ".inf", "~", "|\n", "'", "preset: "],
      corpus: [("Fuzz/Corpus/training", ["yaml"])]
    ) { try readTraining($0.appendingPathComponent("input.yaml")) },
    Reader(
      name: "json", file: "input.json", words: jsonWords, corpus: [("Fuzz/Corpus/training", ["json"])]
    ) { try readTraining($0.appendingPathComponent("input.json")) },
    Reader(
      name: "dialogue", file: "dialogue.json", words: jsonWords, corpus: [("Fuzz/Corpus/dialogue", ["json"])]
    ) { _ = try DialogueSettings(contentsOf: $0.appendingPathComponent("dialogue.json")) },
    Reader(
      name: "tokenizer", file: "tokenizer.json",
      words: jsonWords + ["\"type\":\"Unigram\"", "\"Regex\":\"(a*)*$\"", "\"unk_id\":", "\\s+", "(", "{2,99999}"],
      corpus: [("TextTokenizerTests/Fixtures", ["unigram_new.json", "unigram_old.json"])]
    ) {
      let tokenizer = try Tokenizer(contentsOf: $0.appendingPathComponent("tokenizer.json"))
      _ = tokenizer.encode("A woman speaks, 1 2 3, ﬁ é \u{1F600}", length: 16)
    },
    Reader(
      name: "checkpoint", file: "LiveTalk-1.3B-V0.1/model.safetensors", container: .safetensors,
      words: jsonWords + ["\"shape\":[]", "blocks.99.", "\"F16\""], corpus: [],
      prepare: { try RandomCheckpoint(.tiny).write(to: $0) }
    ) { try CheckpointFolder($0).verify(.transformer) },
    Reader(
      name: "autoencoder", file: "Wan2.1-T2V-1.3B/Wan2.1_VAE.pth", container: .zip, words: ["K\u{1}", "J", "t", "."],
      corpus: [],
      prepare: { try RandomCheckpoint(.tiny).write(to: $0) }
    ) { folder in try withTorchErrors { try CheckpointFolder(folder).verify(.vae) } },
    Reader(
      name: "wav2vec2", file: "wav2vec2/config.json", words: jsonWords, corpus: [],
      prepare: { try RandomCheckpoint(.tiny).write(to: $0) }
    ) { folder in try withTorchErrors { try CheckpointFolder(folder).verify(.audioEncoder) } },
    Reader(
      name: "livetalk.json", file: "livetalk.json", words: jsonWords + ["rolling:", "anchor:1/"], corpus: [],
      prepare: { try RandomCheckpoint(.tiny).write(to: $0) }
    ) { folder in
      let folder = try CheckpointFolder(folder)
      try withTorchErrors { try folder.verify(.transformer) }
    },
    Reader(
      name: "live avatar", file: "Wan2.2-S2V-14B/config.json",
      words: jsonWords + ["num_layers", "audio_inject_layers", "[0,1,2,3,4,5,6,7]"], corpus: [],
      prepare: { try RandomCheckpoint(.liveAvatarTiny).write(to: $0) }
    ) { folder in try withTorchErrors { try CheckpointFolder(folder).verify(.transformer) } },
    Reader(
      name: "live avatar's adapter", file: "LiveAvatar/liveavatar.safetensors", container: .safetensors,
      words: jsonWords + ["lora_A.default.weight", "\"shape\":[]", "blocks.99."], corpus: [],
      prepare: { try RandomCheckpoint(.liveAvatarTiny).write(to: $0) }
    ) { folder in try withTorchErrors { try CheckpointFolder(folder).verify(.adapter) } },
  ]

  /// Every stage reads it, whatever the others say; the first refusal is told.
  private static func readTraining(_ file: URL) throws {
    var failure: (any Error)?
    func attempt<C: TrainingConfiguration>(_ type: C.Type) {
      do { _ = try readConfiguration(type, file: file, isChecked: false) } catch { failure = failure ?? error }
    }
    attempt(TeacherConfiguration.self)
    attempt(DMDConfiguration.self)
    attempt(VAEConfiguration.self)
    if let failure { throw failure }
  }

  // MARK: - Pictures, sound, video

  private static let fixtures = "MediaTests/Fixtures"

  private static let media = [
    picture("jpeg", ["jpg"]), picture("png", ["png"], .png), picture("webp", ["webp"]), picture("avif", ["avif"]),
    picture("gif", ["gif"]), picture("tiff", ["tif"]),
    sound("wav"), sound("mp3"), sound("flac"), sound("m4a"), sound("ogg"),
    Reader(name: "video", file: "input.mp4", corpus: [(fixtures, ["mp4"])]) { folder in
      let path = folder.appendingPathComponent("input.mp4").path
      let reader = try VideoReader(path: path, framesPerSecond: 16)
      for _ in 0..<40 { if try reader.next() == nil { break } }
      _ = reader.damage
      if reader.hasSound { _ = try reader.sound() }
      // A film may be given as a picture and as a sound.
      _ = try Picture(contentsOf: path)
    },
  ]

  private static func picture(_ name: String, _ endings: [String], _ container: Container = .none) -> Reader {
    let file = "input.\(endings[0])"
    return Reader(
      name: name, file: file, container: container, words: ["Exif", "ICCP", "eXIf", "ANMF", "VP8X"],
      corpus: [(fixtures, endings)]
    ) {
      _ = try Picture(contentsOf: $0.appendingPathComponent(file).path)
    }
  }

  private static func sound(_ ending: String) -> Reader {
    Reader(
      name: ending, file: "input.\(ending)", words: ["data", "fmt ", "LIST", "fLaC", "OggS", "moov", "ID3"],
      corpus: [(fixtures, [ending])]
    ) {
      _ = try Sound(contentsOf: $0.appendingPathComponent("input.\(ending)").path, maximumSeconds: 60)
    }
  }

  // MARK: - Texts

  private static let texts = [
    Reader(
      name: "dataset", file: "metadata.jsonl", words: jsonWords + ["\n", "../", "/"],
      corpus: [("Fuzz/Corpus/dataset", ["jsonl"])]
    ) { _ = try DatasetFolder($0) },
    Reader(name: "truth", file: "truth.json", words: jsonWords, corpus: [("Fuzz/Corpus/truth", ["json"])]) {
      _ = try ClipTruth(contentsOf: $0.appendingPathComponent("truth.json"))
    },
    Reader(
      name: "sdp", file: "offer.sdp", words: ["\r\n", "m=", "a=", "a=rtpmap:", "a=mid:", "BUNDLE"],
      corpus: [("Fuzz/Corpus/sdp", ["sdp"])]
    ) {
      let text = String(decoding: try Data(contentsOf: $0.appendingPathComponent("offer.sdp")), as: UTF8.self)
      do { _ = try Offer(text, role: .conversation, codecs: VideoCodec.allCases) } catch let error as WebRTCError {
        throw LiveTalkError(error.description)
      }
    },
    Reader(
      name: "command", file: "command.json", words: jsonWords, corpus: [("Fuzz/Corpus/command", ["json"])]
    ) {
      let data = try Data(contentsOf: $0.appendingPathComponent("command.json"))
      do { _ = try JSONDecoder().decode(SessionCommand.self, from: data) } catch {
        throw LiveTalkError(jsonReason(error))
      }
    },
    Reader(
      name: "prompt", file: "prompt.txt", words: ["&amp;", "&#x1F600;", "&#99999999999;", "Ã©", "â€™", "\u{FFFD}"],
      corpus: [("Fuzz/Corpus/prompt", ["txt"])]
    ) {
      let data = try Data(contentsOf: $0.appendingPathComponent("prompt.txt"))
      _ = PromptCleaning.clean(String(decoding: data.prefix(10_000), as: UTF8.self))
    },
  ]

  // MARK: - What servers send

  private static let streams = [
    Reader(
      name: "server-sent events", file: "events.txt",
      words: jsonWords + ["data: ", "\n\n", "\r", "event: ", ":", "data: [DONE]", "\u{FEFF}"],
      corpus: [("Fuzz/Corpus/events", ["txt"])]
    ) { folder in
      var parser = ServerSentEventParser()
      for piece in try pieces(folder.appendingPathComponent("events.txt")) { _ = try parser.append(piece) }
    },
    Reader(
      name: "streamed sound", file: "sound.wav", words: ["RIFF", "WAVE", "fmt ", "data", "LIST"],
      corpus: [("Fuzz/Corpus/speech", ["wav"])]
    ) { folder in
      let file = folder.appendingPathComponent("sound.wav")
      do {
        var decoder = SoundDecoder(rate: 24_000)
        for piece in try pieces(file) { _ = try decoder.bytes(piece) }
        decoder = SoundDecoder(rate: 24_000)
        for _ in 0..<2 { _ = try decoder.piece([UInt8](try Data(contentsOf: file))) }
      } catch is SoundDecoder.Failure { throw LiveTalkError("The sound is of a kind that is not read.") }
    },
    Reader(
      name: "realtime", file: "events.jsonl",
      words: jsonWords + ["\n", "\"type\":", "response.created", "error", "item_id"],
      corpus: [("Fuzz/Corpus/realtime", ["jsonl"])]
    ) { folder in
      let settings = #"{"kind": "realtime", "realtime": {"url": "ws://127.0.0.1/v1/realtime", "model": "m"}}"#
      guard case .realtime(let realtime) = try DialogueSettings(Data(settings.utf8)).mind else { return }
      var state = RealtimeProtocol(realtime)
      let text = String(decoding: try Data(contentsOf: folder.appendingPathComponent("events.jsonl")), as: UTF8.self)
      for (number, line) in text.split(separator: "\n").enumerated() {
        if number == 1 { _ = state.respond(UtteranceID(rawValue: 1), text: "Hello") }
        _ = state.receive(String(line))
      }
    },
  ]

  /// A file as a network might cut it.
  private static func pieces(_ file: URL) throws -> [ArraySlice<UInt8>] {
    let bytes = [UInt8](try Data(contentsOf: file))
    return stride(from: 0, to: bytes.count, by: 37).map { bytes[$0..<min($0 + 37, bytes.count)] }
  }
}

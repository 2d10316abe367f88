import Basics
import ClipShards
import Foundation
import Generation
import Media
import Models
import Testing
import Torch

@testable import Datasets

@Suite struct PreparationTests {
  private let fixture: DatasetFixture
  private let size = ReferencePicture.Size(height: 32, width: 32)

  init() throws { fixture = try DatasetFixture() }

  private func settings(_ kind: ShardKind = .media) -> PreparationSettings {
    var settings = PreparationSettings(kind: kind, size: size)
    settings.latentFrames = 3
    return settings
  }

  private func prepare(
    _ settings: PreparationSettings, to name: String = "out", encoder: ClipEncoder? = nil
  ) throws -> Preparation.Summary {
    let preparation = try Preparation(
      try DatasetFolder(fixture.root), to: fixture.scratch[name], settings, settings.description(encoders: [:]))
    return try preparation.run(encoder: { encoder })
  }

  private func files(_ name: String) throws -> [String: Data] {
    try Dictionary(
      uniqueKeysWithValues: fixture.scratch.content(name).map {
        ($0, try Data(contentsOf: fixture.scratch[name].appendingPathComponent($0)))
      })
  }

  /// Seven lines of which two are bad, one is long and one is too short.
  private func fill() throws -> [String] {
    try fixture.video("a.mp4", frames: 10)
    try fixture.video("b.mp4", frames: 31)
    try fixture.video("mute.mp4", frames: 10, soundRate: nil)
    try fixture.video("short.mp4", frames: 5)
    try Data(ClipTruthTests.whole.utf8).write(to: URL(fileURLWithPath: fixture.path("a.json")))
    let lines = [
      #"{"id": "a", "video": "a.mp4", "caption": "A man speaks.", "speaker": "s1", "truth": "a.json"}"#,
      #"{"id": "mute", "video": "mute.mp4"}"#, #"{"id": "b", "video": "b.mp4"}"#,
      #"{"id": "gone", "video": "gone.mp4"}"#, #"{"id": "short", "video": "short.mp4"}"#,
      #"{"id": "c", "video": "a.mp4"}"#, #"{"id": "d", "video": "b.mp4"}"#,
    ]
    try fixture.metadata(lines)
    return lines
  }

  @Test func `clips are cut into whole pieces, and bad ones listed with their reason`() throws {
    _ = try fill()
    let summary = try prepare(settings())
    #expect(summary.clips.map(\.id) == ["a", "b.0", "b.1", "b.2", "c", "d.0", "d.1", "d.2"])
    #expect(summary.rejected.map(\.id) == ["mute", "gone", "short"])
    let reasons = summary.rejected.map(\.reason)
    #expect(reasons[0].contains("no sound") && reasons[1].contains("gone.mp4") && reasons[2].contains("5 frames"))
    #expect(!reasons[1].contains(fixture.root.path))
    #expect(abs(summary.restSeconds - (1 + 4 + 1 + 4) / 16.0) < 1e-6)
    let clips = try PreparedClips(fixture.scratch["out"], expecting: [.media])
    let video = try clips.tensor(2, "video")
    #expect(video.shape == [3, 9, 32, 32] && video.dtype == .uint8)
    #expect(try clips.tensor(2, "sound").shape == [9000])
    #expect(clips.index.clips[0].caption == "A man speaks." && clips.index.clips[0].speaker == "s1")
    #expect(clips.index.clips[0].phonemes?.map(\.symbol) == ["_", "h"])
    #expect(clips.index.clips[0].phonemes?.last?.end == 9.0 / 16)
    #expect(clips.index.clips[1].caption.contains("speaks") && clips.index.clips[1].phonemes == nil)
    // The second piece is what the reader gives from the ninth frame on.
    let whole = try ClipReader(requirements: settings().requirements).read(try DatasetFolder(fixture.root).clips[2])
    #expect(video.permute(1, 2, 3, 0).contiguous().bytes() == whole.frames[9..<18].flatMap { $0 })
    #expect(try clips.tensor(2, "sound").array() == Array(whole.samples[9000..<18_000]))
  }

  @Test(arguments: [1, 3])
  func `a run that goes on after each line makes the same files as one without a stop`(readers: Int) throws {
    let lines = try fill()
    var settings = self.settings()
    settings.readers = readers
    settings.shardLimit = 100_000
    _ = try prepare(settings, to: "whole")
    for stop in 1...lines.count {
      try fixture.metadata(Array(lines.prefix(stop)))
      settings.saveInterval = stop % 2 == 0 ? 0 : 60
      _ = try prepare(settings)
    }
    #expect(try files("out") == files("whole"))
    #expect(try files("out").count > 3)
  }

  @Test func `rejected clips are tried again when asked, and pieces that were kept stay`() throws {
    _ = try fill()
    _ = try prepare(settings())
    try fixture.video("gone.mp4", frames: 20)
    let before = try prepare(settings())
    #expect(before.rejected.map(\.id) == ["mute", "gone", "short"] && before.earlier == 6)
    var settings = self.settings()
    settings.retriesRejected = true
    let after = try prepare(settings)
    #expect(after.rejected.map(\.id) == ["mute", "short"])
    #expect(after.clips.map(\.id) == before.clips.map(\.id) + ["gone.0", "gone.1"])
    #expect(try PreparedClips(fixture.scratch["out"]).count == 10)
  }

  @Test func `other settings on the same folder are refused`() throws {
    _ = try fill()
    _ = try prepare(settings())
    var other = settings()
    other.latentFrames = 6
    other.requirements.tolerance = 0.25
    let text = sentence { try prepare(other) }
    #expect(text.contains("latent frames: 3 there, 6 now") && text.contains("length tolerance"))
  }

  @Test func `a folder of which nothing remains is an error that says why`() throws {
    try fixture.video("mute.mp4", frames: 10, soundRate: nil)
    try fixture.metadata([#"{"id": "x", "video": "mute.mp4"}"#, #"{"id": "y", "video": "gone.mp4"}"#])
    let text = sentence { try prepare(settings()) }
    #expect(text.contains("None of the 2 clips") && text.contains("'x'") && text.contains("no sound"))
    // What was found is kept for who looks.
    #expect(try ShardIndex(readingFrom: fixture.scratch["out"]).rejected.count == 2)
  }

  // MARK: Latents

  private static let checkpoint = Result<(Scratch, CheckpointFolder), any Error> {
    let scratch = try Scratch()
    try RandomCheckpoint(.tiny, seed: 3).write(to: scratch["tiny"])
    return (scratch, try CheckpointFolder(scratch["tiny"]))
  }

  @Test func `what is stored is what a session would see`() throws {
    let (_, folder) = try PreparationTests.checkpoint.get()
    _ = try fill()
    let picture = Picture(width: 60, height: 40, bytes: pixels(60, 40) { x, y in face(0, x - 6, y - 4) })
    try picture.writePNG(to: fixture.path("r.png"))
    try fixture.metadata([#"{"id": "a", "video": "a.mp4", "caption": "A man speaks.", "reference": "r.png"}"#])
    var settings = self.settings(.latents)
    settings.negativePrompt = "blurred"
    let encoder = try ClipEncoder(loading: folder, device: .cpu, dtype: .float32)
    _ = try prepare(settings, encoder: encoder)
    let clips = try PreparedClips(fixture.scratch["out"], expecting: [.latents])

    let models = try AvatarModels(loading: folder, device: .cpu, dtype: .float32)
    let read = try ClipReader(requirements: settings.requirements).read(try DatasetFolder(fixture.root).clips[0])
    let clip = try Clip(samples: Array(read.samples.prefix(8000)), seconds: nil)
    #expect(clip.latentFrames == 3 && clip.videoFrames == 8)
    try withInferenceMode {
      let features = try models.audioEncoder.encode(clip.paddedSamples, frameCount: 9)
      #expect(try clips.tensor(0, "audioFeatures").shape == [9, 192])
      #expect(try clips.tensor(0, "audioFeatures").maxAbsDifference(features.squeeze(0)) == 0)
      let reference = models.vae.encode(
        image: ReferencePicture.prepared(Picture(width: 60, height: 40, bytes: picture.bytes), size))
      #expect(try clips.tensor(0, "referenceLatent").shape == [16, 1, 4, 4])
      #expect(try clips.tensor(0, "referenceLatent").maxAbsDifference(reference.squeeze(0)) == 0)
      let video = Tensor(read.frames.prefix(9).flatMap { $0 }, [1, 9, 32, 32, 3]).permute(0, 4, 1, 2, 3).to(.float32)
      let latents = models.vae.encode(video: video / 127.5 - 1)
      #expect(try clips.tensor(0, "latents").shape == [16, 3, 4, 4])
      #expect(try clips.tensor(0, "latents").maxAbsDifference(latents.squeeze(0)) < 1e-5)
      for (stored, prompt) in [
        (try clips.tensor(0, "text"), "A man speaks."), (try clips.shared("negativeText"), "blurred"),
      ] {
        let context = try folder.encodeText(prompt, device: .cpu, dtype: .float32)
        let rows = stored.size(0)
        #expect(rows > 0 && rows < 512)
        #expect(stored.maxAbsDifference(context.squeeze(0).narrow(0, 0, rows)) == 0)
        #expect(context.narrow(1, rows, 512 - rows).abs().max().item == 0)
      }
    }
  }

  @Test func `clips for Live Avatar have its rate, stand behind their picture, and carry what moved before`() throws {
    let scratch = try Scratch()
    try RandomCheckpoint(.liveAvatarTiny, seed: 3, dtype: .float32).write(to: scratch["avatar"])
    let folder = try CheckpointFolder(scratch["avatar"])
    _ = try fill()
    try fixture.metadata([#"{"id": "a", "video": "a.mp4"}"#])
    let square = ReferencePicture.Size(height: 64, width: 64)
    var settings = PreparationSettings(kind: .latents, size: square)
    (settings.latentFrames, settings.consistency) = (3, 0)
    (settings.requirements.enlarges, settings.requirements.framesPerSecond) = (true, folder.geometry.framesPerSecond)
    let encoder = try ClipEncoder(loading: folder, device: .cpu, dtype: .float32)
    #expect(throws: TorchError.self) { try encoder.check(ReferencePicture.Size(height: 96, width: 64)) }
    _ = try prepare(settings, encoder: encoder)
    let clips = try PreparedClips(fixture.scratch["out"], expecting: [.latents])
    #expect(clips.index.fps == 25)
    let read = try ClipReader(requirements: settings.requirements).read(try DatasetFolder(fixture.root).clips[0])
    try withInferenceMode {
      let vae = try folder.loadVAE(dtype: .float32)
      let features = SpeechStates.features(
        try SpeechStates.states(try folder.loadAudioEncoder(dtype: .float32), Array(read.samples.prefix(8 * 640))),
        frames: 9)
      #expect(try clips.tensor(0, "audioFeatures").shape == [9, 3 * 48])
      #expect(try clips.tensor(0, "audioFeatures").maxAbsDifference(features.squeeze(0)) == 0)
      let reference = try clips.tensor(0, "referenceLatent")
      #expect(reference.shape == [16, 20, 8, 8])
      // The clip goes on where its picture's stillness ends: decoded behind it, its frames are as many as it has, and three.
      let latents = try clips.tensor(0, "latents")
      #expect(latents.shape == [16, 3, 8, 8])
      let video = Tensor(read.frames.prefix(9).flatMap { $0 }, [1, 9, 64, 64, 3]).permute(0, 4, 1, 2, 3).to(.float32)
      let alone = vae.encode(video: video / 127.5 - 1).squeeze(0)
      #expect(latents.maxAbsDifference(alone) > 1e-3)
      let decoded = vae.decode(Tensor.cat([reference.narrow(1, 1, 19), latents], 1).unsqueeze(0))
      #expect(decoded.size(2) == 73 + 12)
    }
  }

  @Test func `a reference that shows something else is rejected, by its likeness`() throws {
    let (_, folder) = try PreparationTests.checkpoint.get()
    _ = try fill()
    let other = Picture(
      width: 64, height: 64, bytes: pixels(64, 64) { x, _ in x % 16 < 8 ? [0, 255, 0] : [255, 255, 0] })
    try other.writePNG(to: fixture.path("other.png"))
    try Picture(width: 20, height: 20, bytes: pixels(20, 20) { _, _ in [1, 2, 3] }).writePNG(
      to: fixture.path("tiny.png"))
    try fixture.metadata([
      #"{"id": "a", "video": "a.mp4"}"#, #"{"id": "b", "video": "a.mp4", "reference": "other.png"}"#,
      #"{"id": "c", "video": "a.mp4", "reference": "tiny.png"}"#,
      #"{"id": "d", "video": "a.mp4", "reference": "none.png"}"#,
    ])
    let encoder = try ClipEncoder(loading: folder, device: .cpu, dtype: .float32)
    let summary = try prepare(settings(.latents), encoder: encoder)
    #expect(summary.clips.map(\.id) == ["a"] && summary.rejected.map(\.id) == ["b", "c", "d"])
    #expect(summary.rejected[0].reason.contains("likeness"))
    #expect(summary.rejected[1].reason.contains("reference picture is 20 × 20"))
    #expect(summary.rejected[2].reason.contains("none.png"))
  }

  // MARK: External programs

  private func script(_ name: String, _ text: String) throws -> String {
    let url = fixture.scratch[name]
    try Data("#!/bin/sh\n\(text)\n".utf8).write(to: url)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: url.path)
    return url.path
  }

  @Test func `a captioner gives one line, and a clip for which it does not is rejected`() throws {
    _ = try fill()
    try fixture.metadata(
      ["a", "b", "c"].map { #"{"id": "\#($0)", "video": "\#($0 == "b" ? "b" : "a").mp4"}"# }
        + [#"{"id": "given", "video": "a.mp4", "caption": "Given."}"#])
    var settings = self.settings()
    let talker = try script("caption.sh", "case \"$1\" in *b.mp4) exit 4;; esac; echo \" From $(basename \"$1\"). \"")
    settings.captioner = try ExternalTool("\(talker) {video}", places: ["video"])
    let summary = try prepare(settings)
    #expect(summary.clips.map(\.caption) == ["From a.mp4.", "From a.mp4.", "Given."])
    #expect(summary.rejected.map(\.id) == ["b"] && summary.rejected[0].reason.contains("status 4"))
    settings.captioner = try ExternalTool(try script("two.sh", "echo one; echo two"), places: ["video"])
    #expect(sentence { try prepare(settings) }.contains("captioner"))
    try fixture.metadata([#"{"id": "a", "video": "a.mp4"}"#])
    #expect(sentence { try prepare(settings, to: "other") }.contains("2 lines"))
  }

  @Test func `an up-scaler's picture is the reference, and its failures reject the clip`() throws {
    let (_, folder) = try PreparationTests.checkpoint.get()
    _ = try fill()
    try fixture.metadata([#"{"id": "a", "video": "a.mp4"}"#])
    var settings = self.settings(.latents)
    settings.consistency = 0
    let encoder = try ClipEncoder(loading: folder, device: .cpu, dtype: .float32)
    let better = Picture(width: 96, height: 64, bytes: pixels(96, 64) { x, y in [UInt8(x), UInt8(y), 9] })
    try better.writePNG(to: fixture.scratch["better.png"].path)
    let copy = try script("up.sh", "test -s \"$1\" && cp '\(fixture.scratch["better.png"].path)' \"$2\"")
    settings.upscaler = try ExternalTool("\(copy) {in} {out}", places: ["in", "out"])
    _ = try prepare(settings, encoder: encoder)
    let expected = try folder.loadVAE(dtype: .float32).encode(
      image: ReferencePicture.prepared(Picture(width: 96, height: 64, bytes: better.bytes), size)
    ).squeeze(0)
    let stored = try PreparedClips(fixture.scratch["out"]).tensor(0, "referenceLatent")
    #expect(stored.maxAbsDifference(expected) < 1e-6)
    for (name, text, words) in [
      ("fails", "exit 1", "status 1"), ("idle", "exit 0", "made no picture"),
      ("lies", "echo x > \"$2\"", "cannot be read"),
    ] {
      settings.upscaler = try ExternalTool("\(try script(name, text)) {in} {out}", places: ["in", "out"])
      #expect(sentence { try prepare(settings, to: "out-\(name)", encoder: encoder) }.contains(words))
    }
  }
}

@Suite struct DatasetInspectionTests {
  @Test func `every clip is told with its problem`() throws {
    let fixture = try DatasetFixture()
    try fixture.video("a.mp4", frames: 20, fps: 25, soundRate: 48_000)
    try fixture.video("mute.mp4", frames: 16, soundRate: nil)
    try fixture.frames("f", count: 8)
    try fixture.wave("s.wav", seconds: 1)
    try fixture.metadata([
      #"{"id": "a", "video": "a.mp4", "caption": "Hello."}"#, #"{"id": "mute", "video": "mute.mp4"}"#,
      #"{"id": "f", "frames": "f", "fps": 8, "sound": "s.wav"}"#, #"{"id": "gone", "video": "gone.mp4"}"#,
    ])
    for decoding in [false, true] {
      let inspection = DatasetInspection(of: try DatasetFolder(fixture.root), decoding: decoding)
      #expect(inspection.clips.map { $0.problem == nil } == [true, false, true, false])
      #expect(inspection.problems == 2 && abs(inspection.seconds - 1.8) < 0.01)
      let clip = inspection.clips[0]
      #expect(clip.width == 48 && clip.height == 32 && clip.fps == 25 && clip.sound == "track")
      #expect(inspection.clips[2].sound == "file" && inspection.clips[2].soundSeconds == 1)
      #expect(inspection.clips[3].problem?.contains("gone.mp4") == true)
    }
  }
}

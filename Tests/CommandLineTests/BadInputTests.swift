import Basics
import Foundation
import Media
import Testing
import Torch

/// Every mistake: one sentence on standard error, a status that is not 0, and nothing at the output.
@Suite struct BadInputTests {
  private let folder: Folder
  private var output: String { folder["out.mp4"].path }

  init() throws { folder = try Folder() }

  private func voice() throws -> String { try folder.file("voice.wav", Fixtures.wave(seconds: 0.5)) }

  private func arguments(
    checkpoint: String? = nil, image: String = Fixtures.picture, audio: String? = nil, output: String? = nil
  ) async throws -> [String] {
    let weights = if let checkpoint { checkpoint } else { try await Fixtures.checkpoint.value }
    return [
      "generate", "--checkpoint", weights, "--image", image, "--audio", try audio ?? voice(), "--prompt", "A person.",
      "-o", output ?? self.output,
    ]
  }

  private func expectSentence(
    _ result: Tool.Result, _ words: String..., status: Int32 = 1, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(result.status == status, sourceLocation: sourceLocation)
    #expect(result.complaints.count == 1, "\(result.error)", sourceLocation: sourceLocation)
    #expect(result.error.hasPrefix("livetalk: "), "\(result.error)", sourceLocation: sourceLocation)
    #expect(result.error.hasSuffix(".\n"), "\(result.error)", sourceLocation: sourceLocation)
    #expect(result.output.isEmpty, sourceLocation: sourceLocation)
    for word in words { #expect(result.error.contains(word), "\(result.error)", sourceLocation: sourceLocation) }
    let left = folder.content.filter { $0.contains("partial") || $0.hasPrefix("out") }
    #expect(left.isEmpty, sourceLocation: sourceLocation)
  }

  // MARK: Files that are not there or not what they seem

  @Test func `missing files`() async throws {
    let missing = folder["nothing"].path
    expectSentence(try await Tool.run(try await arguments(image: missing)), "picture", missing)
    expectSentence(try await Tool.run(try await arguments(audio: missing)), "sound", missing)
    expectSentence(try await Tool.run(try await arguments(checkpoint: missing)), missing)
    let weights = try await Fixtures.copy(in: folder)
    try FileManager.default.removeItem(at: weights.appendingPathComponent("Wan2.1-T2V-1.3B/Wan2.1_VAE.pth"))
    expectSentence(
      try await Tool.run(try await arguments(checkpoint: weights.path)), "video autoencoder", "Wan2.1_VAE.pth")
  }

  @Test func `a text named as a picture`() async throws {
    let text = try folder.file("face.jpg", Array("This is no picture at all, only words.\n".utf8))
    expectSentence(try await Tool.run(try await arguments(image: text)), "face.jpg")
    expectSentence(try await Tool.run(try await arguments(audio: text)), "face.jpg")
  }

  @Test func `pictures that are too small, too large or too narrow`() async throws {
    let small = try folder.file("small.png", Fixtures.png(width: 1, height: 1))
    expectSentence(try await Tool.run(try await arguments(image: small)), "too small", "1 × 1", "16 a side")
    let large = try folder.file("large.png", Fixtures.png(width: 20_000, height: 20_000))
    expectSentence(try await Tool.run(try await arguments(image: large)), "20000 × 20000")
    let strip = Picture(width: 1600, height: 20, bytes: [UInt8](repeating: 9, count: 1600 * 20 * 3))
    try strip.writePNG(to: folder["strip.png"].path)
    expectSentence(try await Tool.run(try await arguments(image: folder["strip.png"].path)), "too narrow")
  }

  @Test func `sounds that are too short or too long`() async throws {
    let empty = try folder.file("empty.wav", Fixtures.wave(seconds: 0))
    expectSentence(try await Tool.run(try await arguments(audio: empty)), "empty.wav", "no samples")
    // Three hours at 8 kHz and 8 bits, of which the disk holds the header.
    let bytes = 3 * 3600 * 8000
    let long = try folder.file("long.wav", Fixtures.waveHeader(bytes: bytes, rate: 8000, bits: 8))
    #expect(truncate(long, 44 + bytes) == 0)
    expectSentence(try await Tool.run(try await arguments(audio: long)), "long.wav", "longer than one hour")
  }

  // MARK: Weights

  private var transformer: String { "LiveTalk-1.3B-V0.1/model.safetensors" }

  @Test func `a truncated safetensors file`() async throws {
    let weights = try await Fixtures.copy(in: folder)
    let file = weights.appendingPathComponent(transformer)
    let data = try Data(contentsOf: file)
    for length in [data.count - 1000, 100, 5, 0] {
      try data.prefix(length).write(to: file)
      expectSentence(try await Tool.run(try await arguments(checkpoint: weights.path)), file.path)
    }
  }

  @Test func `a header that claims ten gigabytes`() async throws {
    let weights = try await Fixtures.copy(in: folder)
    let file = weights.appendingPathComponent(transformer)
    try Data(Fixtures.little(10_000_000_000, 8) + Array("{}".utf8)).write(to: file)
    expectSentence(try await Tool.run(try await arguments(checkpoint: weights.path)), "10000000000")
  }

  @Test func `a pickle that asks to call a function`() async throws {
    let weights = try await Fixtures.copy(in: folder)
    let marker = folder["called"].path
    let pickle = Array("cposix\nsystem\n(Vtouch \(marker)\ntR.".utf8)
    try Data(Fixtures.zip([("archive/version", Array("3\n".utf8)), ("archive/data.pkl", pickle)])).write(
      to: weights.appendingPathComponent("Wan2.1-T2V-1.3B/Wan2.1_VAE.pth"))
    expectSentence(try await Tool.run(try await arguments(checkpoint: weights.path)), "Wan2.1_VAE.pth", "posix.system")
    #expect(!FileManager.default.fileExists(atPath: marker))
  }

  @Test func `a tensor of a wrong shape, and keys that are missing or unused, all of them listed`() async throws {
    let weights = try await Fixtures.copy(in: folder)
    let file = weights.appendingPathComponent(transformer)
    var tensors = try readWeights(file)
    let keys = ["blocks.1.self_attn.q.weight", "blocks.3.norm3.bias", "head.modulation"]
    for key in keys { try #require(tensors[key] != nil) }
    tensors[keys[0]] = Tensor.zeros([7, 3])
    tensors[keys[1]] = nil
    tensors[keys[2]] = nil
    tensors["surplus.one"] = Tensor.zeros([1])
    tensors["surplus.two"] = Tensor.zeros([1])
    // Not over the file that is mapped.
    try writeSafetensors(tensors.mapValues { $0.clone() }, to: file)
    let result = try await Tool.run(try await arguments(checkpoint: weights.path))
    expectSentence(result, keys[0], "[7, 3]", keys[1], keys[2], "surplus.one", "surplus.two", file.path)
    let inspected = try await Tool.run("checkpoint", "inspect", weights.path)
    #expect(inspected.status == 1 && keys.allSatisfy(inspected.text.contains))
  }

  // MARK: Outputs

  @Test func `outputs that cannot be written`() async throws {
    let file = try folder.file("file", [1])
    for place in [
      "\(file)/out.mp4", "/proc/out.mp4", folder["none/out.mp4"].path, folder["out.xyz"].path, folder.url.path,
    ] {
      expectSentence(try await Tool.run(try await arguments(output: place)), place)
    }
    for place in ["\(file)/tiny", "/proc/tiny", folder["none/tiny"].path, folder.url.path] {
      expectSentence(try await Tool.run("checkpoint", "init", "--preset", "tiny", "--out", place), place)
    }
  }

  @Test func `a full disk`() async throws {
    let raw = try await arguments(output: "/dev/full")
    expectSentence(try await Tool.run(raw + ["-q"]), "No space left on device")
    // A limit on the size of files, as a quota is one.
    let video = try await arguments()
    let line = "ulimit -f 4; exec \"$0\" " + video.map { "'\($0)'" }.joined(separator: " ") + " -q"
    expectSentence(try await Tool.shell(line), output, "File too large")
    let make = "ulimit -f 64; exec \"$0\" checkpoint init --preset tiny --out '\(folder["out"].path)' 2>&1 >/dev/null"
    let made = try await Tool.shell(make)
    #expect(made.status == 1 && made.text.contains("File too large"))
    #expect(!folder.content.contains { $0.contains("out") })
  }

  @Test func `options that cannot be`() async throws {
    let good = try await arguments()
    for (option, value) in [
      ("--device", "cuda:99"), ("--device", "abacus"), ("--size", "100x100"), ("--size", "big"), ("--seconds", "0"),
      ("--seconds", "-3"), ("--seconds", "nan"), ("--steps", "0"), ("--policy", "rolling:2"),
      ("--policy", "anchor:9/10"),
      ("--policy", "none"), ("--dtype", "int4"), ("--position-limit", "3"), ("--threads", "0"), ("--seed", "-1"),
    ] {
      let result = try await Tool.run(good + ["\(option)=\(value)"])
      let words = option == "--device" ? "device" : value
      expectSentence(result, words, status: option == "--device" ? 1 : 64)
    }
    expectSentence(try await Tool.run("generate"), "--image", status: 64)
    expectSentence(try await Tool.run("dance"), "dance", status: 64)
    expectSentence(try await Tool.run("checkpoint", "init", "--preset", "huge", "--out", "x"), "huge", status: 64)
  }

  @Test func `more memory than there is`() async throws {
    // The cache of a whole hour of large pictures.
    let weights = try await Fixtures.checkpoint.value
    let result = try await Tool.shell(
      "ulimit -v 6000000; exec \"$0\" generate --checkpoint '\(weights)' --image '\(Fixtures.picture)' --audio "
        + "'\(try voice())' --prompt x -o '\(output)' --size 8192x8192 --device cpu -q")
    #expect(result.status == 1, "\(result.status) \(result.error)")
    #expect(result.complaints.count == 1 && result.error.contains("memory"), "\(result.error)")
    #expect(!folder.content.contains { $0.contains("out") })
  }
}

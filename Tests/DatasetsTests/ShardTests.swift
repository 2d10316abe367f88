import Foundation
import Testing
import Torch

@testable import ClipShards

private let description = ShardDescription(kind: .latents, width: 16, height: 16, origin: ["encoder": "one"])

/// Tensors of one clip, different for every number.
private func tensors(_ number: Int, values: Int = 100) -> [String: Tensor] {
  [
    "latents": Tensor((0..<values).map { Float($0 + number) }, [values]),
    "text": Tensor([Float(number)], [1]).to(.bfloat16),
    "video": Tensor((0..<3).map { UInt8($0 + number) }, [3]),
  ]
}

private func metadata(_ number: Int) -> ClipMetadata {
  ClipMetadata(
    caption: "clip \(number)", speaker: "s\(number)", phonemes: [ShardPhoneme(symbol: "_", start: 0, end: 0.25)])
}

@Suite struct ShardWriterTests {
  private let scratch: Scratch
  private var folder: URL { scratch["shards"] }

  init() throws { scratch = try Scratch() }

  private func write(_ numbers: Range<Int>, to folder: URL, limit: Int, flushing: Bool = false) throws {
    let writer = try ShardWriter(folder, description, shardLimit: limit)
    for number in numbers where !writer.isDone("c\(number)") {
      if number % 4 == 3 {
        writer.reject("c\(number)", "it is the fourth.")
      } else {
        try writer.append("c\(number)", metadata(number), tensors(number))
      }
      if flushing { try writer.flush() }
    }
    try writer.flush()
  }

  private func files(_ folder: URL) throws -> [String: Data] {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    return try Dictionary(
      uniqueKeysWithValues: names.map { ($0, try Data(contentsOf: folder.appendingPathComponent($0))) })
  }

  @Test func `what is written is read back, over several shards`() throws {
    try write(0..<10, to: folder, limit: 1000)
    let clips = try PreparedClips(folder)
    #expect(clips.count == 8)
    #expect(Set(clips.index.clips.map(\.shard)).count == 4)
    #expect(clips.index.rejected == [3, 7].map { RejectedClip(id: "c\($0)", reason: "it is the fourth.") })
    for (place, clip) in clips.index.clips.enumerated() {
      let number = try #require(Int(clip.id.dropFirst()))
      for (name, tensor) in tensors(number) {
        let read = try clips.tensor(place, name)
        #expect(read.dtype == tensor.dtype && read.equals(tensor), "\(clip.id)/\(name)")
      }
      #expect(clip.caption == "clip \(number)" && clip.speaker == "s\(number)")
      #expect(clip.phonemes == [ShardPhoneme(symbol: "_", start: 0, end: 0.25)])
      #expect(clip.tensors["video"] == TensorRecord(.uint8, [3]))
    }
    #expect(clips.number(of: "c4") == 3 && clips.number(of: "c3") == nil)
  }

  @Test func `tensors of mixed widths are mapped without a copy`() throws {
    try write(0..<3, to: folder, limit: 1 << 20)
    let file = try SafetensorsFile(folder.appendingPathComponent("shard-00000.safetensors"))
    for clip in 0..<3 {
      // A tensor that shares the mapping is the same memory every time.
      let (one, other) = (try file.tensor("c\(clip)/latents"), try file.tensor("c\(clip)/latents"))
      one.fill_(7)
      #expect(other.array().allSatisfy { $0 == 7 })
    }
  }

  @Test(arguments: [1, 500, 1000, 1 << 20])
  func `a run that stops anywhere and goes on makes the same bytes as one without a stop`(limit: Int) throws {
    try write(0..<10, to: folder, limit: limit)
    let whole = try files(folder)
    for stop in 1..<10 {
      let other = scratch["stopped-\(stop)"]
      try write(0..<stop, to: other, limit: limit, flushing: stop % 2 == 0)
      try write(0..<10, to: other, limit: limit, flushing: stop % 3 == 0)
      #expect(try files(other) == whole, "stopped at \(stop)")
    }
  }

  @Test func `what was not flushed when the program ended is made again`() throws {
    do {
      let writer = try ShardWriter(folder, description)
      try writer.append("c0", metadata(0), tensors(0))
      try writer.flush()
      try writer.append("c1", metadata(1), tensors(1))
      writer.reject("bad", "no.")
    }
    let writer = try ShardWriter(folder, description)
    #expect(writer.isDone("c0") && !writer.isDone("c1") && !writer.isDone("bad"))
  }

  @Test func `half-written files of a killed program are removed`() throws {
    try write(0..<2, to: folder, limit: 1000)
    try Data([1]).write(to: folder.appendingPathComponent(".shard-00001.safetensors.partial-77"))
    try Data([1]).write(to: folder.appendingPathComponent(".index.json.partial-77"))
    try Data([1]).write(to: folder.appendingPathComponent("notes.txt"))
    _ = try ShardWriter(folder, description)
    #expect(scratch.content("shards") == ["index.json", "notes.txt", "shard-00000.safetensors"])
  }

  @Test func `other settings are refused, each named`() throws {
    try write(0..<2, to: folder, limit: 1000)
    var other = description
    other.width = 32
    other.origin = ["encoder": "two", "crop": "center"]
    let text = sentence { try ShardWriter(folder, other) }
    for words in ["size: 16x16 there, 32x16 now", "encoder: one there, two now", "crop: none there, center now"] {
      #expect(text.contains(words), "\(text)")
    }
  }

  @Test func `a folder with other things, a file, and a place that cannot be are refused`() throws {
    try Data([1]).write(to: scratch["letter.txt"])
    #expect(sentence { try ShardWriter(scratch.url, description) }.contains("holds something else"))
    #expect(sentence { try ShardWriter(scratch["letter.txt"], description) }.contains("in the way"))
    #expect(sentence { try ShardWriter(scratch["none/inner"], description) }.contains("No such file"))
  }

  @Test func `two writers in one folder are refused`() throws {
    let writer = try ShardWriter(folder, description)
    #expect(sentence { try ShardWriter(folder, description) }.contains("Another program"))
    try writer.flush()
  }

  @Test func `an id that is there already is refused`() throws {
    let writer = try ShardWriter(folder, description)
    try writer.append("c0", metadata(0), tensors(0))
    #expect(sentence { try writer.append("c0", metadata(0), tensors(0)) }.contains("'c0'"))
    #expect(sentence { try writer.append("", metadata(0), tensors(0)) }.contains("no id"))
    #expect(sentence { try writer.append("c1", metadata(0), [:]) }.contains("no tensors"))
  }

  @Test func `rejected clips can be tried again`() throws {
    try write(0..<4, to: folder, limit: 1000)
    let writer = try ShardWriter(folder, description)
    #expect(writer.isDone("c3"))
    writer.forgetRejected { $0 == "c3" }
    #expect(!writer.isDone("c3"))
    try writer.append("c3", metadata(3), tensors(3))
    try writer.flush()
    #expect(try PreparedClips(folder).index.rejected.isEmpty)
  }

  @Test func `a disk that cannot be written leaves the last whole state`() throws {
    // Root may write anywhere: a folder in the way of the shard stops it too.
    try write(0..<3, to: folder, limit: 1 << 20)
    let before = try files(folder)
    let writer = try ShardWriter(folder, description, shardLimit: 1)
    let taken = folder.appendingPathComponent("shard-00001.safetensors")
    try FileManager.default.createDirectory(
      at: taken.appendingPathComponent("inner"), withIntermediateDirectories: true)
    #expect(sentence { try writer.append("c4", metadata(4), tensors(4)) }.contains(taken.path))
    try FileManager.default.removeItem(at: taken)
    #expect(try files(folder) == before)
    #expect(try PreparedClips(folder).count == 3)
  }
}

@Suite struct PreparedClipsTests {
  private let scratch: Scratch
  private var folder: URL { scratch["shards"] }
  private var index: URL { folder.appendingPathComponent("index.json") }
  private var shard: URL { folder.appendingPathComponent("shard-00000.safetensors") }

  init() throws {
    scratch = try Scratch()
    let writer = try ShardWriter(folder, description)
    for number in 0..<2 { try writer.append("c\(number)", metadata(number), tensors(number)) }
    try writer.writeShared(["negativeText": Tensor([1, 2] as [Float], [1, 2])])
    try writer.flush()
  }

  /// Changes the index as text.
  private func change(_ old: String, _ new: String) throws {
    let text = try String(contentsOf: index, encoding: .utf8)
    try #require(text.contains(old))
    try Data(text.replacingOccurrences(of: old, with: new).utf8).write(to: index)
  }

  @Test func `shared tensors are read`() throws {
    let clips = try PreparedClips(folder)
    #expect(try clips.shared("negativeText").array() == [1, 2] as [Float])
    #expect(clips.sharedTensors["negativeText"] == TensorRecord(.float32, [1, 2]))
    #expect(sentence { try clips.shared("positiveText") }.contains("'positiveText'"))
  }

  @Test func `a tensor or a clip that is not there is named`() throws {
    let clips = try PreparedClips(folder)
    let text = sentence { try clips.tensor(0, "trajectory") }
    #expect(text.contains("'c0'") && text.contains("'trajectory'") && text.contains("'latents'"))
    #expect(sentence { try clips.tensor(9, "latents") }.contains("no clip 9"))
  }

  @Test func `tensors outlive the folder`() throws {
    let tensor = try PreparedClips(folder).tensor(1, "latents")
    try FileManager.default.removeItem(at: folder)
    #expect(tensor.equals(tensors(1)["latents"] ?? tensor.flip(0)))
  }

  @Test func `another kind is refused`() throws {
    let text = sentence { try PreparedClips(folder, expecting: [.media, .trajectories]) }
    #expect(text.contains("'latents'") && text.contains("'media' or 'trajectories'"))
    #expect(try PreparedClips(folder, expecting: [.latents]).count == 2)
  }

  @Test func `an index of another version or kind, or no index, is refused`() throws {
    try change("\"kind\":\"latents\"", "\"kind\":\"paintings\"")
    #expect(sentence { try PreparedClips(folder) }.contains("unknown kind 'paintings'"))
    try change("\"version\":1", "\"version\":2")
    #expect(sentence { try PreparedClips(folder) }.contains("version 2"))
    try Data("{\"clips\":[]}".utf8).write(to: index)
    #expect(sentence { try PreparedClips(folder) }.contains("names no version"))
    try Data("{\"version\":1,\"kind\":\"media\"}".utf8).write(to: index)
    #expect(sentence { try PreparedClips(folder) }.contains("is missing"))
    try Data("{\"version\":1,".utf8).write(to: index)
    #expect(sentence { try PreparedClips(folder) }.contains("not JSON"))
    try FileManager.default.removeItem(at: index)
    #expect(sentence { try PreparedClips(folder) }.contains("no index.json"))
    #expect(sentence { try PreparedClips(scratch["none"]) }.contains("no folder"))
    #expect(sentence { try PreparedClips(shard) }.contains("is a file"))
  }

  @Test func `a truncated, damaged or missing shard is refused`() throws {
    let data = try Data(contentsOf: shard)
    for length in [data.count - 1, 20, 3, 0] {
      try data.prefix(length).write(to: shard)
      #expect(sentence { try PreparedClips(folder) }.contains(shard.path))
      #expect(sentence { try ShardWriter(folder, description) }.contains(shard.path))
    }
    try FileManager.default.removeItem(at: shard)
    #expect(sentence { try PreparedClips(folder) }.contains("is missing"))
    try data.write(to: shard)
    try FileManager.default.removeItem(at: folder.appendingPathComponent("shared.safetensors"))
    #expect(sentence { try PreparedClips(folder) }.contains("shared.safetensors is missing"))
  }

  @Test func `an index that does not fit its shard is refused`() throws {
    try change("\"shape\":[100]", "\"shape\":[99]")
    #expect(sentence { try PreparedClips(folder) }.contains("[99]"))
    try change("\"shape\":[99]", "\"shape\":[100]")
    try change("\"id\":\"c1\"", "\"id\":\"c0\"")
    #expect(sentence { try PreparedClips(folder) }.contains("twice"))
  }

  @Test func `a shard outside the folder is refused`() throws {
    try change("\"shard\":\"shard-00000.safetensors\"", "\"shard\":\"../shard-00000.safetensors\"")
    #expect(sentence { try PreparedClips(folder) }.contains("not a file of its folder"))
  }
}

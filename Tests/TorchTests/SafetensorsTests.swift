import Basics
import Foundation
import Testing

@testable import Torch

@Suite struct SafetensorsTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// A file with this header and this many bytes of data.
  private func file(_ header: String, data: Int = 0, claimed: UInt64? = nil) throws -> URL {
    let length = claimed ?? UInt64(header.utf8.count)
    let bytes = withUnsafeBytes(of: length.littleEndian) { Array($0) } + Array(header.utf8)
    return try folder.file("model.safetensors", bytes + [UInt8](repeating: 0, count: data))
  }

  @Test func `tensors of every type come back as they were written`() throws {
    let written = tensorsOfEveryType().filter { $0.value.dtype != .complex64 }
    try writeSafetensors(written, metadata: ["format": "pt"], to: folder["a.safetensors"])
    let read = try readWeights(folder["a.safetensors"])
    #expect(read.count == written.count)
    for (name, tensor) in written { #expect(sameBytes(read[name], tensor), "\(name)") }
    #expect(try SafetensorsFile(folder["a.safetensors"]).metadata == ["format": "pt"])
  }

  @Test func `scalars and empty tensors come back`() throws {
    let written = ["scalar": Tensor([2.5] as [Float], []), "empty": Tensor.zeros([0, 4])]
    try writeSafetensors(written, to: folder["a.safetensors"])
    let read = try readWeights(folder["a.safetensors"])
    for (name, tensor) in written { #expect(sameBytes(read[name], tensor), "\(name)") }
  }

  @Test func `an unaligned data start is read`() throws {
    // 8 + 25685 = 25693, where the data of a published file start.
    let entry = #"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#
    let header = entry + String(repeating: " ", count: 25685 - entry.utf8.count)
    let values: [Float] = [1.5, -3]
    let bytes =
      withUnsafeBytes(of: UInt64(25685).littleEndian) { Array($0) } + Array(header.utf8)
      + values.withUnsafeBytes { Array($0) }
    let tensors = try readWeights(try folder.file("model.safetensors", bytes))
    #expect(tensors["w"]?.array() == values)
  }

  @Test func `a change of a tensor does not reach the file`() throws {
    let url = folder["a.safetensors"]
    try writeSafetensors(["w": Tensor([1, 2, 3, 4] as [Float])], to: url)
    let before = try Data(contentsOf: url)
    let tensor = try #require(try readWeights(url)["w"])
    tensor.fill_(9)
    #expect(tensor.array() == [9, 9, 9, 9] as [Float])
    #expect(try Data(contentsOf: url) == before)
    #expect(try readWeights(url)["w"]?.array() == [1, 2, 3, 4] as [Float])
  }

  #if os(Linux)
    @Test func `the mapping lives as long as the last tensor, and outlives the file`() throws {
      let url = folder["unlinked.safetensors"]
      try writeSafetensors(["a": Tensor([1, 2] as [Float]), "b": Tensor([3, 4] as [Float])], to: url)
      var tensors = try readWeights(url)
      try FileManager.default.removeItem(at: url)
      var view = tensors.removeValue(forKey: "b")?.narrow(0, 1, 1)
      #expect(view?.array() == [4] as [Float])
      tensors = [:]
      #expect(try isMapped(url))
      view = nil
      #expect(try !isMapped(url))
    }
  #endif

  @Test func `a header that claims ten gigabytes is refused`() throws {
    #expect(refusal(try file("{}", claimed: 10_000_000_000)).contains("claims 10000000000 bytes"))
    #expect(refusal(try file("{}", claimed: .max)).contains("claims"))
    #expect(refusal(try file("{}", claimed: 1000)).contains("ends after"))
  }

  @Test func `a truncated file is refused`() throws {
    let url = try file(#"{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#, data: 15)
    #expect(refusal(url).contains("truncated"))
    #expect(refusal(try folder.file("b.safetensors", [1, 2, 3])).contains("too short"))
  }

  @Test(arguments: [
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
      "overlaps"
    ),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}"#, "bytes of data"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, "bytes of data"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[9223372036854775800,9223372036854775807]}}"#, "bytes of data"),
    (#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#, "impossible shape"),
    (#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, "impossible shape"),
    (#"{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}"#, "F33"),
    (#"{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}"#, "malformed"),
    (#"{"a":{"dtype":"F32","shape":[2]}}"#, "malformed"),
    (#"{"a":7}"#, "malformed"),
    (#"[1,2]"#, "not JSON"),
    (#"{"a":"#, "not JSON"),
  ])
  func `an inconsistent header is refused`(header: String, reason: String) throws {
    #expect(refusal(try file(header, data: 64)).contains(reason))
  }

  @Test func `what is no file is refused`() throws {
    #expect(refusal(try folder.file("empty.safetensors")).contains("empty"))
    #expect(refusal(folder["absent.safetensors"]).contains("No such file"))
    try FileManager.default.createDirectory(at: folder["d.safetensors"], withIntermediateDirectories: true)
    #expect(refusal(folder["d.safetensors"]).contains("it is a directory"))
    #expect(refusal(try folder.file("model.onnx", [1])).contains("not a format of weights"))
  }

  @Test func `a full or absent place leaves no partial file`() throws {
    let inner = folder["inner"]
    try FileManager.default.createDirectory(at: inner, withIntermediateDirectories: true)
    struct Stop: Error {}
    let url = inner.appendingPathComponent("a.safetensors")
    #expect(throws: Stop.self) {
      try writeSafetensors([("w", .float32, [2])], to: url) { _ in throw Stop() }
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: inner.path).isEmpty)
    #expect(throws: FileError.self) {
      try writeSafetensors(["w": .zeros([1])], to: folder["absent/a.safetensors"])
    }
  }
}

@Suite struct ShardedWeightsTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func index(_ map: [String: String]) throws -> URL {
    let data = try JSONSerialization.data(withJSONObject: ["metadata": [:], "weight_map": map] as [String: Any])
    return try folder.file("model.safetensors.index.json", Array(data))
  }

  @Test func `shards are joined`() throws {
    try writeSafetensors(["a": Tensor([1] as [Float])], to: folder["1.safetensors"])
    try writeSafetensors(["b": Tensor([2] as [Float])], to: folder["2.safetensors"])
    let read = try readWeights(try index(["a": "1.safetensors", "b": "2.safetensors"]))
    #expect(read["a"]?.item == 1)
    #expect(read["b"]?.item == 2)
  }

  @Test func `a missing shard or tensor is refused`() throws {
    try writeSafetensors(["a": Tensor([1] as [Float])], to: folder["1.safetensors"])
    #expect(refusal(try index(["a": "1.safetensors", "b": "2.safetensors"])).contains("No such file"))
    #expect(refusal(try index(["a": "1.safetensors", "b": "1.safetensors"])).contains("no tensor 'b'"))
  }

  @Test(arguments: ["../1.safetensors", "/etc/passwd", "..", "inner/1.safetensors"])
  func `a shard outside the folder is refused`(shard: String) throws {
    #expect(refusal(try index(["a": shard])).contains("outside its folder"))
  }

  @Test func `an index without a map is refused`() throws {
    #expect(refusal(try folder.file("i.json", Array("{}".utf8))).contains("no 'weight_map'"))
  }
}

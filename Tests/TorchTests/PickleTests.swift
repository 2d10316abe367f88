import Basics
import Foundation
import Testing

@testable import Torch

@Suite struct PickleTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// An archive with this pickle and these storages.
  private func archive(_ pickle: [UInt8], _ storages: [[UInt8]] = [], byteOrder: String = "little") throws -> URL {
    let url = folder["model.pth"]
    try writeAtomically(to: url) { file in
      let archive = try ArchiveWriter(file)
      try archive.add("data.pkl", pickle)
      try archive.add("byteorder", Array(byteOrder.utf8))
      for (index, bytes) in storages.enumerated() { try archive.add("data/\(index)", bytes) }
      try archive.finish()
    }
    return url
  }

  /// The pickle of `{"w": tensor}` with a float storage; numbers are given as the pickle's own text.
  private func tensor(
    storageCount: Int = 4, offset: Int = 0, shape: [Int] = [2, 2], strides: [Int] = [2, 1],
    type: String = "FloatStorage",
    record: String = "0"
  ) -> [UInt8] {
    func long(_ number: Int) -> [UInt8] { [0x8A, 8] + withUnsafeBytes(of: Int64(number).littleEndian) { Array($0) } }
    func text(_ text: String) -> [UInt8] { [0x8C, UInt8(text.utf8.count)] + Array(text.utf8) }
    func longs(_ numbers: [Int]) -> [UInt8] { Array("(".utf8) + numbers.flatMap(long) + Array("t".utf8) }
    var bytes: [UInt8] = [0x80, 2] + Array("}".utf8) + text("w") + Array("ctorch._utils\n_rebuild_tensor_v2\n((".utf8)
    bytes += text("storage") + Array("ctorch\n\(type)\n".utf8) + text(record) + text("cpu") + long(storageCount)
    bytes += Array("tQ".utf8) + long(offset) + longs(shape) + longs(strides) + [0x89]
    return bytes + Array("ccollections\nOrderedDict\n)RtRs.".utf8)
  }

  private let sixteen = [UInt8](repeating: 0, count: 16)

  @Test func `tensors of every type come back as they were written`() throws {
    let written = tensorsOfEveryType()
    for ordered in [true, false] {
      try writePickle(written, ordered: ordered, to: folder["a.pth"])
      let read = try readWeights(folder["a.pth"])
      #expect(read.count == written.count)
      for (name, tensor) in written { #expect(sameBytes(read[name], tensor), "\(name)") }
    }
  }

  @Test func `scalars, empty tensors and long names come back`() throws {
    let written = [
      String(repeating: "ü", count: 300): Tensor([2.5] as [Float], []), "empty": Tensor.zeros([0, 4]),
      "large": Tensor.range(0, 100_000),
    ]
    try writePickle(written, to: folder["a.bin"])
    let read = try readWeights(folder["a.bin"])
    for (name, tensor) in written { #expect(sameBytes(read[name], tensor), "\(name)") }
  }

  @Test(arguments: [PickleFixtures.protocol2, PickleFixtures.protocol5])
  func `what torch.save writes is read`(pickle: [UInt8]) throws {
    let read = try readWeights(try archive(pickle, PickleFixtures.storages))
    #expect(read.count == 9)
    #expect(read["plain"]?.array() == [0, 1, 2, 3, 4, 5] as [Float])
    #expect(read["transposed"]?.shape == [3, 2])
    #expect(read["transposed"]?.array() == [0, 3, 1, 4, 2, 5] as [Float])
    #expect(read["transposed"]?.isContiguous == true)
    #expect(read["column"]?.array() == [1, 4] as [Float])
    #expect(read["row"]?.array() == [3, 4, 5] as [Float])
    #expect(read["parameter"]?.array() == [1.5, -2] as [Float])
    #expect(read["scalar"]?.intItem == 7)
    #expect(read["empty"]?.shape == [0, 3])
    #expect(read["expanded"]?.array() == [1, 1, 1] as [Float])
    #expect(read["fp8"]?.dtype == .float8E4M3)
    #expect(read["fp8"]?.array() == [1, 2] as [Float])
  }

  @Test func `every beginning of a pickle is refused, not crashed on`() throws {
    let whole = PickleFixtures.protocol2
    for length in 0..<whole.count {
      var unpickler = Unpickler(Array(whole[..<length]))
      #expect(throws: Unpickler.Refusal.self) { try unpickler.run() }
    }
  }

  @Test func `bytes changed at random are refused or read, never crashed on`() throws {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      var pickle = PickleFixtures.protocol2
      for _ in 0..<3 { pickle[Int.random(in: 0..<pickle.count, using: &generator)] = .random(in: 0...255) }
      var unpickler = Unpickler(pickle)
      _ = try? unpickler.run()
    }
    for _ in 0..<60 {
      var pickle = PickleFixtures.protocol2
      pickle[Int.random(in: 0..<pickle.count, using: &generator)] = .random(in: 0...255)
      _ = try? readWeights(try archive(pickle, PickleFixtures.storages))
    }
  }

  @Test func `a pickle that calls a function is refused by its name`() throws {
    let call = Array("cos\nsystem\n(X\u{4}\0\0\0truetR.".utf8)
    #expect(
      refusal(try archive([0x80, 2] + call)) == "it asks to call 'os.system', which is not plain data")
    let named: [UInt8] = [0x80, 4, 0x8C, 5] + Array("posix".utf8) + [0x8C, 6] + Array("system".utf8) + [0x93]
    #expect(refusal(try archive(named + Array(".".utf8))).contains("'posix.system'"))
    for name in [
      "ctorch\nload\n.", "ctorch.jit._pickle\nbuild_intlist\n.", "cbuiltins\neval\n.", "ctorch\nos.Storage\n.",
    ] {
      #expect(refusal(try archive([0x80, 2] + Array(name.utf8))).contains("not plain data"), "\(name)")
    }
  }

  @Test(arguments: [
    ("h\u{9}.", "does not hold"), ("j\u{1}\u{1}\u{1}\u{1}.", "does not hold"), ("q\0.", "malformed"),
    ("s.", "malformed"),
    ("(.", "malformed"), ("t.", "malformed"), ("u.", "malformed"), ("}(K\u{1}u.", "malformed"), ("]s.", "malformed"),
    ("}a.", "malformed"), ("K\u{1}K\u{1}.", "malformed"), ("0.", "malformed"), ("R.", "malformed"), ("Q.", "malformed"),
    (")Q.", "malformed"), ("b.", "malformed"), ("K\u{1}}b.", "set the state"), ("i.", "operation 0x69"),
    ("X\u{7F}\u{7F}\u{7F}\u{7F}a.", "ends in the middle"), ("}", "ends in the middle"), ("K\u{1}.", "no dictionary"),
    ("}K\u{1}K\u{2}s.", "no dictionary"),
  ])
  func `an abuse of stack, memo or marks is refused`(text: String, reason: String) throws {
    let pickle = [0x80, 2] + Array(text.utf8)
    if text == "}K\u{1}K\u{2}s." {
      #expect(try readWeights(try archive(pickle)).isEmpty)  // a dictionary without text keys has no tensors
    } else {
      #expect(refusal(try archive(pickle)).contains(reason))
    }
  }

  @Test func `deep nesting and cycles cost no stack`() throws {
    let deep = [UInt8](repeating: UInt8(ascii: "]"), count: 500_000)
    let appended = [UInt8](repeating: UInt8(ascii: "a"), count: 499_999)
    #expect(refusal(try archive([0x80, 2] + deep + appended + Array(".".utf8))).contains("no dictionary"))
    let tuples = [UInt8](repeating: 0x85, count: 500_000)
    #expect(refusal(try archive([0x80, 2] + Array("N".utf8) + tuples + Array(".".utf8))).contains("no dictionary"))
    #expect(refusal(try archive([0x80, 2] + Array("]q\0h\0a.".utf8))).contains("no dictionary"))
  }

  @Test func `a storage beyond its record or the file is refused`() throws {
    #expect(try readWeights(try archive(tensor(), [sixteen]))["w"]?.shape == [2, 2])
    #expect(refusal(try archive(tensor(storageCount: 5), [sixteen])).contains("claims 5 elements but has 16 bytes"))
    #expect(refusal(try archive(tensor(storageCount: .max), [sixteen])).contains("claims"))
    #expect(refusal(try archive(tensor(storageCount: -1), [sixteen])).contains("claims"))
    #expect(refusal(try archive(tensor(record: "9"), [sixteen])).contains("storage '9' is missing"))
    #expect(refusal(try archive(tensor(record: "../x"), [sixteen])).contains("missing"))
  }

  @Test(arguments: [
    (1, [2, 2], [2, 1]), (-1, [2, 2], [2, 1]), (.max, [2, 2], [2, 1]), (0, [2, 3], [2, 1]), (0, [2, 2], [3, 1]),
    (0, [-2, 2], [2, 1]), (0, [2, 2], [-2, 1]), (0, [2, 2], [2]), (0, [.max, .max], [1, 1]),
    (0, [2, 2], [.max, 1]), (0, [3, 2], [.max, .max]),
  ])
  func `a shape that does not fit its storage is refused`(offset: Int, shape: [Int], strides: [Int]) throws {
    let pickle = tensor(offset: offset, shape: shape, strides: strides)
    #expect(refusal(try archive(pickle, [sixteen])).contains("does not fit its storage"))
  }

  @Test func `a tensor that repeats one element past all bounds is refused`() throws {
    let pickle = tensor(shape: [1 << 40], strides: [0])
    #expect(refusal(try archive(pickle, [sixteen])).contains("claims more elements"))
  }

  @Test func `an unknown element type is refused by its name`() throws {
    #expect(refusal(try archive(tensor(type: "QUInt8Storage"), [sixteen])).contains("torch.QUInt8Storage"))
  }

  @Test func `several dictionaries of tensors are refused by their names`() throws {
    func inner(_ name: String) -> [UInt8] {
      [0x8C, UInt8(name.utf8.count)] + Array(name.utf8) + tensor().dropFirst(2).dropLast() + Array("s".utf8)
    }
    let one = [0x80, 2] + Array("}".utf8) + inner("model") + Array(".".utf8)
    #expect(try readWeights(try archive(one, [sixteen]))["w"]?.shape == [2, 2])
    let two = [0x80, 2] + Array("}".utf8) + inner("left") + inner("right") + Array(".".utf8)
    #expect(refusal(try archive(two, [sixteen])).contains("'left', 'right'"))
    // Those of training have a choice.
    let known = [0x80, 2] + Array("}".utf8) + inner("critic") + inner("generator") + Array(".".utf8)
    #expect(try readWeights(try archive(known, [sixteen]))["w"]?.shape == [2, 2])
    #expect(try nameOfPickledWeights(try archive(known, [sixteen])) == "generator")
  }

  @Test func `a truncated archive is refused at every length`() throws {
    let whole = try Data(contentsOf: try archive(tensor(), [sixteen]))
    for length in stride(from: 1, to: whole.count, by: 7) {
      #expect(!refusal(try folder.file("cut.pth", Array(whole[..<length]))).isEmpty)
    }
  }

  @Test func `other files under the name are refused`() throws {
    #expect(refusal(try folder.file("a.pth", [0x80, 2, 0x8A])).contains("before PyTorch 1.6"))
    #expect(refusal(try folder.file("b.pth", Array("hello".utf8))).contains("not a zip archive"))
    #expect(refusal(try folder.file("c.pth")).contains("empty"))
    #expect(refusal(try archive(tensor(), [sixteen], byteOrder: "big")).contains("big-endian"))
  }

  @Test func `a change of a tensor does not reach the file`() throws {
    let url = folder["a.pth"]
    try writePickle(["w": Tensor([1, 2, 3, 4] as [Float])], to: url)
    let before = try Data(contentsOf: url)
    let tensor = try #require(try readWeights(url)["w"])
    tensor.mul_(2)
    #expect(tensor.array() == [2, 4, 6, 8] as [Float])
    #expect(try Data(contentsOf: url) == before)
  }

  #if os(Linux)
    @Test func `the mapping lives as long as the last tensor`() throws {
      let url = folder["mapped.pth"]
      try writePickle(["a": Tensor([1, 2] as [Float]), "b": Tensor([3, 4] as [Float])], to: url)
      var tensors = try readWeights(url)
      try FileManager.default.removeItem(at: url)
      tensors["b"] = nil
      #expect(try isMapped(url))
      #expect(tensors["a"]?.array() == [1, 2] as [Float])
      tensors = [:]
      #expect(try !isMapped(url))
    }
  #endif

  @Test func `a failing source of tensors leaves no partial file`() throws {
    struct Stop: Error {}
    let inner = folder["inner"]
    try FileManager.default.createDirectory(at: inner, withIntermediateDirectories: true)
    #expect(throws: Stop.self) {
      try writePickle([("a", .float32, [1]), ("b", .float32, [1])], to: inner.appendingPathComponent("x.pth")) { name in
        if name == "b" { throw Stop() }
        return Tensor.zeros([1])
      }
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: inner.path).isEmpty)
  }

  #if os(Linux)
    @Test func `a full disk is told as the system tells it`() throws {
      let file = try PartialFile(folder["a.pth"], device: "/dev/full")
      let error = #expect(throws: FileError.self) {
        let archive = try ArchiveWriter(file)
        try archive.add("data.pkl", [1, 2, 3])
      }
      #expect(error?.reason == "No space left on device")
    }
  #endif
}

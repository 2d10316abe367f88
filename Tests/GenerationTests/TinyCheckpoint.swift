import Basics
import Foundation
import Models

@testable import Generation
@testable import Torch

/// A checkpoint folder of the smallest models, for tests that change its files.
struct TinyCheckpoint {
  private let folder: TemporaryFolder
  let root: URL

  init(liveAvatar: Bool = false) throws {
    folder = try TemporaryFolder()
    root = folder.url.appendingPathComponent("tiny")
    try (liveAvatar ? RandomCheckpoint(.liveAvatarTiny) : RandomCheckpoint(.tiny)).write(to: root)
  }

  func open() throws -> CheckpointFolder { try CheckpointFolder(root) }

  func file(_ part: CheckpointFolder.Part) throws -> URL { try open().require(part) }

  /// A part's weights, in memory of their own.
  func weights(_ part: CheckpointFolder.Part) throws -> [String: Tensor] {
    try open().weights(part).mapValues { $0.clone() }
  }

  /// Puts another file in the place of a part's.
  func replace(_ part: CheckpointFolder.Part, by name: String, _ write: (URL) throws -> Void) throws {
    while let old = try open().file(part) { try FileManager.default.removeItem(at: old) }
    let file = root.appendingPathComponent(name)
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try write(file)
  }

  /// Writes weights in the file of a part.
  func write(_ weights: [String: Tensor], to part: CheckpointFolder.Part) throws {
    let file = try file(part)
    try file.pathExtension == "pth" ? writePickle(weights, to: file) : writeSafetensors(weights, to: file)
  }
}

/// What a body throws, in words.
func refusal(_ body: () throws -> Void) -> String {
  do {
    try body()
    return ""
  } catch { return "\(error)" }
}

/// Writes what torch.save makes of dictionaries of tensors within a dictionary, as codes of training do.
func writeNestedPickle(_ groups: [(name: String, tensors: [String: Tensor])], to url: URL) throws {
  var bytes: [UInt8] = [0x80, 2]
  var records: [Tensor] = []
  func add(_ text: String) {
    bytes.append(0x58)
    withUnsafeBytes(of: UInt32(text.utf8.count).littleEndian) { bytes += $0 }
    bytes += Array(text.utf8)
  }
  func add(_ number: Int) {
    bytes.append(UInt8(ascii: "J"))
    withUnsafeBytes(of: Int32(number).littleEndian) { bytes += $0 }
  }
  func add(_ numbers: [Int]) {
    bytes.append(UInt8(ascii: "("))
    numbers.forEach { add($0) }
    bytes.append(UInt8(ascii: "t"))
  }
  func dictionary(_ body: () -> Void) {
    bytes += Array("}(".utf8)
    body()
    bytes += Array("u".utf8)
  }
  dictionary {
    add("step")
    add(600)
    for group in groups {
      add(group.name)
      dictionary {
        for (key, tensor) in group.tensors.sorted(by: { $0.key < $1.key }) {
          add(key)
          bytes += Array("ctorch._utils\n_rebuild_tensor_v2\n((".utf8)
          add("storage")
          bytes += Array("ctorch\n\(tensor.dtype.pickledStorage ?? "")\n".utf8)
          add("\(records.count)")
          add("cpu")
          add(tensor.count)
          bytes += Array("tQ".utf8)
          add(0)
          add(tensor.shape)
          add(tensor.shape.indices.map { tensor.shape[($0 + 1)...].reduce(1, *) })
          bytes += [0x89] + Array("ccollections\nOrderedDict\n)RtR".utf8)
          records.append(tensor)
        }
      }
    }
  }
  try writeAtomically(to: url) { file in
    let archive = try ArchiveWriter(file)
    try archive.add("data.pkl", bytes + Array(".".utf8))
    for (index, tensor) in records.enumerated() { try tensor.withBytes { try archive.add("data/\(index)", $0) } }
    try archive.finish()
  }
}

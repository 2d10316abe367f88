import Basics
package import Foundation

/// Writes tensors as a `.pth` file, the way torch.save writes a state dictionary: an `OrderedDict` in the order given, or a plain
/// dictionary, one tensor in memory at a time. PyTorch reads it with `weights_only=True`.
///
/// The file is written beside its destination and renamed.
/// - Parameters:
///   - layout: name, type and shape of every tensor.
///   - tensor: gives the tensor of a name; called once each, in order.
/// - Throws: `FileError` for a full disk or an unwritable destination, or what `tensor` throws.
package func writePickle(
  _ layout: [(name: String, dtype: DType, shape: [Int])], ordered: Bool = true, to url: URL,
  tensor: (String) throws -> Tensor
) throws {
  var text = PickleText(ordered: ordered)
  for (index, entry) in layout.enumerated() {
    text.add(entry.name, entry.dtype, entry.shape, record: "\(index)")
  }
  try writeAtomically(to: url) { file in
    let archive = try ArchiveWriter(file)
    try archive.add("data.pkl", text.finished())
    try archive.add("byteorder", Array("little".utf8))
    for (index, entry) in layout.enumerated() {
      let value = try tensor(entry.name)
      precondition(
        value.shape == entry.shape && value.dtype == entry.dtype, "'\(entry.name)' is not what was announced")
      try value.withBytes { try archive.add("data/\(index)", $0) }
    }
    try archive.finish()
  }
}

/// Writes named tensors as a `.pth` file, sorted by name.
package func writePickle(_ tensors: [String: Tensor], ordered: Bool = true, to url: URL) throws {
  let layout = tensors.sorted { $0.key < $1.key }.map { (name: $0.key, dtype: $0.value.dtype, shape: $0.value.shape) }
  try writePickle(layout, ordered: ordered, to: url) { name in
    guard let tensor = tensors[name] else { throw FileError(url, "no tensor '\(name)'") }
    return tensor
  }
}

/// A pickle of protocol 2 under construction. Nothing is memoised: readers do not need it, and a state dictionary repeats little.
private struct PickleText {
  private var bytes: [UInt8] = [0x80, 2]

  init(ordered: Bool) {
    if ordered { callOrderedDictionary() } else { bytes.append(UInt8(ascii: "}")) }
    bytes.append(UInt8(ascii: "("))
  }

  /// The dictionary's items are set and the pickle ends.
  func finished() -> [UInt8] { bytes + Array("u.".utf8) }

  mutating func add(_ name: String, _ dtype: DType, _ shape: [Int], record: String) {
    let count = shape.reduce(1, *)
    add(name)
    add(global: "torch._utils", dtype.pickledStorage == nil ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2")
    bytes.append(UInt8(ascii: "("))
    bytes.append(UInt8(ascii: "("))
    add("storage")
    if let storage = dtype.pickledStorage {
      add(global: "torch", storage)
    } else {
      add(global: "torch.storage", "UntypedStorage")
    }
    add(record)
    add("cpu")
    add(dtype.pickledStorage == nil ? count * dtype.size : count)
    bytes += Array("tQ".utf8)
    add(0)
    add(shape)
    add(shape.indices.map { shape[($0 + 1)...].reduce(1) { $0 * Swift.max($1, 1) } })
    bytes.append(0x89)  // needs no gradient
    callOrderedDictionary()  // no hooks
    if dtype.pickledStorage == nil { add(global: "torch", dtype.pickledType) }
    bytes += Array("tR".utf8)
  }

  private mutating func callOrderedDictionary() {
    add(global: "collections", "OrderedDict")
    bytes += Array(")R".utf8)
  }

  private mutating func add(global module: String, _ name: String) { bytes += Array("c\(module)\n\(name)\n".utf8) }

  private mutating func add(_ text: String) {
    bytes.append(UInt8(ascii: "X"))
    withUnsafeBytes(of: UInt32(text.utf8.count).littleEndian) { bytes += $0 }
    bytes += Array(text.utf8)
  }

  private mutating func add(_ number: Int) {
    bytes += [0x8A, 8]
    withUnsafeBytes(of: Int64(number).littleEndian) { bytes += $0 }
  }

  private mutating func add(_ numbers: [Int]) {
    bytes.append(UInt8(ascii: "("))
    for number in numbers { add(number) }
    bytes.append(UInt8(ascii: "t"))
  }
}

import Basics
import CTorch
package import Foundation

/// A `.safetensors` file, memory-mapped. The header is checked against the file before anything is made of it.
///
/// Format: 8 bytes little-endian header length, a JSON header (name → dtype, shape, data_offsets), then the data.
package final class SafetensorsFile: Sendable {
  /// What the header says of one tensor.
  package struct Entry: Sendable {
    package let dtype: DType
    package let shape: [Int]
    /// Bytes from the start of the file.
    let offset: Int
    package var count: Int { shape.reduce(1, *) }
    package var byteCount: Int { count * dtype.size }
  }

  package let url: URL
  package let entries: [String: Entry]
  package let metadata: [String: String]
  private let mapping: MappedFile

  /// The published readers refuse longer headers too.
  private static let headerLimit = 100 << 20

  /// - Throws: `FileError` with one sentence for anything that is not a whole, consistent file.
  package init(_ url: URL) throws {
    self.url = url
    mapping = try MappedFile(url)
    guard mapping.count >= 8 else { throw FileError(url, "the file is too short for a safetensors header") }
    if !mapping.starts(with: Array("{".utf8), at: 8), let other = mapping.otherFormat { throw FileError(url, other) }
    let length = UInt64(littleEndian: mapping.bytes.loadUnaligned(as: UInt64.self))
    guard length <= SafetensorsFile.headerLimit else {
      throw FileError(url, "its header claims \(length) bytes, more than the \(SafetensorsFile.headerLimit) allowed")
    }
    let dataStart = 8 + Int(length)
    guard dataStart <= mapping.count else {
      throw FileError(url, "its header claims \(length) bytes but the file ends after \(mapping.count)")
    }
    let header = Data(bytesNoCopy: mapping.bytes + 8, count: Int(length), deallocator: .none)
    guard let fields = (try? JSONSerialization.jsonObject(with: header)) as? [String: Any] else {
      throw FileError(url, "its header is not JSON")
    }
    var entries: [String: Entry] = [:]
    for (name, value) in fields where name != "__metadata__" {
      entries[name] = try SafetensorsFile.entry(
        name, value, dataStart: dataStart, dataCount: mapping.count - dataStart, url)
    }
    var end = 0
    for (name, entry) in entries.sorted(by: { $0.value.offset < $1.value.offset }) where entry.byteCount > 0 {
      guard entry.offset >= end else { throw FileError(url, "'\(name)' overlaps the data of another tensor") }
      end = entry.offset + entry.byteCount
    }
    self.entries = entries
    metadata = (fields["__metadata__"] as? [String: String]) ?? [:]
  }

  private static func entry(_ name: String, _ value: Any, dataStart: Int, dataCount: Int, _ url: URL) throws -> Entry {
    guard let fields = value as? [String: Any], let type = fields["dtype"] as? String,
      let shape = fields["shape"] as? [Int], let offsets = fields["data_offsets"] as? [Int], offsets.count == 2
    else { throw FileError(url, "the header entry of '\(name)' is malformed") }
    guard let dtype = DType(safetensors: type) else {
      throw FileError(url, "'\(name)' has the element type \(type), which is not supported")
    }
    guard let bytes = byteCount(of: shape, dtype) else {
      throw FileError(
        url, "'\(name)' has the impossible shape \(shape.count > 16 ? "of \(shape.count) dimensions" : "\(shape)")")
    }
    guard offsets[0] >= 0, offsets[0] <= offsets[1], offsets[1] - offsets[0] == bytes else {
      throw FileError(url, "'\(name)' has the shape \(shape) but \(offsets[1] &- offsets[0]) bytes of data")
    }
    guard offsets[1] <= dataCount else {
      throw FileError(url, "the file is truncated: '\(name)' ends at byte \(offsets[1]) of \(dataCount)")
    }
    return Entry(dtype: dtype, shape: shape, offset: dataStart + offsets[0])
  }

  /// The tensor of that name, sharing the mapped pages; copied only where the data are not aligned for their type.
  ///
  /// - Throws: `FileError` if the file has no such tensor.
  package func tensor(_ name: String) throws -> Tensor {
    guard let entry = entries[name] else { throw FileError(url, "it has no tensor '\(name)'") }
    return mapping.tensor(at: entry.offset, entry.dtype, entry.shape)
  }

  /// All tensors by name.
  package func tensors() throws -> [String: Tensor] {
    try Dictionary(uniqueKeysWithValues: entries.keys.map { ($0, try tensor($0)) })
  }
}

/// Bytes of a tensor that a file speaks of, or nil for a shape that none can have.
///
/// A tensor without elements may name any sizes beside the 0: their product is bounded too, so that no arithmetic on them overflows.
func byteCount(of shape: [Int], _ dtype: DType) -> Int? {
  guard shape.count <= 64 else { return nil }
  var extent = dtype.size
  for size in shape {
    let (product, overflow) = extent.multipliedReportingOverflow(by: max(size, 1))
    guard size >= 0, !overflow, product <= 1 << 56 else { return nil }
    extent = product
  }
  return shape.contains(0) ? 0 : extent
}

// MARK: - Writing

/// Writes tensors as a safetensors file, in the order given, one in memory at a time.
///
/// The header is padded so that the data start aligned. The file is written beside its destination and renamed.
/// - Parameters:
///   - layout: name, type and shape of every tensor.
///   - tensor: gives the tensor of a name; called once each, in order.
/// - Throws: `FileError` for a full disk or an unwritable destination, or what `tensor` throws.
package func writeSafetensors(
  _ layout: [(name: String, dtype: DType, shape: [Int])], metadata: [String: String] = [:], to url: URL,
  tensor: (String) throws -> Tensor
) throws {
  var header: [String: Any] = metadata.isEmpty ? [:] : ["__metadata__": metadata]
  var offset = 0
  for (name, dtype, shape) in layout {
    guard let type = dtype.safetensorsName else { throw FileError(url, "\(dtype) has no safetensors name") }
    let end = offset + shape.reduce(1, *) * dtype.size
    header[name] = ["dtype": type, "shape": shape, "data_offsets": [offset, end]]
    offset = end
  }
  var text = try JSONSerialization.data(withJSONObject: header, options: [.sortedKeys, .withoutEscapingSlashes])
  text.append(Data(repeating: UInt8(ascii: " "), count: (8 - text.count % 8) % 8))
  try writeAtomically(to: url) { file in
    try withUnsafeBytes(of: UInt64(text.count).littleEndian) { try file.write($0) }
    try file.write(text)
    for (name, dtype, shape) in layout {
      let value = try tensor(name)
      precondition(value.shape == shape && value.dtype == dtype, "'\(name)' is not what the header says")
      try value.withBytes { try file.write($0) }
    }
  }
}

/// Writes named tensors as a safetensors file, sorted by name.
package func writeSafetensors(_ tensors: [String: Tensor], metadata: [String: String] = [:], to url: URL) throws {
  let layout = tensors.sorted { $0.key < $1.key }.map { (name: $0.key, dtype: $0.value.dtype, shape: $0.value.shape) }
  try writeSafetensors(layout, metadata: metadata, to: url) { name in
    guard let tensor = tensors[name] else { throw FileError(url, "no tensor '\(name)'") }
    return tensor
  }
}

extension DType {
  private static let safetensorsNames: [(String, DType)] = [
    ("F32", .float32), ("F16", .float16), ("BF16", .bfloat16), ("F64", .float64), ("I64", .int64), ("I32", .int32),
    ("I16", .int16), ("I8", .int8), ("U8", .uint8), ("BOOL", .bool), ("F8_E4M3", .float8E4M3), ("F8_E5M2", .float8E5M2),
  ]

  init?(safetensors name: String) {
    guard let match = DType.safetensorsNames.first(where: { $0.0 == name }) else { return nil }
    self = match.1
  }

  var safetensorsName: String? { DType.safetensorsNames.first { $0.1 == self }?.0 }
}

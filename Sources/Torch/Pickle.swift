import Basics
import Foundation

/// Reads the state dictionary of a `.pth` or `.bin` file of torch.save.
///
/// The tensors are those of its dictionary, or of the only dictionary of tensors inside it (`{"state_dict": {…}}`); numbers
/// beside them are left out. Tensors share the mapped file's pages; only those with gaps or in another order are copied.
/// - Throws: `FileError` with one sentence for what is not plain data or not whole.
func readPickle(_ url: URL) throws -> [String: Tensor] {
  let archive = try Archive(url)
  guard let text = try archive.read("data.pkl", limit: 64 << 20) else {
    throw FileError(url, "it has no record 'data.pkl', so it is not an archive of torch.save")
  }
  if let order = try archive.read("byteorder", limit: 64), order != Array("little".utf8) {
    throw FileError(url, "its numbers are in big-endian order, which is not supported")
  }
  var unpickler = Unpickler(text)
  do {
    let described = try stateDictionary(try unpickler.run(), unpickler)
    var budget = archive.mapping.count * 4 + 64 << 20
    return try described.reduce(into: [:]) { tensors, entry in
      tensors[entry.key] = try makeTensor(entry.value, archive, copyBudget: &budget)
    }
  } catch let refusal as Unpickler.Refusal {
    throw FileError(url, refusal.reason)
  } catch let refusal as Misfit {
    throw FileError(url, refusal.reason)
  }
}

/// A tensor that does not fit its file.
private struct Misfit: Error { let reason: String }

private func stateDictionary(_ value: PickleValue, _ unpickler: Unpickler) throws -> [String: PickledTensor] {
  func tensors(_ value: PickleValue) -> [String: PickledTensor] {
    (unpickler.entries(of: value) ?? []).reduce(into: [:]) { tensors, entry in
      if case .tensor(let tensor) = entry.value { tensors[entry.key] = tensor }
    }
  }
  guard let entries = unpickler.entries(of: value) else { throw Misfit(reason: "it holds no dictionary of tensors") }
  let own = tensors(value)
  if !own.isEmpty || entries.isEmpty { return own }
  let inner = entries.map { ($0.key, tensors($0.value)) }.filter { !$0.1.isEmpty }
  guard let first = inner.first else { throw Misfit(reason: "it holds no dictionary of tensors") }
  guard inner.count == 1 else {
    let names = inner.map { "'\($0.0)'" }.joined(separator: ", ")
    throw Misfit(reason: "it holds several dictionaries of tensors (\(names)), so which is meant is unknown")
  }
  return first.1
}

/// Checks what a pickle says of a tensor against the archive, and makes the tensor.
///
/// - Parameter copyBudget: bytes that may still be copied, so that a small file cannot claim a huge repeated tensor.
private func makeTensor(_ described: PickledTensor, _ archive: Archive, copyBudget: inout Int) throws -> Tensor {
  let storage = described.storage
  let type = described.dtype ?? storage.type
  guard let dtype = DType(pickled: type) else {
    throw Misfit(reason: "it has a tensor of the element type \(type), which is not supported")
  }
  guard let record = try archive.range(of: "data/\(storage.record)") else {
    throw Misfit(reason: "its storage '\(storage.record)' is missing")
  }
  // The storage of a file that names the element type apart counts bytes.
  let unit = storage.type == "torch.storage.UntypedStorage" ? 1 : dtype.size
  let (storageBytes, storageOverflow) = storage.count.multipliedReportingOverflow(by: unit)
  guard !storageOverflow, storage.count >= 0, storageBytes <= record.count else {
    throw Misfit(
      reason: "its storage '\(storage.record)' claims \(storage.count) elements but has \(record.count) bytes")
  }
  guard let extent = extent(described), extent.last <= storageBytes / dtype.size else {
    throw Misfit(
      reason:
        "a tensor of the shape \(described.shape) with the strides \(described.strides) does not fit its storage '"
        + "\(storage.record)' of \(storageBytes / dtype.size) elements")
  }
  let start = record.lowerBound + described.offset * dtype.size
  if extent.count == 0 { return archive.mapping.tensor(at: record.lowerBound, dtype, described.shape) }
  if extent.isContiguous { return archive.mapping.tensor(at: start, dtype, described.shape) }
  let (bytes, overflow) = extent.count.multipliedReportingOverflow(by: dtype.size)
  guard !overflow, bytes <= copyBudget else {
    throw Misfit(reason: "a tensor of the shape \(described.shape) claims more elements than its file can hold")
  }
  copyBudget -= bytes
  return archive.mapping.tensor(at: start, dtype, [extent.last - described.offset])
    .asStrided(described.shape, described.strides).contiguous()
}

/// How many elements a tensor has and where in its storage it ends, or nil where that is no sensible number.
private func extent(_ tensor: PickledTensor) -> (count: Int, last: Int, isContiguous: Bool)? {
  guard tensor.offset >= 0, tensor.shape.count == tensor.strides.count, tensor.shape.count <= 64 else { return nil }
  var (count, last) = (1, tensor.offset)
  var isContiguous = true
  for (size, stride) in zip(tensor.shape, tensor.strides).reversed() {
    guard size >= 0, stride >= 0 else { return nil }
    isContiguous = isContiguous && (size == 1 || stride == count)
    let (product, countOverflow) = count.multipliedReportingOverflow(by: size)
    let (reach, reachOverflow) = Swift.max(size - 1, 0).multipliedReportingOverflow(by: stride)
    let (sum, sumOverflow) = last.addingReportingOverflow(reach)
    guard !countOverflow, !reachOverflow, !sumOverflow else { return nil }
    (count, last) = (product, sum)
  }
  return count == 0 ? (0, 0, true) : (count, last + 1, isContiguous)
}

extension DType {
  /// How pickles name the element types: as a class of storages, and as a type.
  private static let pickledNames: [(storage: String, type: String, dtype: DType)] = [
    ("FloatStorage", "float32", .float32), ("HalfStorage", "float16", .float16),
    ("BFloat16Storage", "bfloat16", .bfloat16), ("DoubleStorage", "float64", .float64),
    ("LongStorage", "int64", .int64), ("IntStorage", "int32", .int32), ("ShortStorage", "int16", .int16),
    ("CharStorage", "int8", .int8), ("ByteStorage", "uint8", .uint8), ("BoolStorage", "bool", .bool),
    ("ComplexFloatStorage", "complex64", .complex64), ("", "float8_e4m3fn", .float8E4M3),
    ("", "float8_e5m2", .float8E5M2),
  ]

  init?(pickled name: String) {
    let short = name.hasPrefix("torch.") ? String(name.dropFirst(6)) : name
    guard let match = DType.pickledNames.first(where: { $0.storage == short || $0.type == short }) else { return nil }
    self = match.dtype
  }

  /// The class of storages, or nil for the newer types that have none and are named apart.
  var pickledStorage: String? {
    let name = DType.pickledNames.first { $0.dtype == self }?.storage ?? ""
    return name.isEmpty ? nil : name
  }

  var pickledType: String { DType.pickledNames.first { $0.dtype == self }?.type ?? "float32" }
}

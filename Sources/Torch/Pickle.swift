import Basics
import Foundation

/// Reads the state dictionary of a `.pth` or `.bin` file of torch.save.
///
/// The tensors are those of the dictionary inside it that has the name of a model (`{"state_dict": {…}}`, and of Self-Forcing's
/// `generator`, `generator_ema` and `critic` the second), else its own, else those of the only dictionary of tensors inside it;
/// numbers beside them are left out. Tensors share the mapped file's pages; only those with gaps or in another order are copied.
/// - Throws: `FileError` with one sentence for what is not plain data or not whole.
func readPickle(_ url: URL) throws -> (name: String, tensors: [String: Tensor]) {
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
    let tensors = try described.tensors.reduce(into: [:]) { tensors, entry in
      tensors[entry.key] = try makeTensor(entry.value, archive, copyBudget: &budget)
    }
    return (described.path.joined(separator: "."), tensors)
  } catch let refusal as Unpickler.Refusal {
    throw FileError(url, refusal.reason)
  } catch let refusal as Misfit {
    throw FileError(url, refusal.reason)
  }
}

/// A tensor that does not fit its file.
private struct Misfit: Error { let reason: String }

/// What codes of training call the dictionary of the model in a checkpoint, first choice first: an average of the weights is what
/// serves, and Self-Forcing's `generator` is the student.
private let modelNames = [
  "generator_ema", "ema_state_dict", "ema", "params_ema", "generator", "student", "state_dict", "model_state_dict",
  "model",
  "module", "params",
]

private typealias StateDictionary = (path: [String], tensors: [String: PickledTensor])

private func stateDictionary(_ value: PickleValue, _ unpickler: Unpickler) throws -> StateDictionary {
  guard unpickler.entries(of: value) != nil else { throw Misfit(reason: "it holds no dictionary of tensors") }
  var found: [StateDictionary] = []
  // A hostile file may nest without end.
  var budget = 10_000
  func search(_ value: PickleValue, _ path: [String]) {
    guard budget > 0, let entries = unpickler.entries(of: value) else { return }
    budget -= 1
    let tensors = entries.reduce(into: [String: PickledTensor]()) { tensors, entry in
      if case .tensor(let tensor) = entry.value { tensors[entry.key] = tensor }
    }
    if !tensors.isEmpty || (path.isEmpty && entries.isEmpty) { found.append((path, tensors)) }
    // No code of training nests deeper.
    if path.count < 3 { for entry in entries { search(entry.value, path + [entry.key]) } }
  }
  search(value, [])
  let named = found.compactMap { entry -> (rank: [Int], entry: StateDictionary)? in
    let ranks = entry.path.compactMap(modelNames.firstIndex(of:))
    return ranks.count == entry.path.count && !ranks.isEmpty ? (ranks, entry) : nil
  }
  if let best = named.min(by: { $0.rank.lexicographicallyPrecedes($1.rank) }) { return best.entry }
  if let own = found.first, own.path.isEmpty || found.count == 1 { return own }
  guard !found.isEmpty else { throw Misfit(reason: "it holds no dictionary of tensors") }
  let names = found.prefix(5).map { "'\($0.path.joined(separator: "."))'" }.joined(separator: ", ")
  let more = found.count > 5 ? " and \(found.count - 5) more" : ""
  throw Misfit(
    reason:
      "it holds several dictionaries of tensors (\(names)\(more)), so which is meant is unknown; save that of the model "
      + "alone, or under the name 'state_dict'")
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
  guard byteCount(of: described.shape, dtype) != nil || !described.shape.contains(0), let extent = extent(described),
    extent.last <= storageBytes / dtype.size
  else {
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

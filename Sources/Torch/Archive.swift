import Basics
import CTorch
import Foundation

/// A zip archive of torch.save, memory-mapped: finds records by name, whatever the folder inside is called.
final class Archive {
  let url: URL
  let mapping: MappedFile
  private let archive: ct_archive

  /// - Throws: `FileError` for anything that is not a whole zip archive of torch.save.
  init(_ url: URL) throws {
    self.url = url
    mapping = try MappedFile(url)
    guard mapping.starts(with: [0x50, 0x4B, 0x03, 0x04]) else {
      // A pickle of protocol 2 or later stands bare in the files of torch.save before 1.6.
      throw FileError(
        url,
        mapping.starts(with: [0x80])
          ? "it is in the format from before PyTorch 1.6; load it with PyTorch and save it again"
          : mapping.otherFormat ?? "it is not a zip archive of torch.save")
    }
    guard mapping.holdsZipEnd else {
      throw FileError(
        url,
        "it is cut off after \(byteText(mapping.count)), without the directory that torch.save writes last: get it again"
      )
    }
    var opened: ct_archive?
    guard ct_archive_open(url.path, &opened) == 0, let opened else {
      throw FileError(url, "it is damaged: its directory does not describe an archive of torch.save; get it again")
    }
    archive = opened
  }

  deinit { ct_archive_free(archive) }

  /// The bytes of the file that a stored record occupies, or nil where there is none of that name.
  ///
  /// - Throws: `FileError` if it lies outside the file or is compressed.
  func range(of name: String) throws -> Range<Int>? {
    var found = false
    var (header, offset, size): (Int64, Int64, Int64) = (0, 0, 0)
    guard ct_archive_record(archive, name, &found, &header, &offset, &size) == 0 else {
      throw FileError(url, "it is damaged: its record '\(name)' cannot be found; get it again")
    }
    guard found else { return nil }
    let (start, length, total) = (Int(offset), Int(size), mapping.count)
    guard start >= 0, length >= 0, start <= total, length <= total - start, header >= 0, header <= total - 30 else {
      throw FileError(url, "its record '\(name)' lies outside the file")
    }
    // Bytes 8 and 9 of the zip's local header are the method; 0 is stored.
    guard mapping.bytes.loadUnaligned(fromByteOffset: Int(header) + 8, as: UInt16.self) == 0 else {
      throw FileError(url, "its record '\(name)' is compressed, which torch.save does not do")
    }
    return start..<start + length
  }

  /// The bytes of a small record, or nil where there is none of that name. Its checksum is verified.
  func read(_ name: String, limit: Int) throws -> [UInt8]? {
    guard let range = try range(of: name) else { return nil }
    guard range.count <= limit else {
      throw FileError(url, "its record '\(name)' has \(range.count) bytes, more than the \(limit) allowed")
    }
    var bytes = [UInt8](repeating: 0, count: range.count)
    guard ct_archive_read(archive, name, &bytes, Int64(bytes.count)) == 0 else {
      throw FileError(url, "it is damaged: its record '\(name)' cannot be read; get it again")
    }
    return bytes
  }
}

extension MappedFile {
  func starts(with prefix: [UInt8], at place: Int = 0) -> Bool {
    count >= place + prefix.count
      && prefix.indices.allSatisfy { bytes.load(fromByteOffset: place + $0, as: UInt8.self) == prefix[$0] }
  }

  /// Whether the record stands at the end with which a zip archive ends, before a comment of at most 64 KiB.
  fileprivate var holdsZipEnd: Bool {
    stride(from: count - 22, through: max(0, count - 22 - 0xFFFF), by: -1)
      .contains { starts(with: [0x50, 0x4B, 0x05, 0x06], at: $0) }
  }

  /// What a file of another format is, and what to do; nil where that is not known.
  var otherFormat: String? {
    let formats: [(start: [UInt8], what: String)] = [
      (
        [0x50, 0x4B, 0x03, 0x04],
        "it is a zip archive: a checkpoint of torch.save is to be named .pth, another archive unpacked"
      ),
      (Array("GGUF".utf8), "it is a GGUF file, which cannot be read here: take the safetensors files of the model"),
      (
        [0x89, 0x48, 0x44, 0x46],
        "it is an HDF5 file, which cannot be read here: take the safetensors files of the model"
      ),
      ([0x1F, 0x8B], "it is compressed with gzip: unpack it first"),
      ([0x28, 0xB5, 0x2F, 0xFD], "it is compressed with zstd: unpack it first"),
      ([0xFD, 0x37, 0x7A, 0x58, 0x5A], "it is compressed with xz: unpack it first"),
      ([0x80], "it is a pickle of Python: load it with PyTorch and save it as safetensors"),
    ]
    if let format = formats.first(where: { starts(with: $0.start) }) { return format.what }
    if starts(with: Array("ustar".utf8), at: 257) { return "it is a tar archive: unpack it first" }
    if starts(with: Array("{\"".utf8), at: 8) { return "it is a safetensors file: name it .safetensors" }
    return nil
  }
}

/// Writes records to a zip archive of torch.save: stored, each starting at a multiple of 64 bytes.
final class ArchiveWriter {
  private let file: PartialFile
  private var failure: (any Error)?
  private var writer: ct_archive_writer?

  init(_ file: PartialFile) throws {
    self.file = file
    let context = Unmanaged.passUnretained(self).toOpaque()
    try throwing(
      ct_archive_writer_new(
        context,
        { context, data, size in
          guard let context else { return 0 }
          return Unmanaged<ArchiveWriter>.fromOpaque(context).takeUnretainedValue().take(data, size)
        }, &writer))
  }

  deinit { if let writer { ct_archive_writer_free(writer) } }

  private func take(_ data: UnsafeRawPointer?, _ size: Int) -> Int {
    guard failure == nil else { return 0 }
    do {
      try file.write(UnsafeRawBufferPointer(start: data, count: size))
      return size
    } catch {
      failure = error
      return 0
    }
  }

  /// - Throws: `FileError` with the system's reason where the file cannot be written.
  func add(_ name: String, _ bytes: UnsafeRawBufferPointer) throws {
    guard let writer else { return }
    try finished(ct_archive_write(writer, name, bytes.baseAddress, Int64(bytes.count)))
  }

  func add(_ name: String, _ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try add(name, $0) } }

  /// Writes the directory of the archive.
  func finish() throws {
    guard let writer else { return }
    try finished(ct_archive_finish(writer))
  }

  private func finished(_ status: ct_status) throws {
    if let failure { throw failure }
    try throwing(status)
  }
}

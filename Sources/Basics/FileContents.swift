package import Foundation

/// Reads a whole file, or all that comes through a pipe.
///
/// - Throws: `FileError` for what is not there, cannot be read, is empty, or is one of the things of `mistakenContent`.
package func readFile(_ url: URL) throws -> Data {
  let descriptor = open(url.path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw FileError(url, errno == ENOENT ? "there is no such file" : systemReason()) }
  defer { close(descriptor) }
  var status = stat()
  guard fstat(descriptor, &status) == 0 else { throw FileError(url) }
  guard status.st_mode & S_IFMT != S_IFDIR else { throw FileError(url, "it is a directory") }
  if let reason = mistakenContent(descriptor) { throw FileError(url, reason) }
  var data = Data()
  data.reserveCapacity(Int(status.st_size))
  var buffer = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = read(descriptor, &buffer, buffer.count)
    if count < 0, errno == EINTR { continue }
    guard count >= 0 else { throw FileError(url) }
    if count == 0 { break }
    data.append(contentsOf: buffer[..<count])
    guard data.count <= 1 << 30 else { throw FileError(url, "it is larger than 1 GiB") }
  }
  guard !data.isEmpty else { throw FileError(url, "the file is empty") }
  return data
}

/// What often lies in the place of a download, as the end of a sentence; nil for anything else, and for pipes and devices, which can be
/// read only once.
package func mistakenContent(_ descriptor: Int32) -> String? {
  var status = stat()
  guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size > 0 else { return nil }
  var start = [UInt8](repeating: 0, count: 512)
  let count = pread(descriptor, &start, start.count, 0)
  guard count > 0 else { return nil }
  if start.allSatisfy({ $0 == 0 }), holdsZerosOnly(descriptor) {
    return "it holds nothing but zeros, as a copy that was cut off leaves it: get the file again"
  }
  let text = String(decoding: start[..<count], as: UTF8.self)
  if text.hasPrefix("version https://git-lfs.github.com/spec/") {
    let size = text.firstMatch(of: /\nsize (\d{1,18})\s/).flatMap { Int($0.1) }
    return "it is a git-lfs pointer in place of the file"
      + (size.map { " of \(byteText($0))" } ?? "")
      + ": run 'git lfs pull' in its repository, or download the file itself"
  }
  let words = text.drop { $0.isWhitespace || $0 == "\u{FEFF}" }.prefix(64).lowercased()
  if words.hasPrefix("<!doctype html") || words.hasPrefix("<html") || words.hasPrefix("<head") {
    return
      "it is a web page (HTML) in place of the file: download it again by the link of the file itself, signed in where "
      + "that is asked for"
  }
  let answers = ["{\"error\"", "<error>", "entry not found", "invalid username or password", "access to model "]
  let isAnswer = answers.contains { words.hasPrefix($0) } || words.hasPrefix("<?xml") && text.contains("<Error>")
  if isAnswer, status.st_size < 1 << 16 {
    return "it is a server's error message in place of the file: download it again, signed in where that is asked for"
  }
  return nil
}

/// As `mistakenContent(_:)`, of a file by its path; nil also where that cannot be opened.
package func mistakenContent(at path: String) -> String? {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  return mistakenContent(descriptor)
}

private func holdsZerosOnly(_ descriptor: Int32) -> Bool {
  var buffer = [UInt8](repeating: 0, count: 1 << 20)
  var place = 0
  while true {
    let count = pread(descriptor, &buffer, buffer.count, off_t(place))
    if count <= 0 { return count == 0 }
    let isZero = buffer.withUnsafeBytes { bytes in
      let words = bytes.bindMemory(to: UInt64.self)
      return words[..<(count / 8)].allSatisfy { $0 == 0 } && bytes[(count & ~7)..<count].allSatisfy { $0 == 0 }
    }
    if !isZero { return false }
    place += count
  }
}

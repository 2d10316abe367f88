package import Foundation
import Synchronization

/// Removes the partial files and folders beside `url` whose writers were killed; once for each folder and process.
///
/// Those of a process that lives stay: it holds a lock on them, and its number is that of a process.
package func removeAbandonedFiles(beside url: URL) {
  let folder = url.deletingLastPathComponent().path
  guard swept.withLock({ $0.insert(folder).inserted }) else { return }
  for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
    guard let writer = writerOfPartialFile(name) else { continue }
    let path = folder + "/" + name
    if isAbandoned(path, by: writer) { try? FileManager.default.removeItem(atPath: path) }
  }
}

private let swept = Mutex<Set<String>>([])

/// Whether the process that was writing a partial file or folder is no more.
package func isAbandoned(_ path: String, by writer: pid_t) -> Bool {
  // In a container a later process often has the number of the one that was killed.
  let isOurs = writer == getpid()
  guard isOurs || kill(writer, 0) != 0 && errno == ESRCH else { return false }
  let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
  guard descriptor >= 0 else { return false }
  defer { close(descriptor) }
  if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
  // A file system without locks leaves the number alone to judge by.
  return errno != EWOULDBLOCK && !isOurs
}

/// A folder that is filled beside its destination and renamed when it is whole. Unless committed it is removed.
package final class PartialFolder {
  package let destination: URL
  /// Where its files are until it is whole.
  package let url: URL
  private let descriptor: Int32
  private var isOpen = true

  /// - Throws: `FileError` for a destination that cannot be made.
  package init(_ destination: URL) throws {
    self.destination = destination
    removeAbandonedFiles(beside: destination)
    var number = 0
    while mkdir(partialFile(of: destination, number).path, 0o777) != 0 {
      number += 1
      guard errno == EEXIST, number < 100 else { throw FileError(destination, creationReason(destination)) }
    }
    url = partialFile(of: destination, number)
    descriptor = open(url.path, O_RDONLY | O_CLOEXEC)
    if descriptor >= 0 { _ = flock(descriptor, LOCK_EX | LOCK_NB) }
  }

  deinit { discard() }

  /// - Throws: `FileError`, after which nothing is left.
  package func commit() throws {
    guard rename(url.path, destination.path) == 0 else {
      let error = FileError(destination)
      discard()
      throw error
    }
    isOpen = false
    close(descriptor)
  }

  /// Removes it with what is in it; nothing to do when committed.
  package func discard() {
    guard isOpen else { return }
    isOpen = false
    close(descriptor)
    try? FileManager.default.removeItem(at: url)
  }
}

/// Where what is written to an output goes: the place that a symbolic link names, whether something is there or not.
package func linkTarget(_ url: URL) -> URL {
  var place = url
  // As many links in a row as the system follows.
  for _ in 0..<40 {
    guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: place.path) else { break }
    place =
      target.hasPrefix("/")
      ? URL(fileURLWithPath: target) : place.deletingLastPathComponent().appendingPathComponent(target)
  }
  return place
}

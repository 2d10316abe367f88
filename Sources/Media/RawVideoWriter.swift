import Basics
import CMedia
import Foundation

/// Writes frames as raw RGB24 to standard output (`-`), a named pipe, a device or a `.rgb` file. Sound has no place
/// in it and is dropped. A plain file is written beside its place and renamed when whole.
package final class RawVideoWriter: VideoSink {
  private let path: String
  private let format: VideoFormat
  private var descriptor: Int32
  private let ownsDescriptor: Bool
  private var file: TemporaryFile?
  private var isEnded = false

  package convenience init(path: String, format: VideoFormat) throws {
    if path == "-" {
      try self.init(descriptor: STDOUT_FILENO, name: "standard output", format: format)
      return
    }
    var status = stat()
    let isFile = stat(path, &status) != 0 || status.st_mode & S_IFMT == S_IFREG || status.st_mode & S_IFMT == S_IFDIR
    if isFile {
      let file = try TemporaryFile(destination: path)
      try self.init(path, format, file.file.pointee.descriptor, owns: false, file: file)
    } else {
      // Waits until someone reads the pipe.
      let descriptor = open(path, O_WRONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw LiveTalkError.unwritable(path, systemReason()) }
      try self.init(path, format, descriptor, owns: true, file: nil)
    }
  }

  /// Writes to an open descriptor, which stays the caller's.
  package convenience init(descriptor: Int32, name: String, format: VideoFormat) throws {
    try self.init(name, format, descriptor, owns: false, file: nil)
  }

  private init(_ path: String, _ format: VideoFormat, _ descriptor: Int32, owns: Bool, file: TemporaryFile?) throws {
    self.path = path
    self.format = format
    self.descriptor = descriptor
    self.file = file
    ownsDescriptor = owns
    try format.check(path)
  }

  deinit { cancel() }

  package func append(frame: [UInt8]) throws {
    guard !isEnded else { throw LiveTalkError.unwritable(path, "it was already ended") }
    try format.check(frame, path)
    do {
      try withoutPipeSignal(descriptor) {
        try frame.withUnsafeBytes { try writeAll($0, to: descriptor, URL(fileURLWithPath: path)) }
      }
    } catch let error as FileError {
      cancel()
      throw LiveTalkError.unwritable(
        path, error.reason == systemReason(EPIPE) ? "its reader has gone" : error.reason)
    }
  }

  package func append(sound: [Float]) throws {}

  package func finish() throws {
    guard !isEnded else { throw LiveTalkError.unwritable(path, "it was already ended") }
    isEnded = true
    try file?.commit()
    closeOwned()
  }

  package func cancel() {
    guard !isEnded else { return }
    isEnded = true
    file?.discard()
    closeOwned()
  }

  private func closeOwned() {
    if ownsDescriptor { close(descriptor) }
  }
}

/// Runs writes to what may be a pipe so that a vanished reader gives EPIPE here, not a signal that ends the process.
/// The signal's disposition, which belongs to the program, stays as it is.
private func withoutPipeSignal(_ descriptor: Int32, _ body: () throws -> Void) rethrows {
  #if canImport(Darwin)
    _ = fcntl(descriptor, F_SETNOSIGPIPE, 1)
    try body()
  #else
    var pipe = sigset_t()
    var before = sigset_t()
    var pending = sigset_t()
    sigemptyset(&pipe)
    sigaddset(&pipe, SIGPIPE)
    sigpending(&pending)
    let wasPending = sigismember(&pending, SIGPIPE) == 1
    pthread_sigmask(SIG_BLOCK, &pipe, &before)
    defer {
      var now = timespec()
      // A write raises it for this thread alone: take it away before it is let in again.
      if !wasPending { while sigtimedwait(&pipe, nil, &now) == -1 && errno == EINTR {} }
      pthread_sigmask(SIG_SETMASK, &before, nil)
    }
    try body()
  #endif
}

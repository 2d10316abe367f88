import Basics
import Foundation

/// Where messages go: standard error, so that standard output is free for results and frames.
package enum Terminal {
  package static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// Goes back to the start of the line and empties it.
  package static let clearLine = "\r\u{1B}[K"

  /// Writes a line to standard output at once, also where that is a file or a pipe.
  package static func line(_ text: String) { write("\(text)\n", to: STDOUT_FILENO) }

  /// Writes a whole line to standard error.
  package static func error(_ line: String) { write("\(line)\n") }

  /// Writes an error's line, over the line of a progress.
  package static func complain(_ line: String) { write("\(errorIsTerminal ? clearLine : "")\(line)\n") }

  /// Writes text to standard error, or another descriptor, as it is.
  package static func write(_ text: String, to descriptor: Int32 = STDERR_FILENO) {
    let bytes = Array(text.utf8)
    // Nobody could be told that it failed.
    try? bytes.withUnsafeBytes { try writeAll($0, to: descriptor, URL(fileURLWithPath: "/dev/fd/\(descriptor)")) }
  }
}

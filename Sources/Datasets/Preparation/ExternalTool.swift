import Basics
import Dispatch
import Foundation

/// A program of the user's that takes part in the preparation: an up-scaler, a captioner. No shell is involved.
package struct ExternalTool: Sendable, Equatable {
  /// As the user wrote it.
  package let text: String
  private let executable: String
  private let words: [String]

  /// - Parameters:
  ///   - text: the program and its arguments, parted by spaces, with quotes as in a shell.
  ///   - places: names that stand in braces in the arguments for what is filled in; where the text has none of them, the first is
  ///     put at its end.
  /// - Throws: `LiveTalkError` for a text without a program, an open quote, or a program that is not there.
  package init(_ text: String, places: [String]) throws {
    var words = try ExternalTool.words(text)
    guard let program = words.first else { throw LiveTalkError("A command without a program was given.") }
    words.removeFirst()
    if let first = places.first, !words.contains(where: { word in places.contains { word.contains("{\($0)}") } }) {
      words.append("{\(first)}")
    }
    let candidates =
      program.contains("/")
      ? [program]
      : (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(program)" }
    guard let found = candidates.first(where: ExternalTool.isProgram) else {
      throw LiveTalkError("There is no program '\(program)' that can be run.")
    }
    (self.text, executable, self.words) = (text, found, words)
  }

  private static func isProgram(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && !isFolder.boolValue
      && FileManager.default.isExecutableFile(atPath: path)
  }

  /// The words of a command line: single quotes keep everything, double quotes and backslashes as usual.
  static func words(_ text: String) throws -> [String] {
    var words: [String] = []
    var word: String?
    var quote: Character?
    var isEscaped = false
    for character in text {
      if isEscaped {
        word = (word ?? "") + String(character)
        isEscaped = false
      } else if character == "\\", quote != "'" {
        isEscaped = true
      } else if let open = quote {
        if character == open { quote = nil } else { word = (word ?? "") + String(character) }
      } else if character == "'" || character == "\"" {
        quote = character
        word = word ?? ""
      } else if character.isWhitespace {
        if let whole = word { words.append(whole) }
        word = nil
      } else {
        word = (word ?? "") + String(character)
      }
    }
    guard quote == nil, !isEscaped else { throw LiveTalkError("The command '\(text)' has a quote that is not closed.") }
    return words + [word].compactMap(\.self)
  }

  /// Runs the program.
  ///
  /// - Parameters:
  ///   - values: what is filled in, by the names of the places.
  ///   - seconds: after these it is ended.
  /// - Returns: what it wrote to standard output, up to 64 KiB.
  /// - Throws: `LiveTalkError` with its status and the last line of its standard error.
  package func run(_ values: [String: String], seconds: Double) throws -> String {
    let manager = FileManager.default
    let folder = manager.temporaryDirectory.appendingPathComponent("livetalk-tool-\(UUID().uuidString)")
    try manager.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? manager.removeItem(at: folder) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = words.map { word in
      values.reduce(word) { $0.replacingOccurrences(of: "{\($1.key)}", with: $1.value) }
    }
    process.standardInput = FileHandle.nullDevice
    // Files, not pipes: nothing has to be read while it runs.
    let files = ["output", "error"].map { folder.appendingPathComponent($0) }
    for file in files { try Data().write(to: file) }
    process.standardOutput = try FileHandle(forWritingTo: files[0])
    process.standardError = try FileHandle(forWritingTo: files[1])
    let ended = DispatchSemaphore(value: 0)
    process.terminationHandler = { _ in ended.signal() }
    let name = URL(fileURLWithPath: executable).lastPathComponent
    do { try process.run() } catch {
      throw LiveTalkError("The program '\(name)' does not start: \(userSentence(error))")
    }
    if ended.wait(timeout: .now() + seconds) == .timedOut {
      process.terminate()
      if ended.wait(timeout: .now() + 1) == .timedOut {
        kill(process.processIdentifier, SIGKILL)
        ended.wait()
      }
      throw LiveTalkError("The program '\(name)' was ended: it took longer than \(seconds) seconds.")
    }
    func text(_ file: URL) -> String {
      let handle = try? FileHandle(forReadingFrom: file)
      return String(decoding: (try? handle?.read(upToCount: 1 << 16)) ?? Data(), as: UTF8.self)
    }
    guard process.terminationReason == .exit, process.terminationStatus == 0 else {
      let how = process.terminationReason == .exit ? "status" : "signal"
      let last = text(files[1]).split(whereSeparator: \.isNewline).last.map { " (\($0.prefix(200)))" } ?? ""
      throw LiveTalkError("The program '\(name)' failed with \(how) \(process.terminationStatus)\(last).")
    }
    return text(files[0])
  }
}

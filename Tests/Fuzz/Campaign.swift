import Foundation

/// Batches of every reader in turn, and what became of them.
final class Campaign {
  private struct Count {
    var executions = 0
    var refused = 0
    var crashes = 0
    var hangs = 0
    var overMemory = 0
    var messages = 0
    var faults: Int { crashes + hangs + overMemory + messages }
  }

  private let options: Options
  private let readers: [Reader]
  private let folder: URL
  private var counts: [String: Count] = [:]
  /// A reader that fails so often has told enough.
  private static let mostFaults = 20

  init(_ options: Options) throws {
    self.options = options
    readers = Reader.all.filter { options.readers.isEmpty || options.readers.contains($0.name) }
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("livetalk-fuzz-\(getpid())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  /// Whether no reader failed.
  func run() throws -> Bool {
    for reader in readers { try run(reader, seconds: options.seconds / Double(readers.count)) }
    report()
    return counts.values.allSatisfy { $0.faults == 0 && $0.executions > 0 }
  }

  private func run(_ reader: Reader, seconds: Double) throws {
    let place = folder.appendingPathComponent(reader.name)
    try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
    var count = Count()
    var first = 0
    // A process has to start, so that a share of less would be spent on that alone.
    let end = Date().addingTimeInterval(max(seconds, 0.3))
    repeat {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0])
      if let path = Bundle.main.executablePath { process.executableURL = URL(fileURLWithPath: path) }
      let left = max(0.3, end.timeIntervalSinceNow)
      process.arguments = [
        "--batch", place.path, "--reader", reader.name, "--seed", "\(options.seed)", "--first", "\(first)", "--seconds",
        "\(left)",
      ]
      process.environment = ProcessInfo.processInfo.environment.merging(["OMP_NUM_THREADS": "1"]) { $1 }
      process.standardOutput = FileHandle.nullDevice
      let errors = place.appendingPathComponent("errors")
      try Data().write(to: errors)
      process.standardError = try FileHandle(forWritingTo: errors)
      try process.run()
      // A wait that takes no processor time: it is stuck.
      let isStuck = !finishes(process, within: left + 90)
      if isStuck { kill(process.processIdentifier, SIGKILL) }
      process.waitUntilExit()
      let (number, refused) = progress(of: place)
      count.refused += refused
      let isSignal = process.terminationReason == .uncaughtSignal
      let ending = isSignal ? nil : Batch.Ending(rawValue: process.terminationStatus)
      if ending == .done {
        count.executions += number - first
        break
      }
      count.executions += number - first + 1
      let what: String
      switch (ending, isSignal, process.terminationStatus) {
      case (.memory, _, _): (what, count.overMemory) = ("more than 2 GB", count.overMemory + 1)
      case (.message, _, _): (what, count.messages) = ("a wrong message", count.messages + 1)
      case (_, true, SIGPROF), (_, true, SIGKILL): (what, count.hangs) = ("it hangs", count.hangs + 1)
      default:
        (what, count.crashes) = ("\(isSignal ? "signal" : "status") \(process.terminationStatus)", count.crashes + 1)
      }
      try keep(reader, place, number, what, (try? String(contentsOf: errors, encoding: .utf8)) ?? "")
      first = number + 1
    } while Date() < end && count.faults < Campaign.mostFaults
    counts[reader.name] = count
    try? FileManager.default.removeItem(at: place)
  }

  private func finishes(_ process: Process, within seconds: Double) -> Bool {
    let end = Date().addingTimeInterval(seconds)
    while process.isRunning, Date() < end { usleep(20_000) }
    return !process.isRunning
  }

  /// The number of the last execution that began, and how many files were refused before.
  private func progress(of place: URL) -> (number: Int, refused: Int) {
    guard let data = try? Data(contentsOf: place.appendingPathComponent("progress")), data.count >= 16 else {
      return (0, 0)
    }
    return data.withUnsafeBytes {
      (Int($0.loadUnaligned(as: Int64.self)), Int($0.loadUnaligned(fromByteOffset: 8, as: Int64.self)))
    }
  }

  /// Keeps a file that failed, and says how it is read again.
  private func keep(_ reader: Reader, _ place: URL, _ number: Int, _ what: String, _ errors: String) throws {
    let out = URL(fileURLWithPath: options.out)
    try FileManager.default.createDirectory(at: out, withIntermediateDirectories: true)
    let ending = (reader.file as NSString).pathExtension
    let kept = out.appendingPathComponent("\(reader.name)-\(options.seed)-\(number).\(ending)")
    try? FileManager.default.removeItem(at: kept)
    try? FileManager.default.copyItem(
      at: place.appendingPathComponent("files").appendingPathComponent(reader.file), to: kept)
    let words = errors.split(separator: "\n").prefix(4).joined(separator: "\n    ")
    print("\(reader.name), seed \(options.seed), number \(number): \(what)\n    \(words.prefix(1000))")
    print("    fuzz --reader \(reader.name) --replay \(kept.path)")
  }

  private func report() {
    func row(_ cells: [String]) -> String {
      cells.enumerated().map {
        $0 == 0
          ? $1.padding(toLength: 16, withPad: " ", startingAt: 0)
          : String(repeating: " ", count: max(0, 12 - $1.count)) + $1
      }
      .joined()
    }
    print(row(["reader", "executions", "refused", "crashes", "hangs", "over 2 GB", "messages"]))
    var total = Count()
    for reader in readers {
      let count = counts[reader.name] ?? Count()
      print(
        row(
          [reader.name]
            + [count.executions, count.refused, count.crashes, count.hangs, count.overMemory, count.messages].map(
              String.init)))
      total.executions += count.executions
      total.refused += count.refused
      total.crashes += count.crashes
      total.hangs += count.hangs
      total.overMemory += count.overMemory
      total.messages += count.messages
    }
    print(
      row(
        ["all"]
          + [total.executions, total.refused, total.crashes, total.hangs, total.overMemory, total.messages].map(
            String.init)))
  }
}

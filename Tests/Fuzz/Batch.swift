import Basics
import Foundation
import Torch

/// Executions of one reader in a process of their own, which a fault may end.
struct Batch {
  /// How a batch ends that a fault did not end by a signal.
  enum Ending: Int32 {
    case done = 0
    case memory = 90
    /// A message that is not one of ours, or too long.
    case message = 91
  }

  /// Bytes of memory that reading a file of this size may take, the program included.
  static let memoryLimit = 2 << 30
  /// Seconds of processor time of one execution.
  static let timeLimit = 20

  let reader: Reader
  let options: Options

  init(_ options: Options) throws {
    guard let reader = Reader.all.first(where: { $0.name == options.readers.first }) else {
      throw Options.Mistake(description: "A batch has one --reader.")
    }
    (self.reader, self.options) = (reader, options)
  }

  private var folder: URL { URL(fileURLWithPath: options.folder).appendingPathComponent("files") }
  private var input: URL { folder.appendingPathComponent(reader.file) }

  /// Executes until its time is over. The file `progress` holds how many have begun and how many were refused.
  func run() throws {
    Torch.threads = 1
    // Prepared by the first batch, read by all.
    if !FileManager.default.fileExists(atPath: folder.path) {
      // A checkpoint makes its folder itself.
      if !reader.corpus.isEmpty {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      }
      try reader.prepare(folder)
      // The file that is mutated, where `prepare` has made it.
      let original = URL(fileURLWithPath: options.folder).appendingPathComponent("original")
      try? FileManager.default.copyItem(at: input, to: original)
    }
    let corpus = try self.corpus()
    let progress = open(options.folder + "/progress", O_WRONLY | O_CREAT | O_CLOEXEC, 0o666)
    let end = Date().addingTimeInterval(options.seconds)
    var (number, refused) = (options.first, 0)
    while Date() < end {
      var mutator = Mutator(seed: options.seed, reader: reader.name, number: number)
      let original = mutator.random.pick(corpus)
      let bytes = mutator.damaged(original, in: reader.container, words: reader.words, others: corpus)
      try write(bytes)
      withUnsafeBytes(of: (Int64(number), Int64(refused))) { _ = pwrite(progress, $0.baseAddress, $0.count, 0) }
      if !execute() { refused += 1 }
      number += 1
    }
    withUnsafeBytes(of: (Int64(number), Int64(refused))) { _ = pwrite(progress, $0.baseAddress, $0.count, 0) }
  }

  /// Reads a file that has failed before.
  func replay(_ file: String) throws {
    let made = FileManager.default.temporaryDirectory.appendingPathComponent("fuzz-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: made) }
    if !reader.corpus.isEmpty { try FileManager.default.createDirectory(at: made, withIntermediateDirectories: true) }
    try reader.prepare(made)
    let place = made.appendingPathComponent(reader.file)
    try? FileManager.default.removeItem(at: place)
    try FileManager.default.copyItem(at: URL(fileURLWithPath: file), to: place)
    do {
      try reader.read(made)
      print("It was read.")
    } catch { print(userSentence(error)) }
  }

  /// Whether the file was read; ends the process where a limit is passed.
  private func execute() -> Bool {
    var limit = itimerval()
    limit.it_value.tv_sec = Batch.timeLimit
    setitimer(__itimer_which_t(ITIMER_PROF.rawValue), &limit, nil)
    var isRead = true
    do { try reader.read(folder) } catch {
      isRead = false
      if let fault = fault(of: userSentence(error), "\(error)") {
        FileHandle.standardError.write(Data("\(fault)\n".utf8))
        _exit(Ending.message.rawValue)
      }
    }
    limit.it_value.tv_sec = 0
    setitimer(__itimer_which_t(ITIMER_PROF.rawValue), &limit, nil)
    if peakResidentBytes() > Batch.memoryLimit { _exit(Ending.memory.rawValue) }
    return isRead
  }

  /// What is wrong with a message, or nil.
  private func fault(of sentence: String, _ description: String) -> String? {
    let foreign = [
      "CodingKeys", "DecodingError", "EncodingError", "CocoaError", "NSCocoa", "Domain=", "operation couldn",
      "PytorchStream",
      "miniz", "Exception raised", "c10::", "no words yet", "Swift.",
    ]
    if let word = foreign.first(where: { sentence.contains($0) }) { return "'\(word)' is in: \(sentence)" }
    return sentence.count > longestMessage + 100 ? "it is too long: \(sentence)" : nil
  }

  /// In place, so that a mapping of the earlier file ends with it.
  private func write(_ bytes: [UInt8]) throws {
    unlink(input.path)
    try Data(bytes).write(to: input)
  }

  private func corpus() throws -> [[UInt8]] {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    var files: [URL] = []
    for (folder, endings) in reader.corpus {
      let place = tests.appendingPathComponent(folder)
      files += try FileManager.default.contentsOfDirectory(atPath: place.path).sorted()
        .filter { name in endings.contains { name.hasSuffix($0) } }.map { place.appendingPathComponent($0) }
    }
    if reader.corpus.isEmpty { files = [URL(fileURLWithPath: options.folder).appendingPathComponent("original")] }
    let corpus = try files.map { [UInt8](try Data(contentsOf: $0)) }
    guard !corpus.isEmpty else { throw Options.Mistake(description: "The reader \(reader.name) has no corpus.") }
    return corpus
  }
}

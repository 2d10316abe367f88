import Foundation
import Testing

/// Runs the built programs as their users do.
enum Tool {
  struct Result {
    let status: Int32
    let output: Data
    let error: String
    var text: String { String(decoding: output, as: UTF8.self) }
    /// The lines of standard error.
    var complaints: [String] { error.split(separator: "\n").map(String.init) }
  }

  struct NotBuilt: Error, CustomStringConvertible {
    let description: String
  }

  /// The program of that name that was built with these tests.
  static func executable(_ name: String = "livetalk") throws -> URL {
    let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../..")
      .standardized
    // The bundle's own executable stands beside the programs; on macOS the bundle does.
    let places =
      [
        URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent(), Bundle.main.bundleURL,
        Bundle.main.bundleURL.deletingLastPathComponent(),
      ]
      + Bundle.allBundles.filter { $0.bundlePath.hasSuffix(".xctest") }.map {
        $0.bundleURL.deletingLastPathComponent()
      } + [package.appendingPathComponent(".build/debug"), package.appendingPathComponent(".build/release")]
    let found = places.map { $0.appendingPathComponent(name) }.first {
      var isFolder: ObjCBool = false
      return FileManager.default.fileExists(atPath: $0.path, isDirectory: &isFolder) && !isFolder.boolValue
        && FileManager.default.isExecutableFile(atPath: $0.path)
    }
    guard let found else { throw NotBuilt(description: "\(name) is in none of \(places.map(\.path))") }
    return found
  }

  /// Runs `livetalk` with these arguments.
  static func run(_ arguments: String..., program: String = "livetalk", environment: [String: String] = [:])
    async throws
    -> Result
  {
    try await run(executable(program), arguments, environment)
  }

  static func run(_ arguments: [String]) async throws -> Result { try await run(executable(), arguments) }

  /// Runs a line of the shell in which "$0" is `livetalk`.
  static func shell(_ line: String, _ arguments: String...) async throws -> Result {
    try await run(URL(fileURLWithPath: "/bin/sh"), ["-c", line, executable().path] + arguments)
  }

  static func run(
    _ program: URL, _ arguments: [String], _ environment: [String: String] = [:], started: (Process) -> Void = { _ in }
  ) async throws -> Result {
    await places.take()
    do {
      let result = try await unlimited(program, arguments, environment, started)
      await places.give()
      return result
    } catch {
      await places.give()
      throw error
    }
  }

  /// Runs a program several times at once, each with an environment of its own. They wait for each other, so that together they
  /// take one place.
  static func runTogether(_ program: URL, _ arguments: [String], _ environments: [[String: String]]) async throws
    -> [Result]
  {
    await places.take()
    let results = await withTaskGroup(of: Swift.Result<Result, any Error>.self) { group in
      for environment in environments {
        group.addTask {
          do { return .success(try await unlimited(program, arguments, environment) { _ in }) } catch {
            return .failure(error)
          }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    await places.give()
    return try results.map { try $0.get() }
  }

  /// Runs no more programs at a time than there are cores for.
  private static let places = Places(2)

  private static func unlimited(
    _ program: URL, _ arguments: [String], _ environment: [String: String], _ started: (Process) -> Void
  ) async throws -> Result {
    let folder = try Folder()
    let process = Process()
    process.executableURL = program
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    // Threads that spin while they wait would take the cores from the other programs.
    process.environment?["OMP_WAIT_POLICY"] = "passive"
    process.environment?["OMP_NUM_THREADS"] = "1"
    process.standardInput = FileHandle.nullDevice
    // Files, not pipes: nothing has to be read while it runs.
    let (output, error) = (try folder.handle("output"), try folder.handle("error"))
    process.standardOutput = output
    process.standardError = error
    try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
      process.terminationHandler = { _ in done.resume() }
      do {
        try process.run()
        started(process)
      } catch { done.resume(throwing: error) }
    }
    let status =
      process.terminationReason == .uncaughtSignal ? 128 + process.terminationStatus : process.terminationStatus
    return Result(
      status: status, output: try Data(contentsOf: folder["output"]),
      error: String(decoding: try Data(contentsOf: folder["error"]), as: UTF8.self))
  }
}

/// Lets so many tasks in at a time.
private actor Places {
  private var free: Int
  private var waiting: [CheckedContinuation<Void, Never>] = []

  init(_ count: Int) { free = count }

  func take() async {
    if free > 0 {
      free -= 1
    } else {
      await withCheckedContinuation { waiting.append($0) }
    }
  }

  func give() {
    if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
  }
}

/// A folder that is removed with its owner.
final class Folder: Sendable {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("livetalk-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  subscript(name: String) -> URL { url.appendingPathComponent(name) }

  func file(_ name: String, _ bytes: some Sequence<UInt8>) throws -> String {
    try Data(bytes).write(to: self[name])
    return self[name].path
  }

  func handle(_ name: String) throws -> FileHandle {
    try Data().write(to: self[name])
    return try FileHandle(forWritingTo: self[name])
  }

  /// Names in it, hidden ones too.
  var content: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []).sorted() }
}
